//! Numbers at the end of the range: NaN, infinities and denormals go through kernels as in PyTorch, with every
//! instruction set, and sizes of 0 have results. Expected values are PyTorch's (2.x, CPU), or follow from the definition.

use limpid_core::{AvgPoolOptions, Isa, MaxPoolOptions, Result, Tensor, cpu, eval, set_isa};

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

/// Runs `check` with every instruction set of this machine.
fn everywhere(check: impl Fn() -> Result<()>) -> Result<()> {
    let own = cpu().isa;
    let done = Isa::available().into_iter().try_for_each(|isa| {
        set_isa(isa);
        check()
    });
    set_isa(own);
    done
}

/// Equal, NaN to NaN.
fn same(found: &Tensor, expected: &[f32]) -> Result<()> {
    let found = found.to_vec::<f32>()?;
    let equal = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs();
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(equal), "{found:?} for {expected:?}");
    Ok(())
}

#[test]
fn nan_and_infinities_go_through_kernels_as_in_torch() -> Result<()> {
    everywhere(|| {
        // Each at every place of a row, so that whole vectors and what is left of them meet it.
        for at in 0..37 {
            let mut row = vec![1.0f32; 37];
            row[at] = NAN;
            let x = Tensor::from_slice(&row, [1, 37]);
            same(&x.amax(-1), &[NAN])?;
            same(&x.amin(-1), &[NAN])?;
            same(&x.sum(-1), &[NAN])?;
            same(&x.softmax(-1), &[NAN; 37])?;
            same(&x.log_softmax(-1), &[NAN; 37])?;
            same(&x.relu(), &row)?;
            same(&x.matmul(&Tensor::ones([37, 2])), &[NAN, NAN])?;
            row[at] = -INF;
            let x = Tensor::from_slice(&row, [1, 37]);
            same(&x.amax(-1), &[1.0])?;
            same(&x.amin(-1), &[-INF])?;
            let expected: Vec<f32> = (0..37).map(|i| if i == at { 0.0 } else { 1.0 / 36.0 }).collect();
            same(&x.softmax(-1), &expected)?;
            row[at] = INF;
            same(&Tensor::from_slice(&row, [1, 37]).softmax(-1), &[NAN; 37])?;
        }
        same(&Tensor::from([-INF, -INF]).softmax(-1), &[NAN, NAN])?;
        same(&Tensor::from([INF, -INF]).sum(..), &[NAN])
    })
}

#[test]
fn pools_hand_on_nan_and_infinities() -> Result<()> {
    everywhere(|| {
        let x = Tensor::from([[[[1.0f32, NAN, 2.0, 3.0], [0.0, 1.0, -INF, 1.0]]]]);
        same(&x.max_pool2d([2, 2], &MaxPoolOptions::new()), &[NAN, 3.0])?;
        same(&x.avg_pool2d([2, 2], &AvgPoolOptions::new()), &[NAN, -INF])?;
        let low = Tensor::full([1, 1, 2, 2], f64::NEG_INFINITY);
        same(&low.max_pool2d([2, 2], &MaxPoolOptions::new()), &[-INF])
    })
}

#[test]
fn denormals_are_numbers() -> Result<()> {
    // 2⁻¹⁴⁰ and sums of it are exact; a kernel that flushes them to 0 gives 0.
    let tiny = f32::from_bits(1 << 9);
    everywhere(|| {
        let x = Tensor::full([4, 67], f64::from(tiny));
        x.eval()?;
        same(&(&x + &x), &[2.0 * tiny; 4 * 67])?;
        same(&x.sum(-1), &[67.0 * tiny; 4])?;
        same(&x.amax(-1), &[tiny; 4])?;
        same(&x.matmul(&Tensor::ones([67, 3])), &[67.0 * tiny; 12])?;
        same(&x.softmax(-1), &[1.0 / 67.0; 4 * 67])?;
        same(&(&x * 1e30 * 1e8), &[tiny * 1e30 * 1e8; 4 * 67])
    })
}

#[test]
fn sizes_of_0_have_results() -> Result<()> {
    everywhere(|| {
        let (none, no_rows) = (Tensor::zeros([3, 0]), Tensor::zeros([0, 3]));
        same(&none.sum(-1), &[0.0; 3])?;
        same(&none.matmul(&no_rows), &[0.0; 9])?;
        same(&no_rows.matmul(&none), &[])?;
        same(&none.softmax(-1), &[])?;
        same(&none.mean(-1), &[NAN; 3])?;
        same(&no_rows.layer_norm([3], None, None, 1e-5), &[])?;
        let pictures = Tensor::zeros([0, 2, 5, 5]);
        let w = Tensor::zeros([4, 2, 3, 3]);
        let y = pictures.conv2d(&w, None, &Default::default());
        assert_eq!(y.shape()[..], [0, 4, 3, 3]);
        eval([&y, &pictures.max_pool2d([2, 2], &MaxPoolOptions::new())])
    })
}
