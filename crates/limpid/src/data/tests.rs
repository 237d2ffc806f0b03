//! Splits, batches and errors of data sets.

use limpid_core::{Result, Tensor};

use super::{Dataset, Scale, datasets};

fn labels(data: &Dataset) -> Vec<i64> {
    data.targets().to_vec().unwrap()
}

fn small(rows: usize) -> Dataset {
    let features = Tensor::from_vec((0..rows).map(|row| row as f32).collect(), [rows, 1]);
    let targets = Tensor::from_vec((0..rows).map(|row| (row % 2) as i64).collect(), [rows]);
    Dataset::classification("small", features, targets, vec!["a".into(), "b".into()]).unwrap()
}

#[test]
fn a_split_has_all_rows_once_and_all_classes_in_proportion() -> Result<()> {
    let data = datasets::digits()?;
    let (train, test) = data.split(0.8, 7);
    assert_eq!((train.rows(), test.rows()), (1438, 359));
    let count = |data: &Dataset, class| labels(data).iter().filter(|&&label| label == class).count();
    for class in 0..10 {
        let (all, first) = (count(&data, class), count(&train, class));
        assert_eq!(first + count(&test, class), all);
        assert!((first as f64 - 0.8 * all as f64).abs() <= 1.0, "class {class}: {first} of {all}");
    }
    assert_eq!(labels(&data.split(0.8, 7).1), labels(&test));
    assert_ne!(labels(&data.split(0.8, 8).1), labels(&test));
    Ok(())
}

#[test]
fn an_epoch_has_every_row_once_and_its_order_is_of_seed_and_epoch() -> Result<()> {
    let data = small(10);
    let order = |seed, epoch, from| -> Result<Vec<f32>> {
        let mut rows = Vec::new();
        for (x, y) in data.batches(4).shuffled(seed, epoch).starting_at(from) {
            assert_eq!(x.size(0), y.size(0));
            rows.extend(x.to_vec::<f32>()?);
        }
        Ok(rows)
    };
    let whole = order(7, 0, 0)?;
    let mut sorted = whole.clone();
    sorted.sort_by(f32::total_cmp);
    assert_eq!(sorted, (0..10).map(|row| row as f32).collect::<Vec<_>>());
    assert_eq!(order(7, 0, 4)?, whole[4..]);
    assert_ne!(order(7, 1, 0)?, whole);
    assert_ne!(order(8, 0, 0)?, whole);
    let sizes: Vec<usize> = data.batches(4).map(|(x, _)| x.size(0)).collect();
    assert_eq!(sizes, [4, 4, 2]);
    assert_eq!(data.batches(4).len(), 3);
    Ok(())
}

#[test]
fn what_can_not_be_is_said() {
    let (x, y) = (Tensor::from([[1.0f32], [f32::NAN]]), Tensor::from([0i64, 1]));
    let two = || vec!["a".to_owned(), "b".to_owned()];
    let message = |result: Result<Dataset>| result.unwrap_err().to_string();
    let of = |x: &Tensor, y: &Tensor| message(Dataset::classification("t", x.clone(), y.clone(), two()));
    assert_eq!(of(&x, &y), "t: feature 0 of row 1 is NaN\n  try removing the row, or filling in a number");
    let x = Tensor::from([[1.0f32], [2.0]]);
    let expected = "t: the label of row 1 is 2, but there are 2 classes\n  try labels from 0 to 1";
    assert_eq!(of(&x, &Tensor::from([0i64, 2])), expected);
    let expected = "t: the label of row 0 is -1, but there are 2 classes\n  try labels from 0 to 1";
    assert_eq!(of(&x, &Tensor::from([-1i64, 0])), expected);
    assert_eq!(of(&x, &Tensor::from([0i64])), "t: 2 rows of features, but targets of shape [1]");
    let empty = of(&Tensor::zeros([0, 3]), &Tensor::zeros([0]));
    assert_eq!(empty, "t: the data set is empty: it has no rows\n  try data with a row at least");
    let (x, _) = small(10).batches(11).next().unwrap();
    let error = x.item().unwrap_err();
    assert_eq!(error.what(), "batches: a batch of 11 is larger than the data: small has 10 rows");
    assert!(error.to_string().ends_with("\n  try a batch of 10 or less"), "{error}");
    let (x, _) = small(10).batches(0).next().unwrap();
    assert_eq!(x.item().unwrap_err().what(), "batches: a batch has 0 rows");
    let (part, _) = small(10).split(1.0, 0);
    assert_eq!(part.features().item().unwrap_err().what(), "split: 1 of small (10 rows) leaves a part without rows");
}

#[test]
fn a_learned_scale_gives_mean_0_and_deviation_1_and_leaves_constants_alone() -> Result<()> {
    let features = Tensor::from([[1.0f32, 5.0], [3.0, 5.0], [5.0, 5.0]]);
    let data = Dataset::regression("t", features, Tensor::from([1.0f32, 2.0, 3.0]), vec!["y".into()])?;
    let scale = Scale::learn(data.features())?;
    assert_eq!((&scale.mean[..], scale.std[1]), (&[3.0f32, 5.0][..], 1.0));
    let scaled = scale.apply(&data)?.features().to_vec::<f32>()?;
    let step = 1.5f32.sqrt();
    for (got, expected) in scaled.into_iter().zip([-step, 0.0, 0.0, 0.0, step, 0.0]) {
        assert!((got - expected).abs() < 1e-6, "{got} {expected}");
    }
    Ok(())
}

#[test]
fn figures_on_the_plane_depend_on_their_seed() -> Result<()> {
    for make in [datasets::moons, datasets::circles] {
        let points = |seed| make(100, 0.1, seed)?.features().to_vec::<f32>();
        assert_eq!(points(1)?, points(1)?);
        assert_ne!(points(1)?, points(2)?);
    }
    let spiral = datasets::spiral(99, 3, 0.0, 0)?;
    assert_eq!(labels(&spiral)[..6], [0, 1, 2, 0, 1, 2]);
    let first = spiral.features().to_vec::<f32>()?;
    assert!((first[0] - 0.1).abs() < 1e-6 && first[1].abs() < 1e-6);
    assert_eq!(datasets::moons(1, 0.1, 0).unwrap_err().what(), "moons: 1 points for 2 classes");
    assert_eq!(datasets::moons(9, f64::NAN, 0).unwrap_err().what(), "moons: the noise is NaN");
    Ok(())
}
