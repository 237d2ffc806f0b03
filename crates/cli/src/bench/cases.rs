//! What is measured: the names that all peers share, and how a step of each is prepared.

use limpid::Result;
use limpid::prelude::*;

use super::models::{Gpt, cnn, gpt, gru, lstm, mlp, resnet18, xor};
use super::nets::{Inference, Rule, Training, Values};
use super::operations;

/// A case: its name, and what it runs.
pub struct Case {
    pub name: &'static str,
    pub work: Work,
}

/// What a case runs.
pub enum Work {
    /// Operations of their own.
    Operations(fn() -> Result<Prepared>),
    /// Steps of an optimizer.
    Training(Training),
    /// Forward passes in evaluation mode, without gradients.
    Inference(Inference),
}

/// What a case repeats, and what a step of it amounts to.
pub struct Prepared {
    pub step: Box<dyn FnMut() -> Result<()>>,
    pub does: Does,
}

/// What the speed of a step is said in.
#[derive(Clone, Copy)]
pub enum Does {
    /// Time alone.
    Step,
    /// Floating-point operations.
    Flop(f64),
    /// Tokens that are generated.
    Tokens(f64),
}

impl Prepared {
    pub fn new(does: Does, step: impl FnMut() -> Result<()> + 'static) -> Prepared {
        Prepared { step: Box::new(step), does }
    }
}

/// How a step of a network is run.
#[derive(Clone, Copy, PartialEq)]
pub enum How {
    Recorded,
    Captured,
    Tapped,
}

impl How {
    pub fn option(self) -> Option<&'static str> {
        match self {
            How::Recorded => None,
            How::Captured => Some("--captured"),
            How::Tapped => Some("--tapped"),
        }
    }
}

impl Case {
    pub fn named(name: &str) -> Option<&'static Case> {
        CASES.iter().find(|case| case.name == name)
    }

    /// Makes it ready.
    ///
    /// # Errors
    /// What making its inputs meets.
    pub fn prepare(&self, how: How) -> Result<Prepared> {
        match &self.work {
            Work::Operations(prepare) => prepare(),
            Work::Training(training) => training.prepare(how),
            Work::Inference(inference) => inference.prepare(how),
        }
    }
}

const MB64: usize = (64 << 20) / 4;

const fn operations(name: &'static str, prepare: fn() -> Result<Prepared>) -> Case {
    Case { name, work: Work::Operations(prepare) }
}

const fn training(name: &'static str, model: fn() -> Box<dyn Forward>, x: Values, y: Values, rule: Rule) -> Case {
    Case { name, work: Work::Training(Training { model, x, y, rule, loss: cross_entropy_of_rows }) }
}

const fn inference(name: &'static str, model: fn() -> Box<dyn Forward>, x: Values) -> Case {
    Case { name, work: Work::Inference(Inference { model, x }) }
}

/// Each row of the last axis against its class.
fn cross_entropy_of_rows(scores: &Tensor, classes: &Tensor) -> Tensor {
    cross_entropy(&scores.flatten_range(0, -2), classes)
}

const XOR: Case = Case {
    name: "train_xor_2-8-1_b4_sgd",
    work: Work::Training(Training {
        model: || Box::new(xor()),
        x: Values::Given(&[0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], &[4, 2]),
        y: Values::Given(&[0.0, 1.0, 1.0, 0.0], &[4, 1]),
        rule: Rule::Sgd { lr: 0.1, momentum: 0.0 },
        loss: |y, expected| mse_loss(y, expected),
    }),
};

const ADAM: Rule = Rule::Adam { lr: 1e-3 };
const ADAMW: Rule = Rule::AdamW { lr: 1e-3 };
const MOMENTUM: Rule = Rule::Sgd { lr: 0.01, momentum: 0.9 };
const DIGIT: i64 = 10;
const CHARACTER: i64 = Gpt::VOCABULARY as i64;

pub const CASES: &[Case] = &[
    operations("gemm_f32_256", || operations::gemm(256, DType::F32)),
    operations("gemm_f32_1024", || operations::gemm(1024, DType::F32)),
    operations("gemm_f32_2048", || operations::gemm(2048, DType::F32)),
    operations("gemm_f32_4096", || operations::gemm(4096, DType::F32)),
    operations("gemm_bf16_1024", || operations::gemm(1024, DType::BF16)),
    operations("gemm_bf16_2048", || operations::gemm(2048, DType::BF16)),
    operations("copy_64MB", || operations::copy(MB64)),
    operations("gelu_64MB", || operations::unary(&[MB64], |x| x.gelu())),
    operations("exp_64MB", || operations::unary(&[MB64], |x| x.exp())),
    operations("softmax_4096x1024", || operations::unary(&[4096, 1024], |x| x.softmax(-1))),
    operations("layernorm_4096x1024", || operations::unary(&[4096, 1024], |x| x.layer_norm([1024], None, None, 1e-5))),
    XOR,
    training(
        "train_mlp_784-512-512-10_b128_adam",
        || Box::new(mlp()),
        Values::Normal(&[128, 784]),
        Values::Below(DIGIT, &[128]),
        ADAM,
    ),
    training(
        "train_cnn_mnist_b64_adam",
        || Box::new(cnn()),
        Values::Normal(&[64, 1, 28, 28]),
        Values::Below(DIGIT, &[64]),
        ADAM,
    ),
    training(
        "train_lstm_64-256_t128_b32_adam",
        || Box::new(lstm()),
        Values::Normal(&[32, 128, 64]),
        Values::Below(DIGIT, &[32]),
        ADAM,
    ),
    training(
        "train_gru_64-256_t128_b32_adam",
        || Box::new(gru()),
        Values::Normal(&[32, 128, 64]),
        Values::Below(DIGIT, &[32]),
        ADAM,
    ),
    training(
        "train_gpt_6x384_t256_b4_adamw",
        || Box::new(gpt()),
        Values::Below(CHARACTER, &[4, 256]),
        Values::Below(CHARACTER, &[4 * 256]),
        ADAMW,
    ),
    training(
        "train_resnet18_64px_b16_sgd",
        || Box::new(resnet18()),
        Values::Normal(&[16, 3, 64, 64]),
        Values::Below(DIGIT, &[16]),
        MOMENTUM,
    ),
    inference("infer_mlp_b1", || Box::new(mlp()), Values::Normal(&[1, 784])),
    inference("infer_resnet18_224_b1", || Box::new(resnet18()), Values::Normal(&[1, 3, 224, 224])),
    inference("infer_gpt_6x384_t256_b1", || Box::new(gpt()), Values::Below(CHARACTER, &[1, 256])),
    operations("generate_gpt_6x384_128tok", || operations::generate(16, 128)),
    inference("infer_lstm_b1_t128", || Box::new(lstm()), Values::Normal(&[1, 128, 64])),
    operations("knn_exact_100kx384_q32_top10", || operations::nearest(100_000, 384, 32, 10)),
    operations("embedding_lookup_50000x256_b4096", || operations::lookup(50_000, 256, 4096)),
    operations("record_1000_nodes", || operations::record(1000)),
];
