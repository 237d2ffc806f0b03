//! Interpolation and sampling: the numbers that PyTorch 2.15 prints.

use limpid::prelude::*;

fn near(name: &str, y: &Tensor, shape: &[usize], expected: &[f64]) {
    let found = y.to_vec::<f64>().unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(&y.shape()[..], shape, "{name}");
    let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-4 || (a.is_nan() && b.is_nan());
    assert!(found.iter().zip(expected).all(close) && found.len() == expected.len(), "{name}: {found:?}");
}

fn ramp(n: i64, shape: &[usize]) -> Tensor {
    Tensor::arange(1, n + 1, 1).to_dtype(DType::F64).view(shape)
}

#[test]
fn a_signal_between_its_elements() {
    let x = ramp(5, &[1, 1, 5]);
    let (by, to) = (|f: f64| InterpolateOptions::scale_factor(f), |n: usize| InterpolateOptions::size(n));
    let rows: &[(&str, InterpolateOptions, &[f64])] = &[
        ("nearest 1.3", by(1.3), &[1.0, 1.0, 2.0, 3.0, 4.0, 4.0]),
        ("exact 1.3", by(1.3).mode(InterpolateMode::NearestExact), &[1.0, 2.0, 2.0, 3.0, 4.0, 5.0]),
        ("nearest 3", to(3), &[1.0, 2.0, 4.0]),
        ("exact 3", to(3).mode(InterpolateMode::NearestExact), &[1.0, 3.0, 5.0]),
        ("area 3", to(3).mode(InterpolateMode::Area), &[1.5, 3.0, 4.5]),
        ("linear 0.7", by(0.7).mode(InterpolateMode::Linear), &[1.2143, 2.6429, 4.0714]),
        ("linear 0.7 anew", by(0.7).mode(InterpolateMode::Linear).recompute_scale_factor(true), &[1.3333, 3.0, 4.6667]),
    ];
    for (name, options, expected) in rows {
        near(name, &x.interpolate(options), &[1, 1, expected.len()], expected);
    }
    let bytes = Tensor::from([[[200u8, 100]]]).interpolate(&to(3));
    assert_eq!((bytes.dtype(), bytes.to_vec::<u8>().unwrap()), (DType::U8, vec![200, 200, 100]));
}

#[test]
fn images_between_their_elements() {
    let linear = InterpolateOptions::size([3, 4]).mode(InterpolateMode::Bilinear);
    let y = ramp(4, &[1, 1, 2, 2]).interpolate(&linear);
    near("bilinear", &y, &[1, 1, 3, 4], &[1.0, 1.25, 1.75, 2.0, 2.0, 2.25, 2.75, 3.0, 3.0, 3.25, 3.75, 4.0]);
    let cubic = InterpolateOptions::scale_factor(1.7).mode(InterpolateMode::Bicubic);
    let y = ramp(9, &[1, 1, 3, 3]).interpolate(&cubic);
    near("bicubic", &y.narrow(2, 0, 1), &[1, 1, 1, 5], &[0.6105, 1.0086, 1.6644, 2.3555, 2.7881]);
    near("bicubic", &y.narrow(2, 4, 1), &[1, 1, 1, 5], &[7.1433, 7.5415, 8.1972, 8.8884, 9.3210]);
}

#[test]
fn smaller_images_are_smoothed_as_pillow_does() {
    let (three, four) = (ramp(9, &[1, 1, 3, 3]).square(), ramp(16, &[1, 1, 4, 4]).square());
    let linear = |options: InterpolateOptions| options.mode(InterpolateMode::Bilinear).antialias(true);
    let cubic = |options: InterpolateOptions| options.mode(InterpolateMode::Bicubic).antialias(true);
    let y = three.interpolate(&linear(InterpolateOptions::size(2)));
    near("linear", &y, &[1, 1, 2, 2], &[8.5938, 16.4062, 41.4062, 58.5938]);
    let y = four.interpolate(&cubic(InterpolateOptions::size([2, 3])));
    near("cubic", &y, &[1, 1, 2, 3], &[16.6941, 27.7476, 42.0942, 121.7503, 151.9460, 185.4348]);
    let y = four.interpolate(&cubic(InterpolateOptions::size([2, 3])).align_corners(true));
    near("cubic, aligned", &y, &[1, 1, 2, 3], &[53.8013, 75.0480, 94.5289, 160.1147, 201.4656, 236.8109]);
    let y = four.interpolate(&linear(InterpolateOptions::scale_factor(0.6)));
    near("linear by a factor", &y, &[1, 1, 2, 2], &[14.0408, 26.5873, 96.2540, 128.5556]);
}

#[test]
fn layers_print_as_torchs_and_no_batch_is_no_error() {
    let model = Sequential::new()
        .add(Upsample::scale_factor(2.0))
        .add(Upsample::size([3, 4]).mode(InterpolateMode::Bilinear))
        .add(UpsamplingNearest2d::scale_factor([2.0, 3.0]))
        .add(UpsamplingBilinear2d::size(4));
    let printed = "\
Sequential(
  (0): Upsample(scale_factor=2.0, mode='nearest')
  (1): Upsample(size=(3, 4), mode='bilinear')
  (2): UpsamplingNearest2d(scale_factor=(2.0, 3.0), mode='nearest')
  (3): UpsamplingBilinear2d(size=4, mode='bilinear')
)";
    assert_eq!(model.describe(), printed);
    for n in [0, 2] {
        let y = model.forward(&Tensor::zeros([n, 3, 5, 6]));
        assert_eq!((&y.shape()[..], y.to_vec::<f32>().unwrap().len()), (&[n, 3, 4, 4][..], n * 48));
    }
    let aligned = UpsamplingBilinear2d::size(3).forward(&ramp(4, &[1, 1, 2, 2]));
    near("aligned", &aligned, &[1, 1, 3, 3], &[1.0, 1.5, 2.0, 2.0, 2.5, 3.0, 3.0, 3.5, 4.0]);
}

#[test]
fn grids_say_where_an_image_is_sampled() {
    let x = ramp(9, &[1, 1, 3, 3]);
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let grid = Tensor::from([[[[0.0, 0.0], [0.5, -0.3], [1.4, 0.2], [-2.6, 3.1], [nan, 0.0], [inf, 0.0]]]]);
    let all = GridOptions::new();
    let reflected = all.padding_mode(GridPadding::Reflection);
    let rows: &[(&str, GridOptions, [f64; 6])] = &[
        ("zeros", all, [5.0, 4.4, 0.0, 0.0, nan, nan]),
        ("border", all.padding_mode(GridPadding::Border), [5.0, 4.4, 6.9, 7.0, 4.0, 6.0]),
        ("reflection", reflected, [5.0, 4.4, 6.8, 2.9, 4.0, 4.0]),
        ("nearest", reflected.align_corners(true).mode(GridMode::Nearest), [5.0, 6.0, 6.0, 3.0, 4.0, 4.0]),
    ];
    for (name, options, expected) in rows {
        near(name, &x.grid_sample(&grid, options), &[1, 1, 1, 6], expected);
    }
    let four = grid.narrow(2, 0, 4);
    for (options, expected) in [(all, [5.0, 4.8920, -0.4613, 0.0]), (reflected, [5.0, 4.1709, 7.0925, 2.4129])] {
        near("bicubic", &x.grid_sample(&four, &options.mode(GridMode::Bicubic)), &[1, 1, 1, 4], &expected);
    }
    let none = Tensor::zeros([0, 2, 3, 3]).grid_sample(&Tensor::zeros([0, 4, 5, 2]), &all);
    assert_eq!((&none.shape()[..], none.to_vec::<f32>().unwrap().len()), (&[0, 2, 4, 5][..], 0));
}

#[test]
fn affine_maps_are_grids() {
    let theta = Tensor::from([[[1.0, 0.5, 0.1], [0.2, -1.0, 0.3]]]);
    let rows: [(bool, [f64; 12]); 2] = [
        (false, [-0.8167, 0.6667, -0.15, 0.8, 0.5167, 0.9333, -0.3167, -0.3333, 0.35, -0.2, 1.0167, -0.0667]),
        (true, [-1.4, 1.1, -0.4, 1.3, 0.6, 1.5, -0.4, -0.9, 0.6, -0.7, 1.6, -0.5]),
    ];
    for (align, expected) in rows {
        near("affine", &theta.affine_grid(&[1, 1, 2, 3], align), &[1, 2, 3, 2], &expected);
    }
    // The identity gives the input back, in two and three dimensions.
    let image = Tensor::randn([2, 3, 4, 5]);
    let one = Tensor::from([[[1.0f32, 0.0, 0.0], [0.0, 1.0, 0.0]]]).expand([2, 2, 3]);
    let same = image.grid_sample(&one.affine_grid(image.shape(), false), &GridOptions::new());
    assert!((same - &image).abs().amax(..).item().unwrap() < 1e-5);
    let volume = Tensor::randn([1, 2, 3, 4, 5]);
    let one = Tensor::from([[[1.0f32, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]]);
    for mode in [GridMode::Bilinear, GridMode::Nearest, GridMode::Bicubic] {
        let grid = one.affine_grid(volume.shape(), true);
        let same = volume.grid_sample(&grid, &GridOptions::new().mode(mode).align_corners(true));
        assert!((same - &volume).abs().amax(..).item().unwrap() < 1e-5, "{mode:?}");
    }
}

/// Places and weights are data: other factors of one size are one plan.
#[test]
fn another_factor_is_the_same_plan() {
    let x = Tensor::rand([1, 2, 6, 6]);
    let run = |factor: f64| {
        let options = InterpolateOptions::scale_factor(factor).mode(InterpolateMode::Bilinear);
        x.interpolate(&options).eval().unwrap();
    };
    run(1.51);
    let before = limpid::stats().plans;
    [1.52, 1.55, 1.6].into_iter().for_each(run);
    assert_eq!(limpid::stats().plans, before);
}
