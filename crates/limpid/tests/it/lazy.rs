//! Layers that learn the number of their inputs from the first one.

use limpid::Result;
use limpid::nn::init;
use limpid::prelude::*;

fn model() -> Sequential {
    Sequential::new().add(LazyConv2d::new(4, 3).groups(2)).add(Flatten::new()).add(LazyLinear::new(3).bias(false))
}

fn names(model: &Sequential) -> Vec<String> {
    model.named_parameters().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn the_first_pass_makes_the_layer_that_its_input_needs() -> Result<()> {
    let model = model();
    assert!(names(&model).is_empty());
    assert_eq!(model[0].describe(), "LazyConv2d(0, 4, kernel_size=(3, 3), stride=(1, 1), groups=2)");
    let y = model.forward(&Tensor::zeros([2, 6, 5, 5]));
    assert_eq!(y.shape()[..], [2, 3]);
    assert_eq!(names(&model), ["0.weight", "0.bias", "2.weight"]);
    assert_eq!(model[0].describe(), "Conv2d(6, 4, kernel_size=(3, 3), stride=(1, 1), groups=2)");
    assert_eq!(model.parameters()[0].shape()[..], [4, 3, 3, 3]);
    assert_eq!(model.parameters()[2].shape()[..], [3, 36]);
    // The parameters know their paths, and the layer its own.
    assert_eq!(format!("{:?}", model.parameters()[2]), "Parameter 2.weight (f32 [3, 36])");
    let error = model.forward(&Tensor::zeros([2, 4, 5, 5])).to_vec::<f32>().unwrap_err().to_string();
    assert!(error.contains("in  0 (Conv2d 6→4, made at"), "{error}");
    Ok(())
}

#[test]
fn a_state_dict_makes_the_parameters_too() -> Result<()> {
    let trained = model();
    trained.forward(&Tensor::zeros([1, 6, 5, 5])).eval()?;
    trained.parameters().iter().try_for_each(|p| init::uniform_(p, -1.0, 1.0))?;
    let loaded = model();
    assert!(loaded.load_state_dict(&trained.state_dict(), true)?.is_clean());
    let x = Tensor::ones([1, 6, 5, 5]);
    assert_eq!(loaded.forward(&x).to_vec::<f32>()?, trained.forward(&x).to_vec::<f32>()?);
    Ok(())
}

#[test]
fn what_is_not_made_is_missed_and_not_saved() {
    let state = model().state_dict();
    let error = state.get("2.weight").map(|t| t.to_vec::<f32>().unwrap_err().to_string()).unwrap_or_default();
    assert!(error.contains("LazyLinear: there are no parameters before the first forward pass"), "{error}");
    let report = model().load_state_dict(&StateDict::new(), false).expect("nothing is loaded");
    assert_eq!(report.missing, ["0.weight", "0.bias", "2.weight"]);
}

#[test]
fn a_wrong_first_input_makes_nothing() -> Result<()> {
    let layer = LazyLinear::new(2);
    let failed = Tensor::zeros([1, 3]).matmul(&Tensor::zeros([4, 5]));
    assert!(layer.forward(&failed).error().is_some() && layer.get().is_none());
    assert_eq!(layer.forward(&Tensor::zeros([1, 3])).to_vec::<f32>()?.len(), 2);
    Ok(())
}

#[test]
fn the_mode_that_was_set_before_holds() {
    let model = Sequential::new().add(LazyLinear::new(2));
    model.eval();
    model.forward(&Tensor::zeros([1, 3])).eval().expect("it runs");
    assert!(!model[0].is_training());
}

/// The same seed draws the same parameters as the layer that is not lazy.
#[test]
fn its_parameters_are_those_of_the_layer_that_it_becomes() -> Result<()> {
    manual_seed(5);
    let plain = Linear::new(3, 2);
    manual_seed(5);
    let lazy = LazyLinear::new(2);
    lazy.forward(&Tensor::zeros([1, 3])).eval()?;
    let made = lazy.get().expect("it is made");
    assert_eq!(made.weight.value()?.to_vec::<f32>()?, plain.weight.value()?.to_vec::<f32>()?);
    Ok(())
}

#[test]
fn an_optimizer_waits_for_the_first_pass() -> Result<()> {
    let model = model();
    let x = Tensor::ones([1, 6, 5, 5]);
    let mut early = SGD::new(&model).lr(0.1);
    let error = early.step(&model.forward(&x).sum(..)).unwrap_err().to_string();
    assert!(error.contains("LazyConv2d: there are no parameters before the first forward pass"), "{error}");
    assert!(error.contains("at \"0\""), "{error}");
    SGD::new(&model).lr(0.1).step(&model.forward(&x).sum(..))?;
    Ok(())
}

#[test]
fn a_lazy_layer_without_parameters_misses_none() -> Result<()> {
    let layer = LazyInstanceNorm1d::new();
    assert!(layer.state_dict().is_empty());
    assert!(layer.load_state_dict(&StateDict::new(), true)?.is_clean());
    Ok(())
}
