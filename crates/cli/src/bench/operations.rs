//! Cases that are no network's step: each alone on inputs that take turns.

use limpid::prelude::*;
use limpid::{Cell, Result};

use super::cases::{Does, Prepared};
use super::models::{Gpt, gpt};

/// A step that runs `f` on inputs number 0, 1, … 0, 1, …, all of which are there before.
fn in_turns<const N: usize>(
    does: Does,
    inputs: Vec<[Tensor; N]>,
    mut f: impl FnMut(&[Tensor; N]) -> Result<()> + 'static,
) -> Result<Prepared> {
    eval(inputs.iter().flatten())?;
    let mut turn = 0;
    Ok(Prepared::new(does, move || {
        turn += 1;
        f(&inputs[turn % inputs.len()])
    }))
}

/// Two square matrices multiplied.
pub fn gemm(n: usize, dtype: DType) -> Result<Prepared> {
    let [a, b, c] = [0, 1, 2].map(|_| Tensor::randn([n, n]).to_dtype(dtype));
    let pairs = vec![[a.clone(), b.clone()], [b, c.clone()], [c, a]];
    in_turns(Does::Flop(2.0 * (n as f64).powi(3)), pairs, |[a, b]| a.matmul(b).eval())
}

/// Numbers written over others.
pub fn copy(n: usize) -> Result<Prepared> {
    let target = Cell::new(&Tensor::zeros([n]), false);
    in_turns(Does::Step, vec![[Tensor::randn([n])], [Tensor::randn([n])]], move |[x]| {
        target.assign(x);
        target.settle()
    })
}

/// One function of one tensor.
pub fn unary(shape: &[usize], f: fn(&Tensor) -> Tensor) -> Result<Prepared> {
    in_turns(Does::Step, vec![[Tensor::randn(shape)], [Tensor::randn(shape)]], move |[x]| f(x).eval())
}

/// `tokens` characters after a beginning of `prompt` ones.
pub fn generate(prompt: usize, tokens: usize) -> Result<Prepared> {
    let model = gpt();
    model.eval();
    let prompts = (0..4).map(|_| [Tensor::randint(0, Gpt::VOCABULARY as i64, [1, prompt])]).collect();
    in_turns(Does::Tokens(tokens as f64), prompts, move |[ids]| no_grad(|| model.generate(ids, tokens))?.eval())
}

/// Which `k` of `n` rows have the largest products with each of some queries.
pub fn nearest(n: usize, width: usize, queries: usize, k: usize) -> Result<Prepared> {
    let base = Tensor::randn([n, width]);
    base.eval()?;
    let flop = 2.0 * (queries * n * width) as f64;
    let inputs = (0..4).map(|_| [Tensor::randn([queries, width])]).collect();
    in_turns(Does::Flop(flop), inputs, move |[query]| {
        let (values, index) = query.matmul(&base.t()).topk(k, -1);
        eval([&values, &index])
    })
}

/// Rows of a table.
pub fn lookup(rows: usize, width: usize, count: usize) -> Result<Prepared> {
    let table = Tensor::randn([rows, width]);
    table.eval()?;
    let inputs = (0..4).map(|_| [Tensor::randint(0, rows as i64, [count])]).collect();
    in_turns(Does::Step, inputs, move |[index]| table.embedding(index).eval())
}

/// A chain of `nodes` operations on four numbers: recorded, its plan found, run, dropped. Its arithmetic takes next to
/// nothing, so a thousandth of the time is what a node costs.
pub fn record(nodes: usize) -> Result<Prepared> {
    let [x, y] = [[0.5f32, 1.0, 1.5, 2.0], [2.0, 1.5, 1.0, 0.5]].map(Tensor::from);
    in_turns(Does::Step, vec![[x.clone(), y.clone()], [y, x]], move |[x, y]| {
        // A product, a sum, a number and a product with it: four nodes.
        (0..nodes / 4).fold(x.clone(), |t, _| (t * y + x) * 0.25).eval()
    })
}
