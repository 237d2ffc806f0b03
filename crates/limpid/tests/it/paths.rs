//! Every node knows its module path: the table of cases of the design.

use limpid::prelude::*;
use limpid::tap;

#[derive(Module)]
struct Block {
    first: Linear,
    second: Linear,
}

impl Block {
    fn new() -> Block {
        Block { first: Linear::new(4, 4), second: Linear::new(4, 4) }
    }

    #[forward]
    fn forward(&self, x: &Tensor) -> Tensor {
        // Recorded between layers, in the block's own forward.
        let hidden = self.first.forward(x) * 2.0;
        self.second.forward(&hidden)
    }
}

impl Forward for Block {
    #[forward]
    fn forward(&self, x: &Tensor) -> Tensor {
        Block::forward(self, x)
    }
}

#[derive(Module)]
struct Net {
    blocks: Vec<Block>,
    tail: Sequential,
    any: Box<dyn Forward>,
    head: Linear,
}

impl Net {
    fn new() -> Net {
        Net {
            blocks: vec![Block::new(), Block::new()],
            tail: Sequential::new().add(Linear::new(4, 4)).add(ReLU).add(Block::new()),
            any: Box::new(Linear::new(4, 4)),
            head: Linear::new(4, 2),
        }
    }

    #[forward]
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.blocks.iter().fold(x.clone(), |x, block| block.forward(&x));
        self.head.forward(&self.any.forward(&self.tail.forward(&x)))
    }
}

const PATHS: [&str; 11] = [
    "blocks.0.first",
    "blocks.0.second",
    "blocks.1.first",
    "blocks.1.second",
    "tail.0",
    "tail.1",
    "tail.2.first",
    "tail.2.second",
    "tail.2",
    "tail",
    "any",
];

#[test]
fn the_very_first_forward_of_a_model_that_nothing_has_seen() {
    let net = Net::new();
    let y = net.forward(&Tensor::ones([3, 4]));
    assert_eq!(y.origin().path(), "head");
    let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..2], ["blocks.0.first.weight", "blocks.0.first.bias"]);
    assert_eq!(names.last().unwrap(), "head.bias");
}

#[test]
fn modules_lists_sequentials_and_boxes() {
    let net = Net::new();
    let x = Tensor::ones([3, 4]);
    let seen = tap(&net, "**", || net.forward(&x)).unwrap();
    let mut paths = seen.paths();
    assert_eq!(paths.pop(), Some("head"));
    assert_eq!(paths, PATHS);
    let plain = net.forward(&x).to_vec::<f32>().unwrap();
    let bits = |v: &[f32]| v.iter().map(|f| f.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&seen.output().to_vec::<f32>().unwrap()), bits(&plain), "a tap changes no bit");
}

#[test]
fn an_operation_between_layers_belongs_to_the_module_that_records_it() {
    let net = Net::new();
    net.named_parameters();
    let y = net.blocks[1].forward(&Tensor::ones([1, 4]));
    assert_eq!(y.origin().path(), "blocks.1.second");
    let wrong = net.blocks[1].first.forward(&Tensor::ones([1, 3])) * 2.0;
    assert_eq!(wrong.to_vec::<f32>().unwrap_err().origin().unwrap().path(), "blocks.1.first");

    #[derive(Module)]
    struct Between {
        inner: Inner,
    }
    #[derive(Module)]
    struct Inner {
        layer: Linear,
    }
    impl Inner {
        #[forward]
        fn forward(&self, x: &Tensor) -> Tensor {
            x + Tensor::ones([7])
        }
    }
    let model = Between { inner: Inner { layer: Linear::new(1, 1) } };
    model.parameters();
    let _ = &model.inner.layer;
    let error = model.inner.forward(&Tensor::ones([2])).to_vec::<f32>().unwrap_err();
    assert_eq!(error.origin().unwrap().path(), "inner");
}

#[test]
fn a_larger_root_names_anew_and_a_visit_from_within_does_not() {
    let inner = Sequential::new().add(Linear::new(2, 2));
    assert_eq!(inner.forward(&Tensor::ones([1, 2])).origin().path(), "0");
    let outer = Sequential::new().add(inner);
    outer.parameters();
    assert_eq!(outer[0].forward(&Tensor::ones([1, 2])).origin().path(), "0.0");
    outer[0].parameters();
    assert_eq!(outer[0].forward(&Tensor::ones([1, 2])).origin().path(), "0.0");
}

#[test]
fn a_clone_in_a_second_place_has_its_own_path_and_the_same_weights() {
    let first = Linear::new(2, 2);
    let model = Sequential::new().add(first.clone()).add(first.clone());
    let names: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["0.weight", "0.bias"], "each parameter once");
    assert_eq!(
        model.state_dict().names().collect::<Vec<_>>(),
        ["0.weight", "0.bias", "1.weight", "1.bias"],
        "saved under both names"
    );
    assert_eq!(model.forward(&Tensor::ones([1, 2])).origin().path(), "1");
    let mut sgd = SGD::new(&model).lr(0.5);
    let before = first.weight.value().unwrap();
    sgd.step(&model.forward(&Tensor::ones([1, 2])).sum(..)).unwrap();
    let state = model.state_dict();
    let bits = |name: &str| state.get(name).unwrap().to_bytes().unwrap();
    assert_eq!(bits("0.weight"), bits("1.weight"), "one update");
    assert_ne!(before.to_bytes().unwrap(), bits("0.weight"));
}

#[test]
fn one_layer_behind_an_arc_keeps_its_first_name() {
    let layer = std::sync::Arc::new(Linear::new(2, 2));
    let model = Sequential::new().add(layer.clone()).add(layer);
    for _ in 0..2 {
        model.parameters();
        assert_eq!(model.forward(&Tensor::ones([1, 2])).origin().path(), "0");
    }
}

#[test]
fn a_wrong_layer_is_named_with_its_lines() {
    #[derive(Module)]
    struct Digits {
        body: Linear,
        head: Linear,
    }
    impl Digits {
        #[forward]
        fn forward(&self, x: &Tensor) -> Tensor {
            let x = self.body.forward(x);
            self.head.forward(&x)
        }
    }
    // The line that runs the wrong layer, in the model's own forward.
    let called = line!() - 4;
    let made = line!() + 1;
    let model = Digits { body: Linear::new(28, 784), head: Linear::new(512, 10) };
    let error = model.forward(&Tensor::ones([32, 28])).item().unwrap_err().to_string();
    let file = file!();
    assert_eq!(
        error,
        format!(
            "matmul: inner sizes differ: [32, 784] × [512, 10]; 784 ≠ 512\n  \
             in  head (Linear 512→10, made at {file}:{made}), called at {file}:{called}\n  \
             try flatten to [32, 512], or Linear::new(784, 10)"
        )
    );
}

#[test]
fn library_lines_are_skipped_also_within_a_sequential() {
    let model = Sequential::new().add(Linear::new(4, 3)).add(ReLU).add(Linear::new(5, 1));
    let line = line!() + 1;
    let error = model.forward(&Tensor::ones([2, 4])).item().unwrap_err();
    let at = error.origin().unwrap().user_line();
    assert_eq!((at.file(), at.line()), (file!(), line));
    assert_eq!(error.origin().unwrap().path(), "2");
}

#[test]
fn values_with_a_name_are_tapped_below_their_module() {
    #[derive(Module)]
    struct Head {
        linear: Linear,
    }
    impl Head {
        #[forward]
        fn forward(&self, x: &Tensor) -> Tensor {
            self.linear.forward(x).tap("scores").softmax(-1)
        }
    }
    #[derive(Module)]
    struct Net {
        head: Head,
    }
    impl Net {
        #[forward]
        fn forward(&self, x: &Tensor) -> Tensor {
            self.head.forward(x) * 2.0
        }
    }
    let (net, x) = (Net { head: Head { linear: Linear::new(3, 2) } }, Tensor::ones([1, 3]));
    let seen = tap(&net, "**:tap", || net.forward(&x)).unwrap();
    assert_eq!(seen.paths(), ["head.scores"]);
    let scores = seen.get("head.scores").unwrap().to_vec::<f32>().unwrap();
    assert_eq!(scores, net.head.linear.forward(&x).to_vec::<f32>().unwrap());
    let error = tap(&net, "head.score", || net.forward(&x)).unwrap_err().to_string();
    assert!(error.starts_with("tap: nothing matches \"head.score\"") && error.contains("head.scores"), "{error}");
}
