//! Modes, freezing, state dicts and their files, printing, threads.

use limpid::prelude::*;

fn model() -> Sequential {
    Sequential::new().add(Linear::new(2, 3)).add(ReLU).add(Dropout::new(0.5)).add(Linear::new(3, 1).bias(false))
}

#[test]
fn it_prints_as_torch_does() {
    let expected = "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n  (1): ReLU()\n  \
                    (2): Dropout(p=0.5, inplace=False)\n  (3): Linear(in_features=3, out_features=1, bias=False)\n)";
    assert_eq!(model().to_string(), expected);
    assert_eq!(LayerNorm::new(8).describe(), "LayerNorm((8,), eps=1e-05, elementwise_affine=True, bias=True)");
    assert_eq!(Embedding::new(10, 3).padding_idx(-1).describe(), "Embedding(10, 3, padding_idx=9)");
}

#[test]
fn a_summary_counts_and_shows_shapes() {
    let model = model();
    model.freeze("0.*").unwrap();
    let summary = model.summary_of(|| model.forward(&Tensor::ones([4, 2]))).unwrap();
    assert_eq!((summary.total, summary.trainable), (12, 3));
    let shapes: Vec<_> = summary.rows.iter().map(|r| r.output.clone().unwrap()).collect();
    assert_eq!(shapes[0], Shape::from([4, 1]));
    assert_eq!(shapes[1], Shape::from([4, 3]));
    assert_eq!(summary.rows.iter().map(|r| r.parameters).collect::<Vec<_>>(), [0, 9, 0, 0, 3]);
}

#[test]
fn eval_mode_stops_dropout_and_train_mode_starts_it() {
    let drop = Sequential::new().add(Dropout::new(0.5));
    let x = Tensor::ones([1000]);
    let zeros = |y: Tensor| y.to_vec::<f32>().unwrap().iter().filter(|v| **v == 0.0).count();
    assert!((400..600).contains(&zeros(drop.forward(&x))));
    drop.eval();
    assert!(!drop.is_training());
    assert_eq!(zeros(drop.forward(&x)), 0);
    drop.train();
    assert!(drop.is_training() && zeros(drop.forward(&x)) > 0);
}

#[test]
fn a_setter_draws_what_a_constructor_would_have() {
    let bytes = |p: &Parameter| p.value().unwrap().to_bytes().unwrap();
    manual_seed(3);
    let _ = Linear::new(4, 3).bias(false);
    let next = Linear::new(3, 3);
    manual_seed(3);
    let _one_draw = Tensor::rand([3, 4]);
    let same = Linear::new(3, 3);
    assert_eq!(bytes(&next.weight), bytes(&same.weight), "no bias, no draw for it");
    manual_seed(3);
    let plain = Linear::new(4, 3);
    manual_seed(3);
    let typed = Linear::new(4, 3).dtype(DType::F64);
    assert_eq!((plain.weight.dtype(), typed.weight.dtype()), (DType::F32, DType::F64));
    let bound = 0.5;
    assert!(plain.weight.value().unwrap().to_vec::<f32>().unwrap().iter().all(|w| w.abs() <= bound));
}

#[test]
fn a_state_goes_to_a_file_and_comes_back() {
    let folder = std::env::temp_dir().join(format!("limpid-state-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("net.safetensors");
    let (a, b) = (model(), model());
    a.save(&file).unwrap();
    assert!(b.load(&file).unwrap().is_clean());
    for (name, value) in a.state_dict().iter() {
        assert_eq!(value.to_bytes().unwrap(), b.state_dict().get(name).unwrap().to_bytes().unwrap(), "{name}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_state_that_does_not_fit_is_refused_whole_or_taken_in_part() {
    let model = model();
    let mut state = StateDict::new();
    state.insert("0.weight", Tensor::ones([3, 2]));
    state.insert("0.bias", Tensor::ones([4]));
    state.insert("other", Tensor::ones([1]));
    let before = model.state_dict().get("0.weight").unwrap().to_bytes().unwrap();
    let error = model.load_state_dict(&state, true).unwrap_err().to_string();
    for part in ["missing: 3.weight", "unexpected: other", "0.bias is [3] in the model, [4] in the state"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(model.state_dict().get("0.weight").unwrap().to_bytes().unwrap(), before, "nothing is changed");
    let report = model.load_state_dict(&state, false).unwrap();
    assert_eq!((report.missing, report.unexpected), (vec!["3.weight".to_owned()], vec!["other".to_owned()]));
    assert_eq!(model.state_dict().get("0.weight").unwrap().to_vec::<f32>().unwrap(), [1.0; 6]);
}

#[test]
fn a_padding_row_is_zero_and_stays_untrained() {
    let words = Embedding::new(4, 2).padding_idx(1);
    let loss = words.forward(&Tensor::from([1i64, 2])).sum(..);
    let grads = loss.gradients(&words).unwrap();
    assert_eq!(grads.get("weight").unwrap().to_vec::<f32>().unwrap(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    // Negative ones count from the end, as in torch: −3 of 4 rows is row 1.
    let weight = Embedding::new(4, 2).padding_idx(-3).weight.value().unwrap().to_vec::<f32>().unwrap();
    assert_eq!(weight.iter().map(|w| *w == 0.0).collect::<Vec<_>>()[..4], [false, false, true, true]);
    for index in [4isize, -5, 100] {
        let words = Embedding::new(4, 2).padding_idx(index);
        let error = words.forward(&Tensor::from([0i64])).to_vec::<f32>().unwrap_err();
        let expected = format!("embedding: padding_idx {index} is out of range for a table of 4 rows");
        assert_eq!(error.what(), expected);
        let loss = words.forward(&Tensor::from([0i64])).sum(..);
        assert_eq!(SGD::new(&words).lr(0.1).step(&loss).unwrap_err().what(), expected);
    }
}

#[test]
fn an_index_without_a_row_names_the_layer_the_index_and_the_rows() {
    let words = Embedding::new(4, 2);
    // As in torch, negative indices count from nowhere.
    for index in [4i64, -1, -9] {
        let error = words.forward(&Tensor::from([[0i64, 1], [index, 0]])).to_vec::<f32>().unwrap_err();
        assert_eq!(error.what(), format!("embedding: index {index} is out of range for axis 0 of size 4"));
        let text = error.to_string();
        assert!(text.contains("Embedding 4×2") && text.contains("indices from 0 to 3"), "{text}");
    }
    let error = words.forward(&Tensor::from([0.5f32])).to_vec::<f32>().unwrap_err();
    assert_eq!(error.what(), "embedding: the index is f32, not integers");
    assert_eq!(*words.forward(&Tensor::from(3i64)).shape(), Shape::from([2]));
    assert_eq!(*words.forward(&Tensor::zeros_of([0, 3], DType::I64)).shape(), Shape::from([0, 3, 2]));
}

#[test]
fn wrong_arguments_wait_for_the_read() {
    let x = Tensor::ones([2, 2]);
    assert!(Dropout::new(1.5).forward(&x).item().unwrap_err().what().starts_with("dropout: the probability is 1.5"));
    assert!(GELU::new().approximate("sigmoid").forward(&x).item().unwrap_err().what().contains("\"sigmoid\""));
    assert!(Softmax::new(2).forward(&x).item().is_err());
}

#[test]
fn many_threads_share_a_model_in_eval_mode() {
    fn shared<T: Send + Sync>(_: &T) {}
    let model = model();
    shared(&model);
    model.eval();
    let expected = model.forward(&Tensor::ones([5, 2])).to_bytes().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(model.forward(&Tensor::ones([5, 2])).to_bytes().unwrap(), expected);
                }
            });
        }
    });
}
