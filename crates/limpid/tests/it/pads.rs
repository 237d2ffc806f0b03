//! Padding and shuffles: torch's numbers, what it prints, and dictionaries of modules.

use std::collections::BTreeMap;

use limpid::PadMode;
use limpid::prelude::*;

/// What torch 2.9 prints for `F.pad(torch.arange(1., 4.)[None], …)`.
#[test]
fn pads_are_torchs() {
    let x = Tensor::from([[1.0f32, 2.0, 3.0]]);
    let rows: &[(&[isize], PadMode, &[f32])] = &[
        (&[2, 1], PadMode::Reflect, &[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
        (&[-1, 2], PadMode::Reflect, &[2.0, 3.0, 2.0, 1.0]),
        (&[2, -2], PadMode::Reflect, &[3.0, 2.0, 1.0]),
        (&[0, 2], PadMode::Reflect, &[1.0, 2.0, 3.0, 2.0, 1.0]),
        (&[2, 1], PadMode::Replicate, &[1.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
        (&[-4, 2], PadMode::Replicate, &[3.0]),
        (&[5, -4], PadMode::Replicate, &[1.0, 1.0, 1.0, 1.0]),
        (&[2, 1], PadMode::Circular, &[2.0, 3.0, 1.0, 2.0, 3.0, 1.0]),
        (&[3, 3], PadMode::Circular, &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0]),
        (&[-1, 2], PadMode::Circular, &[2.0, 3.0, 2.0, 3.0]),
        (&[-1, -1], PadMode::Circular, &[2.0]),
        (&[1, -2], PadMode::Constant(9.0), &[9.0, 1.0]),
        (&[-2, -1], PadMode::Constant(9.0), &[]),
        (&[], PadMode::Constant(9.0), &[1.0, 2.0, 3.0]),
    ];
    for (sizes, mode, expected) in rows {
        assert_eq!(x.pad_with(sizes, *mode).to_vec::<f32>().unwrap(), *expected, "{sizes:?} {mode:?}");
    }
}

#[test]
fn the_last_axis_is_padded_first() {
    let x = Tensor::arange(0, 4, 1).view([1, 1, 2, 2]);
    let y = ReflectionPad2d::new([1, 0, 0, 1]).forward(&x);
    assert_eq!(*y.shape(), Shape::from([1, 1, 3, 3]));
    assert_eq!(y.to_vec::<i64>().unwrap(), [1, 0, 1, 3, 2, 3, 1, 0, 1]);
    assert_eq!(ZeroPad2d::new([1, 0, 2, 0]).forward(&x).shape()[..], [1, 1, 4, 3]);
    assert_eq!(Tensor::from([1i64]).pad_with(&[1, 0], PadMode::Constant(2.5)).to_vec::<i64>().unwrap(), [2, 1]);
    let bits = Tensor::from_bools(&[true], [1]).pad_with(&[1, 1], PadMode::Constant(0.0));
    assert_eq!((bits.dtype(), bits.to_dtype(DType::I64).to_vec::<i64>().unwrap()), (DType::Bool, vec![0, 1, 0]));
}

/// The gradient of an element is the number of its copies.
#[test]
fn gradients_count_copies() {
    for (mode, expected) in [
        (PadMode::Reflect, [1.0, 3.0, 2.0]),
        (PadMode::Replicate, [3.0, 1.0, 2.0]),
        (PadMode::Circular, [2.0, 2.0, 2.0]),
        (PadMode::Constant(1.0), [1.0, 1.0, 1.0]),
    ] {
        let x = Tensor::from([[1.0f64, 2.0, 3.0]]).requires_grad_();
        let y = x.pad_with(&[2, 1], mode);
        let found = gradients(&y.sum(..), &[&x]).unwrap().remove(0).unwrap();
        assert_eq!(found.to_vec::<f64>().unwrap(), expected, "{mode:?}");
    }
}

#[test]
fn no_batch_is_no_error() {
    let none = Tensor::zeros([0, 2, 3]);
    for mode in [PadMode::Reflect, PadMode::Replicate, PadMode::Circular, PadMode::Constant(1.0)] {
        let y = none.pad_with(&[1, 1], mode);
        assert_eq!((y.shape()[..].to_vec(), y.to_vec::<f32>().unwrap()), (vec![0, 2, 5], vec![]), "{mode:?}");
    }
    assert_eq!(Tensor::zeros([0, 4, 2]).channel_shuffle(2).to_vec::<f32>().unwrap().len(), 0);
    assert_eq!(Tensor::zeros([0, 4, 2, 2]).pixel_shuffle(2).shape()[..], [0, 1, 4, 4]);
    assert_eq!(Tensor::zeros([4, 0, 2]).pixel_unshuffle(2).shape()[..], [16, 0, 1]);
}

/// What torch 2.9 prints for `F.pixel_shuffle(torch.arange(8.).reshape(1, 8, 1, 1), 2)` and the others.
#[test]
fn shuffles_are_torchs() {
    let x = Tensor::arange(0, 8, 1);
    let y = PixelShuffle::new(2).forward(&x.view([1, 4, 1, 2]));
    assert_eq!(*y.shape(), Shape::from([1, 1, 2, 4]));
    assert_eq!(y.to_vec::<i64>().unwrap(), [0, 2, 1, 3, 4, 6, 5, 7]);
    assert_eq!(PixelUnshuffle::new(2).forward(&y).to_vec::<i64>().unwrap(), x.to_vec::<i64>().unwrap());
    let dealt = ChannelShuffle::new(4).forward(&x.view([1, 8, 1]));
    assert_eq!(dealt.to_vec::<i64>().unwrap(), [0, 2, 4, 6, 1, 3, 5, 7]);
    let deep = x.view([2, 1, 4, 1, 1]).pixel_shuffle(2);
    assert_eq!((deep.shape()[..].to_vec(), deep.to_vec::<i64>().unwrap()), (vec![2, 1, 1, 2, 2], (0..8).collect()));
}

#[test]
fn classes_are_counted_where_they_are_not_given() {
    let x = Tensor::from([[0i64, 3], [1, 1]]);
    assert_eq!(x.one_hot(None).shape()[..], [2, 2, 4]);
    assert_eq!(x.one_hot(5).sum([0, 1]).to_vec::<i64>().unwrap(), [1, 2, 0, 1, 0]);
    assert_eq!(Tensor::from(2i64).one_hot(3).to_vec::<i64>().unwrap(), [0, 0, 1]);
    assert_eq!(x.narrow(0, 0, 0).one_hot(3).shape()[..], [0, 2, 3]);
}

#[derive(Module)]
struct Named {
    layers: BTreeMap<String, Box<dyn Forward>>,
    scales: BTreeMap<String, Parameter>,
    offsets: Vec<Parameter>,
}

#[test]
fn dictionaries_and_lists_have_torchs_paths() {
    let one = || Parameter::new(&Tensor::ones([1]));
    let layers: [(&str, Box<dyn Forward>); 3] =
        [("pool", Box::new(ReLU)), ("fc", Box::new(Linear::new(2, 2).bias(false))), ("norm", Box::new(ReLU))];
    let net = Named {
        layers: layers.map(|(name, layer)| (name.to_owned(), layer)).into(),
        scales: ["b", "a"].map(|name| (name.to_owned(), one())).into(),
        offsets: vec![one(), one()],
    };
    let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["layers.fc.weight", "scales.a", "scales.b", "offsets.0", "offsets.1"]);
    let printed = "\
Named(
  (layers): ModuleDict(
    (fc): Linear(in_features=2, out_features=2, bias=False)
    (norm): ReLU()
    (pool): ReLU()
  )
)";
    assert_eq!(net.describe(), printed);
    net.eval();
    assert!(!net.is_training());
}

#[test]
fn layers_print_as_torchs() {
    let model = Sequential::new()
        .add(CircularPad1d::new(2))
        .add(ConstantPad2d::new(2, 3.5))
        .add(ReflectionPad1d::new([1, 2]))
        .add(ReplicationPad3d::new(1))
        .add(ZeroPad2d::new([1, 2, 3, 4]))
        .add(ChannelShuffle::new(2))
        .add(PixelShuffle::new(3))
        .add(PixelUnshuffle::new(3))
        .add(Unflatten::new(1, [2, -1]));
    let printed = "\
Sequential(
  (0): CircularPad1d((2, 2))
  (1): ConstantPad2d(padding=(2, 2, 2, 2), value=3.5)
  (2): ReflectionPad1d((1, 2))
  (3): ReplicationPad3d((1, 1, 1, 1, 1, 1))
  (4): ZeroPad2d((1, 2, 3, 4))
  (5): ChannelShuffle(groups=2)
  (6): PixelShuffle(upscale_factor=3)
  (7): PixelUnshuffle(downscale_factor=3)
  (8): Unflatten(dim=1, unflattened_size=(2, -1))
)";
    assert_eq!(model.describe(), printed);
}
