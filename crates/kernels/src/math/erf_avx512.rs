//! erf of f32 with AVX-512: tables of sixteen numbers stand in one register each, and a permutation looks all lanes up.
//!
//! 0 ≤ t < 4 is cut into pieces of a quarter, and piece i has a polynomial around a centre cᵢ:
//! erf t = erf cᵢ + r Q(r), r = t − cᵢ. The centres are such that erf cᵢ is nearly an f32 (Gal, "Computing elementary
//! functions: a new approach for achieving high accuracy and good performance", 1985), so that only the last addition
//! rounds. The first piece has its centre at 0 and adds to t itself: erf t = t + t Q(t); the last one has its
//! centre at 4, and Q is what is missing to 1.

use std::arch::x86_64::*;

const CENTRES: [f32; 16] = [
    0.0, 0.3750445, 0.6249168, 0.87506956, 1.124919, 1.3751392, 1.6248713, 1.8750187, 2.124837, 2.3746362, 2.6247215,
    2.8747683, 3.1250365, 3.3754768, 3.6245232, 4.0,
];
/// erf of the centres.
const VALUES: [f32; 16] = [
    0.0, 0.40416053, 0.62317735, 0.78411156, 0.88836247, 0.9481938, 0.9784334, 0.9919907, 0.99734396, 0.9992156,
    0.9997943, 0.9999521, 0.9999901, 0.9999982, 0.9999997, 1.0,
];
/// Coefficients of Q for each piece, that of the highest power last: Chebyshev fits.
const Q: [[f32; 16]; 6] = [
    [
        0.12837918,
        0.9803201,
        0.76357895,
        0.52468115,
        0.31833193,
        0.17029455,
        0.08050594,
        0.033543475,
        0.012349376,
        0.004013407,
        0.0011495544,
        2.9061525e-04,
        6.474392e-05,
        1.27107605e-05,
        2.2235936e-06,
        8.137594e-07,
    ],
    [
        -1.3313601e-06,
        -0.36766365,
        -0.4771733,
        -0.45913252,
        -0.35809764,
        -0.23417872,
        -0.13081178,
        -0.06289464,
        -0.02624041,
        -0.009530382,
        -0.0030172602,
        -8.3545153e-04,
        -2.0232714e-04,
        -4.29049e-05,
        -8.059468e-06,
        1.1807872e-05,
    ],
    [
        -0.37607822,
        -0.23484604,
        -0.05573184,
        0.092953175,
        0.16244239,
        0.15792084,
        0.114866786,
        0.06743838,
        0.033054776,
        0.013749647,
        0.0048963986,
        0.0015042329,
        3.99914e-04,
        9.2303315e-05,
        1.8730376e-05,
        1.1518585e-04,
    ],
    [
        -7.3928107e-04,
        0.16659178,
        0.17647015,
        0.11237356,
        0.027998973,
        -0.030521277,
        -0.049717333,
        -0.042259034,
        -0.026371205,
        -0.013148517,
        -0.0054201894,
        -0.0018837352,
        -5.57451e-04,
        -1.4148586e-04,
        -3.1261225e-05,
        5.710751e-04,
    ],
    [
        0.11831735,
        0.04535546,
        -0.02712227,
        -0.066858016,
        -0.061143637,
        -0.03061478,
        -0.0022664068,
        0.011366901,
        0.012460637,
        0.008366466,
        0.0042348853,
        0.0017251716,
        5.820744e-04,
        1.6535394e-04,
        4.032537e-05,
        0.0014981546,
    ],
    [
        -0.019467393,
        -0.04984408,
        -0.041189577,
        -0.010409398,
        0.015395175,
        0.022061309,
        0.014401915,
        0.004138462,
        -0.0017887352,
        -0.003100174,
        -0.00224618,
        -0.0011433616,
        -4.5491155e-04,
        -1.4764728e-04,
        -4.001663e-05,
        0.0015725584,
    ],
];
/// From here on the result is 1.
const LAST: f32 = 3.929_687_5;

/// y\[i\] = erf x\[i\]; the lengths are equal.
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) fn erf(x: &[f32], y: &mut [f32]) {
    let load = |table: &[f32; 16]| {
        // SAFETY: sixteen elements.
        unsafe { _mm512_loadu_ps(table.as_ptr()) }
    };
    let tables = Tables { centres: load(&CENTRES), values: load(&VALUES), q: Q.each_ref().map(load) };
    let (xs, x_rest) = x.as_chunks::<16>();
    let (ys, y_rest) = y.as_chunks_mut::<16>();
    for (x, y) in xs.iter().zip(ys) {
        // SAFETY: sixteen elements each.
        unsafe { _mm512_storeu_ps(y.as_mut_ptr(), of(_mm512_loadu_ps(x.as_ptr()), &tables)) };
    }
    let mask = (1u16 << x_rest.len()) - 1;
    // SAFETY: as many elements as the mask has bits, and both rests are of one length.
    unsafe {
        let x = _mm512_maskz_loadu_ps(mask, x_rest.as_ptr());
        _mm512_mask_storeu_ps(y_rest.as_mut_ptr(), mask, of(x, &tables));
    }
}

struct Tables {
    centres: __m512,
    values: __m512,
    q: [__m512; 6],
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn of(x: __m512, tables: &Tables) -> __m512 {
    let t = _mm512_abs_ps(x);
    // The second operand is taken where one is NaN.
    let t = _mm512_min_ps(_mm512_set1_ps(LAST), t);
    // The permutation looks at the lowest four bits; those of a NaN say 0, and the piece there keeps it.
    let piece = _mm512_cvttps_epi32(_mm512_mul_ps(t, _mm512_set1_ps(4.0)));
    let look_up = |table: __m512| _mm512_permutexvar_ps(piece, table);
    let r = _mm512_sub_ps(t, look_up(tables.centres));
    let [rest @ .., last] = tables.q;
    let q = rest.into_iter().rev().fold(look_up(last), |q, c| _mm512_fmadd_ps(q, r, look_up(c)));
    let first = _mm512_testn_epi32_mask(piece, _mm512_set1_epi32(15));
    let base = _mm512_mask_blend_ps(first, look_up(tables.values), t);
    let y = _mm512_fmadd_ps(r, q, base);
    // The sign of x.
    _mm512_or_ps(y, _mm512_and_ps(x, _mm512_set1_ps(-0.0)))
}
