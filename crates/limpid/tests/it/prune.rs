//! Pruning. Masks are those that PyTorch 2.15 printed.

use limpid::nn::utils::prune::{self, Method};
use limpid::prelude::*;

/// cos(k·i + 0.3)·2 + 0.5, as the Python lines beside the tests compute it.
fn data(shape: impl Into<Shape>, k: f64) -> Tensor {
    let shape = shape.into();
    let values: Vec<f64> = (0..shape.elements()).map(|i| (i as f64 * k + 0.3).cos() * 2.0 + 0.5).collect();
    Tensor::from_vec(values, shape)
}

/// for i, p in enumerate(m.parameters()): p.data = data(p.shape, 0.7 + 0.1 * i)
fn linear(inputs: usize, outputs: usize) -> Linear {
    let m = Linear::new(inputs, outputs).dtype(DType::F64);
    for (i, p) in m.parameters().iter().enumerate() {
        p.set(&data(p.shape(), 0.7 + 0.1 * i as f64)).unwrap();
    }
    m
}

fn mask(m: &dyn Module, name: &str) -> Vec<i64> {
    m.state_dict().get(name).unwrap().to_dtype(DType::I64).to_vec::<i64>().unwrap()
}

/// prune.l1_unstructured(m, 'weight', 3); prune.l1_unstructured(m, 'weight', 0.3);
/// prune.ln_structured(m, 'weight', 1, n=2, dim=0); prune.ln_structured(m, 'weight', 0.5, n=inf, dim=1)
#[test]
fn pruning_goes_on_where_something_is_left() {
    let m = linear(4, 3);
    prune::l1_unstructured(&m.weight, 3usize, None).unwrap();
    assert_eq!(mask(&m, "weight_mask"), [1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0]);
    prune::l1_unstructured(&m.weight, 0.3, None).unwrap();
    assert_eq!(mask(&m, "weight_mask"), [1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0]);
    prune::ln_structured(&m.weight, 1usize, 2.0, 0, None).unwrap();
    assert_eq!(mask(&m, "weight_mask"), [1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0]);
    prune::ln_structured(&m.weight, 0.5, f64::INFINITY, 1, None).unwrap();
    assert_eq!(mask(&m, "weight_mask"), [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let names: Vec<String> = m.state_dict().names().map(str::to_owned).collect();
    assert_eq!(names, ["weight_orig", "bias", "weight_mask"]);
    assert!(prune::is_pruned(&m));
    // (m(data((2, 4)))**2).sum().backward(): the gradient of the original is masked.
    let grads = m.forward(&data([2, 4], 0.7)).square().sum(..).gradients(&m).unwrap();
    let grad = grads.get("weight_orig").unwrap().to_vec::<f64>().unwrap();
    assert!((grad[0] - 43.24053424880422).abs() < 1e-10 && (grad[8] - 37.67633120883576).abs() < 1e-10);
    assert_eq!(grad.iter().filter(|g| **g != 0.0).count(), 2);
    prune::remove(&m.weight).unwrap();
    let weight = m.weight.value().unwrap().to_vec::<f64>().unwrap();
    assert!((weight[0] - 2.410672978251212).abs() < 1e-12 && weight[1] == 0.0);
    assert!(!prune::is_pruned(&m) && prune::remove(&m.weight).is_err());
    assert_eq!(m.state_dict().names().collect::<Vec<_>>(), ["weight", "bias"]);
}

/// prune.l1_unstructured(b, 'bias', 1); prune.global_unstructured([(a, 'weight'), (b, 'weight'), (b, 'bias')],
/// prune.L1Unstructured, amount=5)
#[test]
fn several_parameters_are_pruned_as_one() {
    let (a, b) = (linear(3, 2), linear(2, 2));
    let bias = b.bias.clone().unwrap();
    prune::l1_unstructured(&bias, 1usize, None).unwrap();
    let all = [a.weight.clone(), b.weight.clone(), bias];
    prune::global_unstructured(&all, Method::L1Unstructured, 5usize).unwrap();
    assert_eq!(mask(&a, "weight_mask"), [1, 1, 0, 0, 1, 0]);
    assert_eq!(mask(&b, "weight_mask"), [1, 1, 0, 0]);
    assert_eq!(mask(&b, "bias_mask"), [1, 0]);
    prune::global_unstructured(&all, Method::RandomUnstructured, 1.0).unwrap();
    assert_eq!(mask(&a, "weight_mask"), [0; 6]);
}

#[test]
fn random_masks_scores_and_masks_of_ones_own() {
    manual_seed(4);
    let m = Linear::new(10, 10);
    prune::identity(&m.weight).unwrap();
    assert_eq!(mask(&m, "weight_mask"), [1; 100]);
    prune::random_unstructured(&m.weight, 0.25).unwrap();
    assert_eq!(mask(&m, "weight_mask").iter().sum::<i64>(), 75);
    prune::random_structured(&m.weight, 3usize, -1).unwrap();
    let rows = mask(&m, "weight_mask");
    let empty = (0..10).filter(|c| (0..10).all(|r| rows[r * 10 + c] == 0)).count();
    assert!(empty >= 3, "{rows:?}");
    let m = linear(2, 2);
    prune::l1_unstructured(&m.weight, 1usize, Some(&Tensor::from([[3.0f64, 2.0], [0.0, 1.0]]))).unwrap();
    prune::custom_from_mask(&m.weight, &Tensor::from([[0.0f64, 1.0], [1.0, 1.0]])).unwrap();
    assert_eq!(mask(&m, "weight_mask"), [0, 1, 0, 1]);
    // A pruned model trains, and what is pruned stays 0.
    let mut sgd = SGD::new(&m).lr(0.1);
    (0..3).for_each(|_| drop(sgd.step(&m.forward(&data([4, 2], 0.7)).square().sum(..)).unwrap()));
    let weight = m.weight.value().unwrap().to_vec::<f64>().unwrap();
    assert!(weight[0] == 0.0 && weight[2] == 0.0 && weight[1] != 0.0);
}
