//! Convolution and pooling at their edges, against the numbers that PyTorch prints.

use limpid::prelude::*;
use limpid::{Result, gradients};

fn x() -> Tensor {
    let rows = [
        [1.0f32, 5.0, 2.0, 5.0, 3.0],
        [4.0, 5.0, 0.0, -1.0, 2.0],
        [9.0, 8.0, 7.0, 9.0, 6.0],
        [0.0, 1.0, 9.0, 3.0, 2.0],
    ];
    Tensor::from([rows])
}

fn near(t: &Tensor, expected: &[f32]) -> Result<()> {
    let found = t.to_vec::<f32>()?;
    let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0));
    assert!(found.len() == expected.len() && close, "{found:?}\n{expected:?}");
    Ok(())
}

fn row(values: &[f32]) -> Tensor {
    Tensor::from_vec(values.to_vec(), [1, 1, values.len()])
}

#[test]
fn the_first_of_equal_elements_is_the_largest() -> Result<()> {
    let x = x().requires_grad_();
    let (y, at) = MaxPool2d::new(3).stride(2).padding(1).ceil_mode(true).forward_with_indices(&x);
    near(&y, &[5.0, 5.0, 5.0, 9.0, 9.0, 9.0, 1.0, 9.0, 3.0])?;
    assert_eq!(at.to_vec::<i64>()?, [1, 1, 3, 10, 13, 13, 16, 17, 18]);
    let weights = Tensor::arange(1, 10, 1).to_dtype(DType::F32).view([1, 3, 3]);
    let slope = gradients(&(y * weights).sum(..), &[&x])?.remove(0).expect("it depends on x");
    let mut expected = [0.0; 20];
    [(1, 3.0), (3, 3.0), (10, 4.0), (13, 11.0), (16, 7.0), (17, 8.0), (18, 9.0)]
        .into_iter()
        .for_each(|(i, g)| expected[i] = g);
    near(&slope, &expected)
}

#[test]
fn a_window_that_begins_behind_the_input_is_dropped() -> Result<()> {
    let pool = MaxPool1d::new(2).stride(3).padding(1).ceil_mode(true);
    for last in [5, 4] {
        let x = Tensor::arange(1, last + 1, 1).to_dtype(DType::F32).view([1, 1, last as usize]);
        let (y, at) = pool.forward_with_indices(&x);
        assert_eq!((y.to_vec::<f32>()?, at.to_vec::<i64>()?), (vec![1.0, 4.0], vec![0, 3]));
    }
    let (y, at) = MaxPool2d::new(2).ceil_mode(true).forward_with_indices(&x());
    near(&y, &[5.0, 5.0, 3.0, 9.0, 9.0, 6.0])?;
    assert_eq!(at.to_vec::<i64>()?, [1, 3, 4, 10, 13, 14]);
    near(&AvgPool1d::new(4).stride(3).ceil_mode(true).forward(&row(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])), &[2.5, 5.0])
}

#[test]
fn nan_wins_and_infinities_have_a_place() -> Result<()> {
    let nan = f32::NAN;
    let (y, at) = MaxPool1d::new(4).forward_with_indices(&row(&[1.0, nan, 3.0, nan]));
    assert!(y.item()?.is_nan() && at.item()? == 3.0);
    let (y, at) = AdaptiveMaxPool1d::new(1).forward_with_indices(&row(&[1.0, nan, 3.0, nan]));
    assert!(y.item()?.is_nan() && at.item()? == 3.0);
    let low = Tensor::full([1, 2, 2], f64::NEG_INFINITY);
    let (y, at) = MaxPool2d::new(2).padding(1).forward_with_indices(&low);
    assert_eq!((y.to_vec::<f32>()?, at.to_vec::<i64>()?), (vec![f32::NEG_INFINITY; 4], vec![0, 1, 2, 3]));
    Ok(())
}

#[test]
fn averages_count_what_torch_counts() -> Result<()> {
    let pool = || AvgPool2d::new(3).stride(2).padding(1).ceil_mode(true);
    let (a, b) = (1.0 / 6.0, 4.555_555_3);
    near(&pool().forward(&x()), &[10.0 * a, 1.777_777_8, 1.0, 3.0, b, 14.0 * a, a, 13.0 * a, 5.0 * a])?;
    let inside = [3.75, 16.0 * a, 2.25, 4.5, b, 3.5, 0.5, 26.0 * a, 2.5];
    near(&pool().count_include_pad(false).forward(&x()), &inside)?;
    near(&AvgPool2d::new(2).divisor_override(3).forward(&x()), &[5.0, 2.0, 6.0, 28.0 / 3.0])?;
    let adapted = [17.0 * a, 11.0 * a, 5.5, 23.0 * a, 34.0 * a, 6.0];
    near(&AdaptiveAvgPool2d::new([3, 2]).forward(&x()), &adapted)
}

#[test]
fn norms_are_torchs_with_its_slope_at_zero() -> Result<()> {
    near(&LPPool2d::new(3.0, 2).forward(&x()), &[6.804_092, 5.091_643_3, 10.749_144, 12.227_155])?;
    let norms = LPPool1d::new(2.0, 2).ceil_mode(true).forward(&Tensor::from([[3.0f32, 4.0, 12.0]]));
    near(&norms, &[5.0, 16.970_563])?;
    let zeros = Tensor::zeros([1, 4]).requires_grad_();
    let slope = gradients(&LPPool1d::new(2.0, 2).forward(&zeros).sum(..), &[&zeros])?.remove(0);
    near(&slope.expect("it depends on x"), &[0.0; 4])
}

#[test]
fn fractional_windows_begin_where_torchs_do() -> Result<()> {
    let x = Tensor::arange(0, 49, 1).to_dtype(DType::F32).view([1, 7, 7]);
    let samples = Tensor::from([[[0.3f32, 0.9]]]);
    let layer = FractionalMaxPool2d::new(2).output_size([4, 3]).random_samples(&samples);
    let (y, at) = layer.forward_with_indices(&x);
    let expected = [8, 11, 13, 22, 25, 27, 29, 32, 34, 43, 46, 48];
    assert_eq!((y.to_vec::<i64>()?, at.to_vec::<i64>()?), (expected.to_vec(), expected.to_vec()));
    Ok(())
}

#[test]
fn unpooling_takes_the_size_that_was_pooled() -> Result<()> {
    let x = Tensor::arange(1, 21, 1).to_dtype(DType::F32).view([1, 1, 4, 5]);
    let (y, at) = MaxPool2d::new(2).forward_with_indices(&x);
    let back = MaxUnpool2d::new(2).forward(&y, &at, Some(Sizes::from([1, 1, 4, 5])));
    let mut expected = [0.0; 20];
    [6, 8, 16, 18].into_iter().for_each(|i: usize| expected[i] = i as f32 + 1.0);
    near(&back, &expected)
}

#[test]
fn padding_same_puts_more_behind() -> Result<()> {
    let x = row(&[1.0, 0.0, 0.0, 0.0, 1.0]);
    let same = ConvOptions::new().padding(Padding::Same);
    near(&x.conv1d(&row(&[1.0, 2.0, 3.0, 4.0]), None, &same), &[2.0, 1.0, 4.0, 3.0, 2.0])?;
    near(&x.conv1d(&row(&[1.0, 2.0]), None, &same.dilation(3)), &[0.0, 1.0, 2.0, 0.0, 0.0])
}

#[test]
fn transposed_convolutions_are_torchs() -> Result<()> {
    let options = ConvTransposeOptions::new().stride(2).padding(1).output_padding(1);
    let y = row(&[1.0, 2.0, 3.0]).conv_transpose1d(&row(&[1.0, 10.0, 100.0]), None, &options);
    near(&y, &[10.0, 102.0, 20.0, 203.0, 30.0, 300.0])?;
    let weight = Tensor::arange(0, 8, 1).to_dtype(DType::F32).view([4, 1, 2]);
    let options = ConvTransposeOptions::new().groups(2).dilation(2);
    let y = Tensor::ones([1, 4, 2]).conv_transpose1d(&weight, None, &options);
    near(&y, &[2.0, 2.0, 4.0, 4.0, 10.0, 10.0, 12.0, 12.0])
}

#[test]
fn a_batch_may_be_left_out() -> Result<()> {
    let (one, batch) = (Tensor::rand([2, 5, 6]), |t: &Tensor| t.unsqueeze(0));
    let layers: [Box<dyn Forward>; 4] = [
        Box::new(Conv2d::new(2, 3, 3).padding(1)),
        Box::new(ConvTranspose2d::new(2, 3, 3)),
        Box::new(MaxPool2d::new(2)),
        Box::new(AdaptiveAvgPool2d::new(2)),
    ];
    for layer in layers {
        let (a, b) = (layer.forward(&one), layer.forward(&batch(&one)));
        assert_eq!(batch(&a).shape(), b.shape(), "{}", layer.kind());
        assert_eq!(a.to_vec::<f32>()?, b.to_vec::<f32>()?);
    }
    Ok(())
}

#[test]
fn blocks_are_torchs_columns() -> Result<()> {
    let x = Tensor::arange(1, 25, 1).to_dtype(DType::F32).view([4, 6]);
    let sums = [1.0, 9.0, 11.0, 9.0, 17.0, 48.0, 52.0, 33.0, 16.0, 39.0, 41.0, 24.0];
    near(&Fold::new([3, 4], 2).forward(&x), &sums)?;
    let image = Tensor::arange(1, 10, 1).to_dtype(DType::F32).view([1, 3, 3]);
    let columns = [
        [0.0, 2.0, 0.0, 5.0],
        [1.0, 3.0, 4.0, 6.0],
        [2.0, 0.0, 5.0, 0.0],
        [0.0, 5.0, 0.0, 8.0],
        [4.0, 6.0, 7.0, 9.0],
        [5.0, 0.0, 8.0, 0.0],
    ];
    near(&Unfold::new([2, 3]).padding([0, 1]).stride([1, 2]).forward(&image), &columns.concat())
}

/// As PyTorch prints them.
#[test]
fn layers_print_as_torchs() {
    let layers: [(Box<dyn Module>, &str); 12] = [
        (
            Box::new(Conv1d::new(3, 8, 3).padding(Padding::Same).bias(false)),
            "Conv1d(3, 8, kernel_size=(3,), stride=(1,), padding=same, bias=False)",
        ),
        (
            Box::new(
                Conv2d::new(4, 8, [3, 2])
                    .stride(2)
                    .padding([1, 0])
                    .dilation(2)
                    .groups(2)
                    .padding_mode(PadMode::Reflect),
            ),
            "Conv2d(4, 8, kernel_size=(3, 2), stride=(2, 2), padding=(1, 0), dilation=(2, 2), groups=2, padding_mode=reflect)",
        ),
        (
            Box::new(ConvTranspose2d::new(4, 8, 3).stride(2).padding(1).output_padding(1)),
            "ConvTranspose2d(4, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1))",
        ),
        (Box::new(LazyConv2d::new(8, 3)), "LazyConv2d(0, 8, kernel_size=(3, 3), stride=(1, 1))"),
        (
            Box::new(MaxPool3d::new([1, 2, 2])),
            "MaxPool3d(kernel_size=(1, 2, 2), stride=(1, 2, 2), padding=0, dilation=1, ceil_mode=False)",
        ),
        (Box::new(AvgPool1d::new(3)), "AvgPool1d(kernel_size=(3,), stride=(3,), padding=(0,))"),
        (Box::new(AvgPool2d::new([3, 2]).stride(2).padding(1)), "AvgPool2d(kernel_size=(3, 2), stride=2, padding=1)"),
        (Box::new(AdaptiveAvgPool2d::new([Some(3), None])), "AdaptiveAvgPool2d(output_size=(3, None))"),
        (Box::new(LPPool2d::new(2.0, 3)), "LPPool2d(norm_type=2, kernel_size=3, stride=None, ceil_mode=False)"),
        (
            Box::new(MaxUnpool2d::new(2).stride(3).padding(1)),
            "MaxUnpool2d(kernel_size=(2, 2), stride=(3, 3), padding=(1, 1))",
        ),
        (Box::new(Fold::new([4, 5], 2)), "Fold(output_size=(4, 5), kernel_size=2, dilation=1, padding=0, stride=1)"),
        (Box::new(FractionalMaxPool2d::new(2).output_size(3)), "FractionalMaxPool2d()"),
    ];
    for (layer, text) in layers {
        assert_eq!(layer.describe(), text);
    }
}
