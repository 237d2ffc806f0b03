//! Functions of elements, reductions, products, decompositions, transforms.

use limpid::prelude::*;
use limpid::{AttentionOptions, FftNorm, MatrixNorm, StftOptions};

use super::{Call, Dice};

macro_rules! of_one {
    ($($name:ident)*) => { &[$((stringify!($name), |d: &mut Dice| vec![d.x().$name()]),)*] };
}

pub const OF_ONE: &[Call] = of_one! {
    neg abs sign square reciprocal rsqrt exp exp2 expm1 log log1p log2 log10 sqrt sin cos tan tanh erf sigmoid floor
    ceil trunc round isnan isinf isfinite acos acosh asin asinh atan atanh cosh digamma entr erfc erfcx erfinv i0 i0e
    i1 i1e lgamma relu softplus gelu gelu_tanh silu mish selu relu6 hardsigmoid hardswish tanhshrink softsign
    log_sigmoid signbit frac sgn logical_not zeros_like ones_like rand_like randn_like to_float detach trace t msort
    median_all nanmedian_all nonzero unique atleast_1d atleast_2d atleast_3d matrix_exp inv det svdvals to_complex
    requires_grad_
};

/// Two tensors whose shapes broadcast, usually.
fn pair(d: &mut Dice) -> (Tensor, Tensor) {
    let (a, b) = d.pick(&[(&[2usize, 3][..], &[2usize, 3][..]), (&[2, 3], &[3]), (&[2, 1], &[1, 3]), (&[], &[2])]);
    (d.f(a), d.f(b))
}

macro_rules! of_two {
    ($($name:ident)*) => { &[$((stringify!($name), |d: &mut Dice| {
        let (a, b) = pair(d);
        vec![a.$name(&b), a.$name(d.real(2.0)), b.$name(d.int(3))]
    }),)*] };
}

pub const OF_TWO: &[Call] = of_two! {
    eq ne lt le gt ge pow maximum minimum floor_divide trunc_divide fmod bitwise_left_shift bitwise_right_shift atan2
    hypot logaddexp logaddexp2 xlogy xlog1py fmax fmin copysign float_power heaviside
};

pub const NUMBERS: &[Call] = &[
    ("operators", |d| {
        let (a, b) = pair(d);
        vec![&a + &b, &a - &b, &a * &b, &a / &b, &a % &b, a * d.real(3.0), d.real(1.0) / &b, &b % d.int(3)]
    }),
    ("bits", |d| {
        let (a, b) = (d.i(&[2, 3], 9), d.i(&[3], 9));
        vec![&a & &b, &a | &b, &a ^ &b, &a << &b, &a >> &b, !&a]
    }),
    ("logical", |d| {
        let (a, b) = pair(d);
        vec![a.logical_and(&b), a.logical_or(&b), a.logical_xor(&b)]
    }),
    ("add_with", |d| {
        let (a, b) = pair(d);
        vec![a.add_with(&b, d.real(2.0)), a.sub_with(&b, d.int(2)), a.rsub(&b, d.real(2.0))]
    }),
    ("addcmul", |d| {
        let ((a, b), c) = (pair(d), d.f(&[2, 3]));
        vec![a.addcmul(&b, &c, d.real(1.0)), a.addcdiv(&b, &c, d.real(1.0)), a.lerp(&b, &c), a.lerp(&b, d.real(0.5))]
    }),
    ("where_", |d| {
        let (a, b) = pair(d);
        vec![a.where_(&d.mask(&[2, 3]), &b), a.masked_fill(&d.mask(&[3]), d.real(0.0))]
    }),
    ("clamp", |d| {
        let (a, b) = pair(d);
        vec![a.clamp(d.real(0.0), d.real(1.0)), a.clamp(&b, d.int(1)), a.clamp_min(&b), a.clamp_max(d.real(1.0))]
    }),
    ("isclose", |d| {
        let (a, b) = pair(d);
        vec![a.isclose(&b, d.real(1e-5), d.real(1e-8), d.flag()), a.isin(&b, d.flag())]
    }),
    ("nan_to_num", |d| vec![d.x().nan_to_num(d.real(0.0), d.maybe(|d| d.real(1.0)), d.maybe(|d| d.real(-1.0)))]),
    ("round_decimals", |d| vec![d.x().round_decimals(d.int(2) as i32)]),
    ("polygamma", |d| vec![d.x().polygamma(d.few(2) as u32), d.x().polygamma(d.pick(&[5, 40, 300, u32::MAX]))]),
    ("mvlgamma", |d| vec![(d.x() + 3.0).mvlgamma(d.few(2) as u32)]),
    ("logit", |d| vec![d.x().logit(d.maybe(|d| d.real(1e-6)))]),
    ("leaky_relu", |d| vec![d.x().leaky_relu(d.real(0.1)), d.x().elu(d.real(1.0)), d.x().celu(d.real(1.0))]),
    ("prelu", |d| vec![d.f(&[2, 3, 2]).prelu(&d.f(&[3]))]),
    ("rrelu", |d| vec![d.x().rrelu(d.real(0.1), d.real(0.3))]),
    ("hardtanh", |d| vec![d.x().hardtanh(d.real(-1.0), d.real(1.0)), d.x().threshold(d.real(0.0), d.real(1.0))]),
    ("shrinks", |d| vec![d.x().hardshrink(d.real(0.5)), d.x().softshrink(d.real(0.5))]),
    ("softplus_with", |d| vec![d.x().softplus_with(d.real(1.0), d.real(20.0))]),
    ("glu", |d| vec![d.f(&[2, 4]).glu(d.axis(2))]),
    ("softmax", |d| {
        let x = d.x();
        let dim = d.axis(x.rank());
        vec![x.softmax(dim), x.log_softmax(dim), x.softmin(dim)]
    }),
    ("gumbel_softmax", |d| vec![d.f(&[2, 3]).gumbel_softmax(d.real(1.0), d.flag(), d.axis(2))]),
    ("dropouts", |d| {
        let x = d.x();
        vec![x.dropout(d.real(0.5)), x.alpha_dropout(d.real(0.5)), x.feature_alpha_dropout(d.real(0.5))]
    }),
    ("dropout_channels", |d| {
        vec![
            d.f(&[2, 3, 4]).dropout1d(d.real(0.5)),
            d.f(&[2, 3, 4, 2]).dropout2d(d.real(0.5)),
            d.f(&[2, 3, 4, 2, 1]).dropout3d(d.real(0.5)),
        ]
    }),
    ("check", |d| vec![d.x().check(&d.mask(&[]), "it"), d.x().check_within(d.real(-9.0), d.real(9.0), "it")]),
    ("check_finite", |d| vec![d.x().check_finite("it")]),
    ("to_dtype", |d| vec![d.x().to_dtype(d.dtype()), d.x().view_dtype(d.dtype())]),
    ("creation", |d| {
        vec![
            Tensor::full(d.list(&[2, 3]), d.real(1.0)),
            Tensor::full_of(d.list(&[2, 3]), d.real(1.0), d.dtype()),
            Tensor::zeros(d.list(&[2])),
            Tensor::rand(d.list(&[2])),
            Tensor::randn(d.list(&[2])),
        ]
    }),
    ("randint", |d| vec![Tensor::randint(d.int(0), d.int(9), d.list(&[3]))]),
    ("randperm", |d| vec![Tensor::randperm(d.n(5))]),
    ("arange", |d| vec![Tensor::arange(d.int(0), d.int(9), d.int(2))]),
    ("linspace", |d| vec![Tensor::linspace(d.real(0.0), d.real(1.0), d.n(5))]),
    ("eye", |d| vec![Tensor::eye(d.n(3))]),
    ("from_vec", |d| {
        vec![Tensor::from_vec(vec![1.0f32; 6], d.list(&[2, 3])), Tensor::from_bools(&[true; 6], d.list(&[2, 3]))]
    }),
    ("from_bytes", |d| vec![Tensor::from_bytes(&[1; 24], d.list(&[2, 3]), d.dtype())]),
    ("one_hot", |d| vec![d.i(&[2, 2], 3).one_hot(d.maybe(|d| d.n(3)))]),
];

macro_rules! reductions {
    ($($name:ident $keep:ident)*) => { &[$((stringify!($name), |d: &mut Dice| {
        let x = d.x();
        let axes = d.axes(x.rank());
        vec![x.$name(..), x.$name(&axes[..]), x.$keep(&axes[..]), x.$name(d.axis(x.rank()))]
    }),)*
    ("var", |d| {
        let x = d.x();
        let axes = d.axes(x.rank());
        let (a, b) = x.var_mean(&axes[..], d.real(1.0));
        vec![x.var(&axes[..], d.real(1.0)), x.std_keepdim(&axes[..], d.real(0.0)), x.std(.., d.real(1.0)), a, b]
    }),
    ("along_one", |d| {
        let x = d.x();
        let dim = d.axis(x.rank());
        let pairs = [x.max(dim), x.min(dim), x.cummax(dim), x.cummin(dim), x.median(dim), x.nanmedian(dim), x.mode(dim)];
        pairs.into_iter().flat_map(|(a, b)| [a, b]).chain([x.cumsum(dim), x.cumprod(dim), x.logcumsumexp(dim)]).collect()
    }),
    ("aminmax", |d| {
        let x = d.x();
        let (a, b) = x.aminmax(d.axis(x.rank()));
        vec![a, b]
    }),
    ("kthvalue", |d| {
        let x = d.f(&[3, 4]);
        let (a, b) = x.kthvalue(d.n(2), d.axis(2));
        vec![a, b]
    }),
    ("topk", |d| {
        let x = d.f(&[3, 4]);
        let (a, b) = x.topk_with(d.n(2), d.axis(2), d.flag());
        vec![a, b]
    }),
    ("sort", |d| {
        let x = d.x();
        let (a, b) = x.sort(d.axis(x.rank()), d.flag());
        vec![a, b, x.argsort(d.axis(x.rank()), d.flag())]
    }),
    ("quantile", |d| {
        let x = d.f(&[3, 4]);
        let how = d.pick(&["linear", "lower", "higher", "midpoint", "nearest", "", "best"]);
        vec![
            x.quantile(d.real(0.5), d.axis(2), how),
            x.quantile(&d.part(&[2]), d.axis(2), how),
            x.nanquantile_keepdim(d.real(0.5), .., how),
        ]
    }),
    ("histc", |d| vec![d.x().histc(d.n(4), d.real(0.0), d.real(1.0))]),
    ("statistics", |d| vec![d.x().statistics(d.n(4))]),
    ("renorm", |d| vec![d.f(&[2, 3]).renorm(d.real(2.0), d.axis(2), d.real(1.0))]),
    ("diff", |d| {
        let (before, after) = (d.maybe(|d| d.f(&[2, 1])), d.maybe(|d| d.f(&[2, 2])));
        vec![d.f(&[2, 4]).diff(d.n(1), d.axis(2), before.as_ref(), after.as_ref())]
    }),
    ("trapezoid", |d| {
        let (x, at) = (d.f(&[2, 4]), d.f(&[4]));
        vec![x.trapezoid(&at, d.axis(2)), x.cumulative_trapezoid(d.real(1.0), d.axis(2))]
    }),
    ("vector_norm", |d| {
        let x = d.x();
        vec![x.vector_norm(d.real(3.0), d.axis(x.rank())), x.vector_norm_keepdim(d.real(0.0), ..)]
    }),
    ("normalize", |d| vec![d.x().normalize(d.real(2.0), d.axis(2), d.real(1e-12))]),
    ("searchsorted", |d| {
        let (x, sorter) = (d.f(&[4]), d.maybe(|d| d.i(&[4], 4)));
        vec![x.searchsorted(&d.f(&[3]), d.flag(), sorter.as_ref()), d.x().bucketize(&d.f(&[3]), d.flag())]
    }),
    ("unique_with", |d| {
        let x = d.f(&[3, 2]);
        let (a, b) = (x.unique_with(d.maybe(|d| d.axis(2))), x.unique_consecutive(d.maybe(|d| d.axis(2))));
        vec![a.values, a.inverse, a.counts, b.values, b.inverse, b.counts]
    }),
    ] };
}

pub const REDUCTIONS: &[Call] = reductions! {
    sum sum_keepdim prod prod_keepdim mean mean_keepdim amax amax_keepdim amin amin_keepdim any any_keepdim
    all all_keepdim argmax argmax_keepdim argmin argmin_keepdim logsumexp logsumexp_keepdim nansum nansum_keepdim
    nanmean nanmean_keepdim norm norm_keepdim
};

pub const PRODUCTS: &[Call] = &[
    ("matmul", |d| {
        let (a, b) = d.pick(&[(&[2usize, 3][..], &[3usize, 2][..]), (&[3], &[3]), (&[2, 1, 3], &[2, 3, 2])]);
        vec![d.f(a).matmul(&d.f(b))]
    }),
    ("linear", |d| {
        let bias = d.maybe(|d| d.f(&[4]));
        vec![d.f(&[2, 3]).linear(&d.f(&[4, 3]), bias.as_ref())]
    }),
    ("bilinear", |d| {
        let bias = d.maybe(|d| d.f(&[4]));
        vec![d.f(&[2, 3]).bilinear(&d.f(&[2, 2]), &d.f(&[4, 3, 2]), bias.as_ref())]
    }),
    ("addmm", |d| vec![d.f(&[2, 2]).addmm(&d.f(&[2, 3]), &d.f(&[3, 2]), d.real(1.0), d.real(1.0))]),
    ("addmv", |d| vec![d.f(&[2]).addmv(&d.f(&[2, 3]), &d.f(&[3]), d.real(1.0), d.real(1.0))]),
    ("addr", |d| vec![d.f(&[2, 3]).addr(&d.f(&[2]), &d.f(&[3]), d.real(1.0), d.real(1.0))]),
    ("baddbmm", |d| vec![d.f(&[2, 2, 2]).baddbmm(&d.f(&[2, 2, 3]), &d.f(&[2, 3, 2]), d.real(1.0), d.real(1.0))]),
    ("addbmm", |d| vec![d.f(&[2, 2]).addbmm(&d.f(&[2, 2, 3]), &d.f(&[2, 3, 2]), d.real(1.0), d.real(1.0))]),
    ("outer", |d| vec![d.f(&[2]).outer(&d.f(&[3])), d.f(&[2, 3]).inner(&d.f(&[2, 3]))]),
    ("kron", |d| vec![d.f(&[2, 2]).kron(&d.f(&[1, 3]))]),
    ("cross", |d| vec![d.f(&[2, 3]).cross(&d.f(&[2, 3]), d.axis(2)), d.f(&[2, 3]).cross_first(&d.f(&[2, 3]))]),
    ("tensordot", |d| {
        let (a, b) = (d.f(&[2, 3]), d.f(&[3, 2]));
        let (of_a, of_b) = (d.ints(&[1]), d.ints(&[0]));
        vec![a.tensordot(&b, d.n(1)), a.tensordot(&b, (&of_a[..], &of_b[..]))]
    }),
    ("einsum", |d| {
        let equation = d.pick(&[
            "ij,jk->ik",
            "ij,jk",
            "ii",
            "...i,i->...",
            "",
            "->",
            "ij->ijk",
            "i j , j k -> k i",
            "ij,jk->ii",
            "é,j",
            ",",
            "ij,jk->",
            "i...j,j",
            "a->aa",
            "ij,,->",
            "...",
            "ij,jk->ik->",
            "i,",
        ]);
        let tensors = [d.f(&[2, 2]), d.f(&[2, 2]), d.x()];
        let count = d.few(2).min(3);
        vec![Tensor::einsum(equation, &tensors.iter().take(count).collect::<Vec<_>>())]
    }),
    ("dist", |d| vec![d.f(&[2, 3]).dist(&d.f(&[2, 3]), d.real(2.0))]),
    ("cdist", |d| vec![d.f(&[2, 3]).cdist(&d.f(&[4, 3]), d.real(2.0))]),
    ("pdist", |d| vec![d.f(&[4, 3]).pdist(d.real(2.0))]),
    ("cholesky", |d| {
        let x = d.f(&[3, 3]);
        vec![(x.matmul(&x.t()) + Tensor::eye(3)).cholesky(d.flag()), x.cholesky(d.flag())]
    }),
    ("solve_triangular", |d| vec![d.f(&[3, 3]).solve_triangular(&d.f(&[3, 2]), d.flag(), d.flag(), d.flag())]),
    ("lu", |d| d.f(&[3, 3]).lu().to_vec()),
    ("qr", |d| d.f(&[3, 2]).qr(d.flag()).to_vec()),
    ("svd", |d| d.f(&[3, 2]).svd().to_vec()),
    ("solve", |d| vec![d.f(&[3, 3]).solve(&d.f(&[3, 2])), d.f(&[3, 3]).solve_right(&d.f(&[2, 3]))]),
    ("slogdet", |d| d.f(&[3, 3]).slogdet().to_vec()),
    ("matrix_norm", |d| {
        let ord = d.real(2.0);
        let ord = d.pick(&[MatrixNorm::Fro, MatrixNorm::Nuc, MatrixNorm::Ord(ord)]);
        let (x, dims) = (d.f(&[2, 3, 2]), [d.axis(3), d.axis(3)]);
        let axes = d.axes(3);
        vec![
            x.matrix_norm(ord, dims, d.flag()),
            x.linalg_norm(Some(ord), Some(&axes), d.flag()),
            x.linalg_norm(None, None, d.flag()),
        ]
    }),
    ("fft", |d| {
        let norm = d.pick(&[FftNorm::Backward, FftNorm::Ortho, FftNorm::Forward]);
        let (x, n) = (d.f(&[3, 4, 2]), d.maybe(|d| d.n(4)));
        vec![x.fft(n, d.axis(2), norm), x.ifft(n, d.axis(2), norm), x.irfft(n, d.axis(2), norm)]
    }),
    ("rfft", |d| vec![d.f(&[3, 4]).rfft(d.maybe(|d| d.n(4)), d.axis(2), FftNorm::Backward)]),
    ("stft", |d| {
        let mode = d.pick(&[PadMode::Reflect, PadMode::Replicate, PadMode::Constant(0.0), PadMode::Circular]);
        let mut o = StftOptions::new().center(d.flag()).normalized(d.flag()).onesided(d.flag()).pad_mode(mode);
        if d.flag() {
            o = o.hop_length(d.n(2)).win_length(d.n(4));
        }
        if d.flag() {
            o = o.window(&d.f(&[4]));
        }
        vec![d.f(&[2, 16]).stft(d.n(4), &o)]
    }),
    ("attention", |d| {
        let mut o = AttentionOptions::new().dropout_p(d.real(0.0)).is_causal(d.flag()).enable_gqa(d.flag());
        if d.flag() {
            o = o.attn_mask(&if d.flag() { d.mask(&[3, 4]) } else { d.f(&[3, 4]) });
        }
        if d.flag() {
            o = o.scale(d.real(1.0));
        }
        if d.flag() {
            o = o.length(&d.i(&[], 5));
        }
        let (q, k, v) = (d.f(&[2, 2, 3, 4]), d.f(&[2, 2, 4, 4]), d.f(&[2, 2, 4, 5]));
        vec![q.scaled_dot_product_attention(&k, &v, &o), q.attention_weights(&k, &o)]
    }),
];
