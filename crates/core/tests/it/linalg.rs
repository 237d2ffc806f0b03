//! Linear algebra and Fourier transforms: first and second gradients against differences, kernels against bodies, results
//! against their definitions.

use limpid_core::{DType, FftNorm, MatrixNorm, Shape, StftOptions, Tensor};

use crate::gradients::{Function, Point, check};
use crate::support::{Dice, floats, seed};

fn eye(n: usize) -> Tensor {
    let places = Tensor::arange(0, n as i64, 1);
    places.eq(places.unsqueeze(-1)).to_dtype(DType::F64)
}

/// Positive definite, of any matrix.
fn definite(x: &Tensor) -> Tensor {
    x.matmul(&x.transpose(-2, -1)) + eye(x.size(-2)) * 0.5
}

type Row = (&'static str, &'static [&'static [usize]], fn(&[Tensor]) -> Vec<Tensor>);

const ROWS: &[Row] = &[
    ("cholesky", &[&[2, 3, 3]], |x| vec![definite(&x[0]).cholesky(false), definite(&x[0]).cholesky(true)]),
    ("solve_triangular", &[&[2, 3, 3], &[2, 3, 2]], |x| {
        let a = &x[0] + eye(3) * 4.0;
        let ways = [(false, false), (false, true), (true, false), (true, true)];
        let left = ways.map(|(upper, unit)| a.solve_triangular(&x[1], upper, true, unit));
        let right = a.solve_triangular(&x[1].transpose(1, 2), true, false, false);
        left.into_iter().chain([right]).collect()
    }),
    ("lu", &[&[4, 4]], |x| x[0].lu()[1..].to_vec()),
    ("lu of tall and wide", &[&[4, 3]], |x| [x[0].lu(), x[0].t().lu()].iter().flat_map(|f| f[1..].to_vec()).collect()),
    ("qr", &[&[2, 4, 3]], |x| x[0].qr(false).to_vec()),
    ("qr of square and wide", &[&[3, 3], &[2, 3]], |x| [x[0].qr(false), x[1].qr(false)].concat()),
    ("qr, complete", &[&[3, 3]], |x| x[0].qr(true).to_vec()),
    ("svd", &[&[4, 3]], |x| x[0].svd().to_vec()),
    ("svd of wide", &[&[2, 2, 3]], |x| x[0].svd().to_vec()),
    ("solve", &[&[2, 3, 3], &[3, 2], &[3]], |x| {
        let a = &x[0] + eye(3) * 3.0;
        vec![a.solve(&x[1]), a.select(0, 0).solve(&x[2]), a.solve_right(&x[1].t())]
    }),
    ("inv", &[&[2, 3, 3]], |x| vec![(&x[0] + eye(3) * 3.0).inv()]),
    ("matrix_power", &[&[2, 2, 2]], |x| [-2, 0, 1, 3].map(|n| (&x[0] + eye(2) * 3.0).matrix_power(n)).to_vec()),
    ("det slogdet", &[&[2, 3, 3]], |x| vec![x[0].det(), x[0].slogdet()[1].clone()]),
    ("matrix_norm", &[&[3, 2]], |x| {
        let orders = [MatrixNorm::Fro, MatrixNorm::Nuc, 2.0.into(), (-2.0).into(), 1.0.into(), f64::INFINITY.into()];
        orders.map(|ord| x[0].matrix_norm(ord, [-2, -1], false)).to_vec()
    }),
    ("rfft", &[&[2, 5]], |x| vec![x[0].rfft(None, -1, FftNorm::Ortho), x[0].rfft(Some(4), 0, FftNorm::Forward)]),
    ("fft irfft", &[&[3, 4, 2]], |x| {
        let ring = FftNorm::Backward;
        vec![
            x[0].fft(None, 0, ring),
            x[0].ifft(Some(5), -1, ring),
            x[0].irfft(None, -1, ring),
            x[0].irfft(Some(5), 0, ring),
        ]
    }),
    ("stft", &[&[12], &[3]], |x| {
        let options = StftOptions::new().hop_length(2).win_length(3).window(&x[1]);
        vec![x[0].stft(4, &options), x[0].stft(4, &options.clone().center(false).onesided(false).normalized(true))]
    }),
];

#[test]
fn gradients_follow_differences() {
    let mut dice = Dice::new(seed() + 40);
    let mut failures = Vec::new();
    for (name, shapes, f) in ROWS {
        let points: Vec<Point> = shapes.iter().map(|shape| Point::new(&mut dice, shape, false)).collect();
        let f: &Function<'_> = &|xs: &[Tensor]| f(xs);
        if let Err(why) = check(f, &points, true) {
            failures.push(format!("{name}: {why}"));
        }
    }
    assert!(failures.is_empty(), "seed {}:\n{}", seed(), failures.join("\n"));
}

fn far(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    (a - b).abs().amax(..).item().unwrap()
}

#[test]
fn factors_multiply_to_the_matrix_in_every_batch_and_type() {
    let x = Tensor::from_vec((0..48).map(|i| ((i * 37 % 23) as f64 - 11.0) / 7.0).collect::<Vec<f64>>(), [2, 1, 4, 6]);
    for x in [x.clone(), x.transpose(2, 3)] {
        let [p, l, u] = x.lu();
        assert!(far(&p.matmul(&l).matmul(&u), &x) < 1e-12);
        for complete in [false, true] {
            let [q, r] = x.qr(complete);
            assert!(far(&q.matmul(&r), &x) < 1e-12);
        }
        let [u, s, vt] = x.svd();
        assert!(far(&(u * s.unsqueeze(-2)).matmul(&vt), &x) < 1e-12);
        let half = x.to_dtype(DType::F32);
        assert_eq!(half.svdvals().dtype(), DType::F32);
        assert!(far(&half.svdvals().to_dtype(DType::F64), &s) < 1e-5);
    }
    // Sums that everybody knows: the product of eigenvalues, the rank.
    let ranks = Tensor::from([[1.0f64, 2.0], [2.0, 4.0]]);
    assert!(ranks.svdvals().select(0, 1).item().unwrap() < 1e-12);
    assert!(ranks.det().item().unwrap().abs() < 1e-12);
}

/// torch.linalg.det(A).backward() of matrices with a pivot of exactly 0 gives the cofactors.
#[test]
fn the_gradient_of_a_determinant_of_zero_is_the_matrix_of_cofactors() {
    let x = Tensor::from([[1.0f64, 2.0], [1.0, 2.0]]).requires_grad_();
    let g = limpid_core::gradients(&x.det(), &[&x]).unwrap().remove(0).unwrap();
    let cofactors = Tensor::from([[2.0f64, -1.0], [-2.0, 1.0]]);
    assert!(far(&g, &cofactors) < 1e-12, "{:?}", floats(&g));
    assert_eq!(x.slogdet()[0].item().unwrap(), 0.0);
    assert_eq!(x.slogdet()[1].item().unwrap(), f64::NEG_INFINITY);
}

#[test]
fn a_signal_comes_back_from_its_frequencies() {
    let x = Tensor::from_vec((0..3 * 7).map(|i| ((i * 29 % 13) as f64) - 6.0).collect::<Vec<f64>>(), [3, 7]);
    for norm in [FftNorm::Backward, FftNorm::Ortho, FftNorm::Forward] {
        for (dim, n) in [(1, 7), (0, 3)] {
            assert!(far(&x.rfft(None, dim, norm).irfft(Some(n), dim, norm), &x) < 1e-12);
            let complex = x.to_complex();
            assert!(far(&complex.fft(None, dim, norm).ifft(None, dim, norm), &complex) < 1e-12);
        }
    }
    // A cosine of three turns has its energy at frequency 3.
    let wave = (Tensor::arange(0, 16, 1).to_dtype(DType::F64) * (6.0 * std::f64::consts::PI / 16.0)).cos();
    let found = floats(&wave.rfft(None, 0, FftNorm::Backward)).unwrap();
    assert!(found.iter().enumerate().all(|(i, v)| (v - if i == 6 { 8.0 } else { 0.0 }).abs() < 1e-12), "{found:?}");
}

#[test]
fn what_can_not_be_solved_is_named() {
    let zeros = |shape: &[usize]| Tensor::zeros_of(Shape::from(shape), DType::F64);
    let rows: [(&str, Tensor, &[&str]); 12] = [
        (
            "not definite",
            Tensor::from([[1.0f64, 2.0], [2.0, 1.0]]).cholesky(false),
            &["cholesky", "not positive definite"],
        ),
        ("not square", zeros(&[2, 3]).cholesky(true), &["linalg.cholesky", "[2, 3]", "square"]),
        ("singular", zeros(&[2, 2]).solve(&zeros(&[2])), &["linalg.solve", "singular"]),
        ("singular", Tensor::from([[1.0f64, 2.0], [2.0, 4.0]]).inv(), &["linalg.inv", "singular"]),
        ("sizes", zeros(&[2, 2]).solve(&zeros(&[3, 1])), &["linalg.solve", "[2, 2]", "[3, 1]"]),
        ("types", zeros(&[2, 2]).solve(&zeros(&[2, 1]).to_dtype(DType::F32)), &["f64", "f32"]),
        ("no matrix", zeros(&[2]).det(), &["linalg.det", "[2]"]),
        ("integers", Tensor::from([[1i64]]).inv(), &["linalg.inv", "i64"]),
        ("ord", zeros(&[2, 2]).matrix_norm(3.0, [-2, -1], false), &["matrix_norm", "ord 3"]),
        ("axes", zeros(&[2, 2]).matrix_norm(1.0, [0, 0], false), &["matrix_norm", "[0, 0]"]),
        ("pairs", zeros(&[2, 3]).irfft(None, -1, FftNorm::Backward), &["fft.irfft", "[2, 3]"]),
        ("short", zeros(&[3]).stft(4, &StftOptions::new().center(false)), &["stft", "4", "3"]),
    ];
    for (what, tensor, words) in rows {
        let error = tensor.to_vec::<f64>().unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{what}: {error}");
        assert!(error.contains("linalg.rs:"), "{what}: {error}");
    }
}
