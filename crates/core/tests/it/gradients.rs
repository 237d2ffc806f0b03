//! Gradients, and gradients of gradients, against finite differences in f64; compounds against their bodies.

use limpid_core::{
    AttentionOptions, AvgPoolOptions, BagMode, Cell, ConvAxis, DType, EmbeddingBagOptions, EmbeddingOptions, GridMode,
    GridOptions, GridPadding, InterpolateMode, InterpolateOptions, MaxPoolOptions, NormOptions, PadMode, Result, Shape,
    Tensor, eval, gradients, testing,
};

use crate::support::{Dice, FLOATS, agree, close, floats, random, seed};

const EPSILON: f64 = 1e-6;

/// A function of tensors, of whose results the floats count.
pub type Function<'a> = dyn Fn(&[Tensor]) -> Vec<Tensor> + 'a;

/// Numbers for one input.
#[derive(Clone, Debug)]
pub struct Point {
    pub shape: Shape,
    pub values: Vec<f64>,
}

impl Point {
    /// Different numbers from −2 to 2 (or 0.2 to 3), none of them near a whole or half one or near another.
    pub fn new(dice: &mut Dice, shape: &[usize], positive: bool) -> Point {
        let shape = Shape::from(shape);
        let n = shape.elements();
        let mut values: Vec<f64> = (0..n).map(|i| (i as f64 + 0.5) / n as f64 * 4.0 - 2.0).collect();
        for i in (1..n).rev() {
            values.swap(i, dice.below(i + 1));
        }
        for v in &mut values {
            if (*v * 2.0 - (*v * 2.0).round()).abs() < 0.02 {
                *v += 0.013;
            }
            if positive {
                *v = 0.2 + (*v + 2.0) * 0.7;
            }
        }
        Point { shape, values }
    }

    fn tensor(&self) -> Tensor {
        Tensor::from_slice(&self.values, &self.shape).requires_grad_()
    }
}

/// Weights that no symmetry cancels.
fn weight(shape: &Shape, salt: usize) -> Tensor {
    let n = shape.elements();
    Tensor::from_vec((0..n).map(|i| ((i * 7 + salt * 3) % 11) as f64 * 0.17 - 0.6).collect(), shape)
}

/// Σ result·weight over the float results.
fn weighted(results: &[Tensor]) -> Tensor {
    let terms = results.iter().enumerate().filter(|(_, t)| t.dtype().is_float());
    let sums = terms.map(|(i, t)| (t.to_dtype(DType::F64) * weight(t.shape(), i)).sum(..));
    sums.reduce(|a, b| a + b).expect("a result is a float")
}

/// The gradients of the weighted sum, zeros where there is none.
fn slopes(f: &Function<'_>, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let loss = weighted(&f(inputs));
    let found = gradients(&loss, &inputs.iter().collect::<Vec<_>>())?;
    Ok(found.into_iter().zip(inputs).map(|(g, x)| g.unwrap_or_else(|| x.zeros_like())).collect())
}

fn differences(value: &dyn Fn(&[Tensor]) -> Result<f64>, points: &[Point]) -> Result<Vec<Vec<f64>>> {
    let mut all = Vec::new();
    for i in 0..points.len() {
        let mut own = Vec::new();
        for k in 0..points[i].values.len() {
            let at = |shift: f64| {
                let mut moved = points.to_vec();
                moved[i].values[k] += shift;
                value(&moved.iter().map(Point::tensor).collect::<Vec<_>>())
            };
            own.push((at(EPSILON)? - at(-EPSILON)?) / (2.0 * EPSILON));
        }
        all.push(own);
    }
    Ok(all)
}

fn hold(what: &str, slopes: &[Tensor], numeric: &[Vec<f64>]) -> std::result::Result<(), String> {
    for (i, (slope, numeric)) in slopes.iter().zip(numeric).enumerate() {
        for (k, (a, n)) in floats(slope)?.iter().zip(numeric).enumerate() {
            if (a - n).abs() > 1e-5 + 1e-3 * n.abs() || a.is_nan() {
                return Err(format!("{what} by input {i}, element {k}: {a}, by differences {n}"));
            }
        }
    }
    Ok(())
}

/// First gradients, and with `second` those of their weighted sum, against differences; and the plan of both
/// against the interpreter.
pub fn check(f: &Function<'_>, points: &[Point], second: bool) -> std::result::Result<(), String> {
    let say = |e: limpid_core::Error| e.to_string();
    let inputs: Vec<Tensor> = points.iter().map(Point::tensor).collect();
    let first = slopes(f, &inputs).map_err(say)?;
    agree(&first.iter().collect::<Vec<_>>(), 1.0).map_err(|why| format!("gradient: {why}"))?;
    let value = |xs: &[Tensor]| weighted(&f(xs)).item();
    hold("gradient", &first, &differences(&value, points).map_err(say)?)?;
    if !second {
        return Ok(());
    }
    let inputs: Vec<Tensor> = points.iter().map(Point::tensor).collect();
    let twice = slopes(&|xs| slopes(f, xs).unwrap_or_else(|e| vec![Tensor::failed(e)]), &inputs).map_err(say)?;
    agree(&twice.iter().collect::<Vec<_>>(), 1.0).map_err(|why| format!("second gradient: {why}"))?;
    let value = |xs: &[Tensor]| weighted(&slopes(f, xs)?).item();
    hold("second gradient", &twice, &differences(&value, points).map_err(say)?)
}

type One = fn(&Tensor) -> Vec<Tensor>;
type Two = fn(&Tensor, &Tensor) -> Vec<Tensor>;

/// Functions of one tensor [4, 3]: name, whether it needs positive values, function.
const ONE: &[(&str, bool, One)] = &[
    ("neg", false, |x| vec![-x]),
    ("abs", false, |x| vec![x.abs()]),
    ("sign", false, |x| vec![x.sign() * x]),
    ("square", false, |x| vec![x.square()]),
    ("reciprocal", true, |x| vec![x.reciprocal()]),
    ("rsqrt", true, |x| vec![x.rsqrt()]),
    ("exp", false, |x| vec![x.exp()]),
    ("exp2", false, |x| vec![x.exp2()]),
    ("expm1", false, |x| vec![x.expm1()]),
    ("log", true, |x| vec![x.log()]),
    ("log2", true, |x| vec![x.log2()]),
    ("log10", true, |x| vec![x.log10()]),
    ("log1p", true, |x| vec![x.log1p()]),
    ("sqrt", true, |x| vec![x.sqrt()]),
    ("sin", false, |x| vec![x.sin()]),
    ("cos", false, |x| vec![x.cos()]),
    ("tan", false, |x| vec![(x * 0.5).tan()]),
    ("tanh", false, |x| vec![x.tanh()]),
    ("erf", false, |x| vec![x.erf()]),
    ("gelu", false, |x| vec![x.gelu()]),
    ("erfc", false, |x| vec![x.erfc()]),
    ("sigmoid", false, |x| vec![x.sigmoid()]),
    ("log_sigmoid", false, |x| vec![x.log_sigmoid()]),
    ("softplus", false, |x| vec![x.softplus()]),
    ("gelu", false, |x| vec![x.gelu()]),
    ("gelu_tanh", false, |x| vec![x.gelu_tanh()]),
    ("silu", false, |x| vec![x.silu()]),
    ("relu", false, |x| vec![x.relu()]),
    ("leaky_relu", false, |x| vec![x.leaky_relu(0.1)]),
    ("elu celu selu", false, |x| vec![x.elu(0.7), x.celu(0.4), x.celu(-2.0), x.selu()]),
    ("mish", false, |x| vec![x.mish()]),
    ("hardtanh relu6", false, |x| vec![x.hardtanh(-0.77, 0.81) * x, x.relu6() * x]),
    ("hardsigmoid hardswish", false, |x| vec![(x * 3.1).hardsigmoid().square(), (x * 3.1).hardswish()]),
    ("hardshrink softshrink", false, |x| vec![x.hardshrink(0.52).square(), x.softshrink(0.52).square()]),
    ("threshold", false, |x| vec![x.threshold(0.21, -3.0).square()]),
    ("tanhshrink softsign", false, |x| vec![x.tanhshrink(), x.softsign()]),
    ("glu softmin", false, |x| vec![Tensor::cat(&[x, &x.square()], 0).glu(0), x.softmin(1)]),
    ("prelu", false, |x| vec![x.prelu(&x.sum(0)), x.prelu(&x.sum(..))]),
    ("floor ceil trunc round", false, |x| vec![x.floor() * x, x.ceil() * x, x.trunc() * x, x.round() * x]),
    ("clamp", false, |x| vec![x.clamp(-0.77, 1.21)]),
    ("acos asin atanh", false, |x| {
        let y = x * 0.45;
        vec![y.acos(), y.asin(), y.atanh()]
    }),
    ("atan asinh sinh cosh", false, |x| vec![x.atan(), x.asinh(), x.sinh(), x.cosh()]),
    ("acosh", true, |x| vec![(x + 1.0).acosh()]),
    ("lgamma digamma polygamma", false, |x| vec![x.lgamma(), x.digamma() * 0.01, x.polygamma(1) * 1e-4]),
    ("polygamma mvlgamma", true, |x| vec![x.polygamma(2) * 1e-2, (x + 1.0).mvlgamma(2)]),
    ("erfc erfcx erfinv", false, |x| vec![x.erfc(), x.erfcx(), (x * 0.4).erfinv()]),
    ("ndtr log_ndtr ndtri", false, |x| vec![x.ndtr(), x.log_ndtr(), (x * 0.2 + 0.5).ndtri()]),
    ("Bessel functions", false, |x| vec![x.i0(), x.i0e(), x.i1(), x.i1e()]),
    ("entr logit sinc", true, |x| vec![x.entr(), (x * 0.3).logit(None), x.sinc(), (x * 0.3).logit(Some(0.1))]),
    ("diagonal diag_embed", false, |x| {
        vec![x.diagonal(1, 0, 1).square(), x.diag_embed(-1, 0, 2).sin(), x.trace().square()]
    }),
    ("index", false, |x| {
        vec![x.index((.., 1)).square(), x.index(([0, 3, 0], [1, 1, 2])).square(), x.index(x.gt(0.3)).exp()]
    }),
    ("index_put", false, |x| {
        vec![
            x.index_put(([0, 1], [2, 2]), x.select(0, 3).narrow(0, 0, 2).exp(), false).square(),
            x.index_put(([1, 1], [2, 2]), x.select(0, 3).narrow(0, 0, 2).exp(), true).square(),
        ]
    }),
    ("repeat_interleave rot90", false, |x| {
        vec![x.repeat_interleave(2, Some(1)).square(), x.rot90(1, [0, 1]).square() * x.t()]
    }),
    ("median mode kthvalue", false, |x| {
        vec![x.median(0).0.square(), x.kthvalue(2, 1).0.square(), x.median_all().square(), x.mode(1).0]
    }),
    ("quantile", false, |x| vec![x.quantile(0.3, 0, "linear").square(), x.nanquantile(0.7, .., "midpoint").square()]),
    ("logcumsumexp", false, |x| vec![x.logcumsumexp(0), x.logcumsumexp(1)]),
    ("trapezoid diff", false, |x| {
        vec![x.trapezoid(0.7, 0).square(), x.trapezoid(x.exp(), 1), x.diff(2, 0, None, None).square()]
    }),
    ("renorm", false, |x| vec![x.renorm(2.0, 0, 1.1)]),
    ("einsum", false, |x| {
        vec![Tensor::einsum("ij,kj->ik", &[x, &x.sin()]), Tensor::einsum("ij,ij,j->", &[x, x, &x.select(0, 1)])]
    }),
    ("cast", false, |x| vec![x.to_dtype(DType::F64) * x.to_dtype(DType::I64)]),
    ("pow 3", false, |x| vec![x.pow(3)]),
    ("pow of a number", true, |x| vec![x.pow(1.7), x.pow(x)]),
    ("numbers", true, |x| vec![x + 1.5, 2.0 - x, x * 0.3, 1.0 / x, x / 3.0]),
    ("fmod", false, |x| vec![x.fmod(0.7), x % 0.9]),
    ("reshape", false, |x| vec![x.reshape([2, 6]).square(), x.flatten(0).sin()]),
    ("permute", false, |x| vec![x.t().square(), x.transpose(0, 1).exp()]),
    ("expand", false, |x| vec![x.unsqueeze(1).expand([4, 5, 3]).square(), x.repeat(&[2, 1, 2]).sin()]),
    ("narrow", false, |x| vec![x.narrow(0, 1, 2).square(), x.narrow(1, 2, 1)]),
    ("select", false, |x| vec![x.select(0, -1).square()]),
    ("slice", false, |x| vec![x.slice(0, Some(1), None, 2).square(), x.slice(0, None, None, -3).exp()]),
    ("flip roll", false, |x| vec![x.flip(0).square() * x, x.roll(1, 1) * x, x.roll_flat(2) * x]),
    ("pad", false, |x| vec![x.pad(0, 1, 2, 0.5).square(), x.pad(1, -1, 1, x.sum(..)).square()]),
    ("pad_with", false, |x| {
        let modes = [PadMode::Constant(0.5), PadMode::Reflect, PadMode::Replicate, PadMode::Circular];
        let x = Tensor::stack(&[x, &x.square(), &x.sin()], -1);
        modes.map(|mode| x.pad_with(&[1, 2, 0, 0], mode).square()).to_vec()
    }),
    ("pixel_shuffle", false, |x| {
        let x = Tensor::stack(&[x, &x.square(), &x.sin(), x], 0).unsqueeze(0);
        vec![x.pixel_shuffle(2).square(), x.channel_shuffle(2).square(), x.pixel_shuffle(2).pixel_unshuffle(2).sin()]
    }),
    ("cat", false, |x| vec![Tensor::cat(&[x, &x.square(), x], 1).sin(), Tensor::stack(&[x, x], 1).square()]),
    ("split", false, |x| x.split(3, 0).iter().map(Tensor::square).collect()),
    ("split_with_sizes", false, |x| x.split_with_sizes(&[1, 0, x.size(1) - 1], 1).iter().map(Tensor::square).collect()),
    ("softplus_with", false, |x| vec![x.softplus_with(2.0, 1.0), x.softplus_with(-0.5, 20.0)]),
    ("unfold", false, |x| vec![x.unfold(0, 2, 1).square(), x.unfold(1, 2, 2), x.unfold(0, 3, 2).sin()]),
    ("tril triu", false, |x| vec![x.tril(0).square(), x.triu(1).exp()]),
    ("sum", false, |x| vec![x.sum(0).square(), x.sum(..).square(), x.sum_keepdim(1) * x]),
    ("mean var", false, |x| vec![x.mean(0).square(), x.var(1, 1.0), x.var(.., 0.0)]),
    ("std norm", false, |x| vec![x.std(0, 1.0), x.norm(1), x.norm(..), x.std_keepdim(1, 0.0)]),
    ("vector_norm", false, |x| [1.0, 3.0, 0.5, -1.0].map(|p| x.vector_norm(p, 1)).to_vec()),
    ("vector_norm of extrema", true, |x| [f64::INFINITY, f64::NEG_INFINITY].map(|p| x.vector_norm(p, 1)).to_vec()),
    ("prod", false, |x| vec![x.prod(0), x.prod(..), x.prod(1)]),
    ("amax amin", false, |x| vec![x.amax(0), x.amin(1), x.amax(..).square()]),
    ("max min", false, |x| vec![x.max(0).0.square(), x.min(-1).0]),
    ("cumsum", false, |x| vec![x.cumsum(0).square(), x.cumsum(1).sin()]),
    ("cumprod", false, |x| vec![x.cumprod(0), x.cumprod(1)]),
    ("cummax cummin", false, |x| vec![x.cummax(0).0.square(), x.cummin(1).0.square()]),
    ("sort", false, |x| vec![x.sort(0, false).0.square(), x.sort(1, true).0.sin()]),
    ("topk", false, |x| vec![x.topk(2, 0).0.square()]),
    ("logsumexp", false, |x| vec![x.logsumexp(0), x.logsumexp(1), x.logsumexp([0, 1])]),
    ("softmax", false, |x| vec![x.softmax(1), x.softmax(0)]),
    ("log_softmax", false, |x| vec![x.log_softmax(1), x.log_softmax(0)]),
    ("index_select", false, |x| vec![x.index_select(0, &Tensor::from([3i64, 0, 3, -2])).square()]),
    ("gather", false, |x| vec![x.gather(0, &Tensor::from([[0i64, 3, 1], [0, 3, 2]])).square()]),
    ("embedding", false, |x| vec![x.embedding(&Tensor::from([[1i64, 1], [0, 3]])).square()]),
    ("take masked_select", false, |x| {
        vec![x.take(&Tensor::from([5i64, 5, 0])).square(), x.masked_select(&x.gt(0.0)).exp()]
    }),
    ("masked_fill where", false, |x| vec![x.masked_fill(&x.gt(0.4), 2.0).square(), x.where_(&x.lt(0.0), x.square())]),
    ("tap watch", false, |x| vec![x.tap("a").square(), x.requires_grad_().exp()]),
    ("layer_norm", false, |x| vec![x.layer_norm([3], None, None, 1e-3), x.layer_norm([4, 3], None, None, 1e-3)]),
    ("cross_entropy", false, |x| vec![x.cross_entropy_rows(&Tensor::from([2i64, 0, -100, 1]), -100)]),
];

/// Functions of two tensors, [4, 3] and [3]: the first positive or not.
const TWO: &[(&str, bool, Two)] = &[
    ("add sub", false, |a, b| vec![(a + b).square(), (a - b).sin(), b - a]),
    ("mul", false, |a, b| vec![a * b, (a * b).square()]),
    ("div", true, |a, b| vec![b / a, (b / a).square()]),
    ("pow", true, |a, b| vec![a.pow(b)]),
    ("maximum minimum", false, |a, b| vec![a.maximum(b).square(), a.minimum(b).exp()]),
    ("where", false, |a, b| vec![a.where_(&a.gt(b), b).square()]),
    ("fmod", true, |a, b| vec![b.fmod(a), b % a]),
    ("matmul", false, |a, b| vec![a.matmul(b), b.matmul(&a.t()).square(), a.t().matmul(a), b.matmul(b)]),
    ("linear", false, |a, b| {
        vec![a.linear(&a.square(), None).tanh(), a.linear(&b.unsqueeze(0), Some(&b.narrow(0, 0, 1)))]
    }),
    ("bilinear", false, |a, b| {
        let (y, weight) = (a.square(), b.reshape([1, 3, 1]) * a.sum(0).reshape([1, 1, 3]));
        vec![
            a.bilinear(&y, &weight, Some(&b.narrow(0, 1, 1))),
            a.bilinear(&a.narrow(1, 0, 1), &b.view([1, 3, 1]), None),
        ]
    }),
    ("cdist", false, |a, b| {
        let rows = b.unsqueeze(0) * 0.37;
        [1.0, 1.5, 2.0, 3.0, f64::INFINITY].map(|p| a.cdist(&rows, p)).into_iter().chain([a.dist(b, 2.0)]).collect()
    }),
    ("pdist", false, |a, _| [1.0, 2.0, 2.5, f64::INFINITY].map(|p| a.exp().pdist(p)).to_vec()),
    ("linear to a scalar", false, |a, b| vec![a.linear(b, None).tanh(), b.linear(b, Some(&a.select(0, 0).sum(0)))]),
    ("layer_norm", false, |a, b| {
        vec![a.layer_norm([3], Some(b), None, 1e-3), a.layer_norm([3], Some(b), Some(&b.square()), 1e-3)]
    }),
    ("scatter", false, |a, b| vec![a.scatter(0, &Tensor::from([[2i64, 0, 1]]), b.unsqueeze(0)).square()]),
    ("scatter_add", false, |a, b| {
        vec![a.scatter_add(0, &Tensor::from([[2i64, 2, 1], [2, 0, 1]]), b.unsqueeze(0).repeat(&[2, 1])).square()]
    }),
    ("atan2 hypot", true, |a, b| vec![b.atan2(a), a.hypot(b).square()]),
    ("logaddexp", false, |a, b| vec![a.logaddexp(b), a.logaddexp2(b)]),
    ("logaddexp far apart", false, |a, b| vec![(a * 1e3).logaddexp(b * 1e3), (a * 2e3).logaddexp2(b * 2e3)]),
    ("xlogy", true, |a, b| vec![a.xlogy(b.exp()), a.xlog1py(b.square())]),
    ("lerp addcdiv addcmul", true, |a, b| {
        vec![b.expand_to(a.shape()).lerp(a, 0.3).square(), b.lerp(b, b), b.addcdiv(b, a, 0.5), a.addcmul(b, a, 2.0)]
    }),
    ("fmax fmin copysign", false, |a, b| vec![a.fmax(b).square(), a.fmin(b).exp(), a.copysign(b)]),
    ("addmm addmv addr", false, |a, b| {
        vec![
            b.addmm(a, &a.t().matmul(a), 0.5, 2.0).square(),
            a.select(1, 0).addmv(a, b, 2.0, 0.5),
            a.addr(&a.select(1, 1), b, 0.3, 0.7).square(),
        ]
    }),
    ("kron outer inner cross", false, |a, b| {
        vec![a.kron(b).square(), b.outer(b).square(), a.inner(b).square(), a.cross(&b.expand_to(a.shape()), 1)]
    }),
    ("index_add index_copy index_fill", false, |a, b| {
        let (rows, place) = (b.unsqueeze(0), Tensor::from([2i64]));
        vec![
            a.index_add(0, &place, &rows, 0.5).square(),
            a.index_copy(0, &place, &rows).square(),
            a.index_fill(0, &place, b.sum(..)).square(),
        ]
    }),
    ("masked_scatter slice_scatter", false, |a, b| {
        vec![
            a.masked_scatter(&a.gt(1.0), &Tensor::cat(&[b, b, b, b], 0)).square(),
            a.slice_scatter(&b.unsqueeze(0), 0, Some(1), Some(3), 2).square(),
            a.diagonal_scatter(b, 0, 0, 1).square(),
        ]
    }),
    ("scatter_reduce without self", true, |a, b| {
        let (index, source) = (Tensor::from([[2i64, 2, 1], [2, 0, 1]]), b.unsqueeze(0).repeat(&[2, 1]) * 1.5);
        ["sum", "prod", "mean", "amax", "amin"]
            .map(|f| a.scatter_reduce(0, &index, &source, f, false).square())
            .to_vec()
    }),
    ("scatter_reduce", true, |a, b| {
        let (index, source) = (Tensor::from([[2i64, 2, 1], [2, 0, 1]]), b.unsqueeze(0).repeat(&[2, 1]) * 1.5);
        ["sum", "prod", "mean", "amax", "amin"].map(|f| a.scatter_reduce(0, &index, &source, f, true).square()).to_vec()
    }),
    ("attention of broadcast batches", false, |a, b| {
        let (q, kv) = (a.reshape([2, 1, 2, 3]), Tensor::stack(&[b, &b.square()], 0));
        let options = AttentionOptions::default();
        vec![
            q.scaled_dot_product_attention(&kv, &kv, &options),
            kv.scaled_dot_product_attention(&q, &q, &options).square(),
        ]
    }),
    ("batched matmul", false, |a, b| {
        let (x, y) = (a.reshape([2, 2, 3]), b.reshape([3, 1]));
        vec![x.matmul(&y).square(), x.transpose(1, 2).matmul(&x), x.matmul(&a.reshape([2, 3, 2]))]
    }),
];

fn run<'a>(rows: impl Iterator<Item = (&'a str, Box<Function<'a>>, Vec<Point>)>) {
    let (mut count, mut failures) = (0, Vec::new());
    for (name, f, points) in rows {
        count += 1;
        if let Err(why) = check(&*f, &points, true) {
            failures.push(format!("{name}: {why}"));
        }
    }
    println!("{count} functions");
    assert!(failures.is_empty(), "seed {}:\n{}", seed(), failures.join("\n"));
}

/// Functions of one tensor [4, 3] that have no value for less.
const RESAMPLED: &[(&str, bool, One)] = &[
    ("interpolate", false, |x| {
        let image = x.unsqueeze(0).unsqueeze(0);
        let to = |mode, align: Option<bool>| {
            let options = InterpolateOptions::size([3, 5]).mode(mode);
            image.interpolate(&align.into_iter().fold(options, InterpolateOptions::align_corners)).square()
        };
        let smooth = InterpolateOptions::scale_factor([0.6, 1.7]).mode(InterpolateMode::Bicubic).antialias(true);
        vec![
            to(InterpolateMode::Nearest, None),
            to(InterpolateMode::NearestExact, None),
            to(InterpolateMode::Area, None),
            to(InterpolateMode::Bilinear, Some(false)),
            to(InterpolateMode::Bicubic, Some(true)),
            image.interpolate(&smooth).square(),
            image.squeeze(0).interpolate(&InterpolateOptions::scale_factor(2.0)).square(),
        ]
    }),
    ("grid_sample", false, |x| {
        // Places between elements: the value has edges at them.
        let base = Tensor::from([[-0.34f64, 0.5], [0.33, 0.0], [1.4, -0.5], [-0.33, -1.51]]);
        let moves = Tensor::stack(&[&x.sum(-1).sin(), &x.select(1, 0).cos()], -1) * 0.05;
        let (image, grid) = (x.view([1, 1, x.size(0), x.size(1)]), (base + moves).view([1, 1, x.size(0), 2]));
        let all =
            |mode, padding| image.grid_sample(&grid, &GridOptions::new().mode(mode).padding_mode(padding)).square();
        vec![
            all(GridMode::Bilinear, GridPadding::Zeros),
            all(GridMode::Bilinear, GridPadding::Reflection),
            all(GridMode::Nearest, GridPadding::Border),
            all(GridMode::Bicubic, GridPadding::Zeros),
        ]
    }),
    ("affine_grid", false, |x| {
        let theta = x.flatten(0).narrow(0, 0, 1).expand([6]).view([1, 2, 3]);
        vec![theta.affine_grid(&[1, 1, 2, 2], false).square(), theta.affine_grid(&[1, 1, 2, 2], true).sin()]
    }),
];

#[test]
fn functions_of_one_tensor() {
    let mut dice = Dice::new(seed() + 10);
    run(ONE.iter().chain(RESAMPLED).map(|(name, positive, f)| {
        let f: Box<Function<'_>> = Box::new(|xs: &[Tensor]| f(&xs[0]));
        (*name, f, vec![Point::new(&mut dice, &[4, 3], *positive)])
    }));
}

#[test]
fn functions_of_two_tensors() {
    let mut dice = Dice::new(seed() + 11);
    run(TWO.iter().map(|(name, positive, f)| {
        let f: Box<Function<'_>> = Box::new(|xs: &[Tensor]| f(&xs[0], &xs[1]));
        (*name, f, vec![Point::new(&mut dice, &[4, 3], *positive), Point::new(&mut dice, &[3], false)])
    }));
}

/// Sizes 0 and 1: gradients exist and have the right shape.
#[test]
fn small_sizes() {
    let mut failures = Vec::new();
    for shape in [&[0, 3][..], &[1, 3], &[1, 1]] {
        for (name, _, f) in ONE {
            let needs_rows = [
                "narrow",
                "slice",
                "unfold",
                "topk",
                "index_select",
                "gather",
                "embedding",
                "take masked_select",
                "reshape",
                "cross_entropy",
                "expand",
                "var",
                "mean var",
                "std norm",
                "layer_norm",
                "index",
                "index_put",
                "median mode kthvalue",
                "quantile",
                "einsum",
            ];
            let extremum = shape[0] == 0 && ["amax amin", "max min", "logsumexp", "select"].contains(name);
            if needs_rows.contains(name) || extremum {
                continue;
            }
            let x = Tensor::from_vec(vec![0.37f64; shape.iter().product()], shape).requires_grad_();
            let result = slopes(&|xs| f(&xs[0]), std::slice::from_ref(&x)).and_then(|g| {
                assert_eq!(g[0].shape(), x.shape(), "{name}");
                g[0].to_vec::<f64>()
            });
            if let Err(why) = result {
                failures.push(format!("{name} {shape:?}: {why}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Points where a rule must choose: torch's choices.
#[test]
fn kinks_and_ties() -> Result<()> {
    let slope = |f: One, values: &[f64]| -> Result<Vec<f64>> {
        let x = Tensor::from_slice(values, [values.len()]).requires_grad_();
        gradients(&f(&x)[0].sum(..), &[&x])?[0].clone().expect("x is used").to_vec()
    };
    let cases: &[(&str, One, &[f64], &[f64])] = &[
        ("abs", |x| vec![x.abs()], &[0.0, -1.0], &[0.0, -1.0]),
        ("relu", |x| vec![x.relu()], &[0.0, 1.0], &[0.0, 1.0]),
        ("maximum", |x| vec![x.maximum(x.constant_like(1.0))], &[1.0, 2.0], &[0.5, 1.0]),
        ("amax", |x| vec![x.amax(0)], &[3.0, 1.0, 3.0], &[0.5, 0.0, 0.5]),
        ("max", |x| vec![x.max(0).0], &[3.0, 1.0, 3.0], &[1.0, 0.0, 0.0]),
        ("clamp", |x| vec![x.clamp(0, 1)], &[0.0, 1.0, 2.0], &[1.0, 1.0, 0.0]),
        ("fmax", |x| vec![x.fmax(Tensor::from([1.0, f64::NAN]))], &[1.0, 2.0], &[0.5, 1.0]),
        ("maximum of NaN", |x| vec![x.maximum(x.constant_like(1.0))], &[f64::NAN, 0.0], &[1.0, 0.0]),
        ("copysign", |x| vec![x.copysign(-1.0)], &[0.0, 2.0, -2.0], &[0.0, -1.0, 1.0]),
        ("sinc", |x| vec![x.sinc()], &[0.0, 1.0], &[0.0, -1.0]),
        ("i1", |x| vec![x.i1(), x.i1e()], &[0.0], &[0.5]),
        ("xlogy", |x| vec![x.xlogy(0.0)], &[0.0], &[0.0]),
        ("atan2", |x| vec![x.atan2(0.0)], &[0.0, 1.0], &[0.0, 0.0]),
        ("logit with eps", |x| vec![x.logit(Some(0.5))], &[0.25, 0.5, 0.75], &[0.0, 4.0, 0.0]),
        (
            "median_all of ties",
            |x| vec![x.median_all()],
            &[2.0, 1.0, 2.0, 2.0],
            &[1.0 / 3.0, 0.0, 1.0 / 3.0, 1.0 / 3.0],
        ),
        ("nanmean", |x| vec![x.nanmean(..)], &[1.0, f64::NAN], &[1.0, 0.0]),
        ("aminmax of ties", |x| vec![x.aminmax(..).1], &[3.0, 3.0, 1.0], &[0.5, 0.5, 0.0]),
        (
            "index_fill of one place twice",
            |x| vec![Tensor::zeros_of([2], DType::F64).index_fill(0, &Tensor::from([1i64, 1]), x.sum(..))],
            &[1.0],
            &[1.0],
        ),
        (
            "scatter_reduce prod of a zero",
            |x| vec![Tensor::from([2.0f64]).scatter_reduce(0, &Tensor::from([0i64, 0, 0]), x, "prod", true)],
            &[0.0, 3.0, 5.0],
            &[30.0, 0.0, 0.0],
        ),
        (
            "scatter_reduce prod of two zeros",
            |x| vec![Tensor::from([2.0f64]).scatter_reduce(0, &Tensor::from([0i64, 0, 0]), x, "prod", true)],
            &[0.0, 0.0, 5.0],
            &[0.0, 0.0, 0.0],
        ),
        ("prod with zeros", |x| vec![x.prod(0)], &[0.0, 2.0, 3.0], &[6.0, 0.0, 0.0]),
        ("prod with two zeros", |x| vec![x.prod(0)], &[0.0, 0.0, 3.0], &[0.0, 0.0, 0.0]),
        ("cumprod with a zero", |x| vec![x.cumprod(0)], &[2.0, 0.0, 3.0], &[1.0, 8.0, 0.0]),
        ("cummax of ties", |x| vec![x.cummax(0).0], &[1.0, 1.0, 0.0], &[1.0, 2.0, 0.0]),
        ("norm at 0", |x| vec![x.norm(0)], &[0.0, 0.0], &[0.0, 0.0]),
        ("norm 3 at 0", |x| vec![x.vector_norm(3.0, 0)], &[0.0, 1.0], &[0.0, 1.0]),
        ("norm 1/2 at 0", |x| vec![x.vector_norm(0.5, 0)], &[0.0, 4.0], &[0.0, 1.0]),
        ("norm -1 at 0", |x| vec![x.vector_norm(-1.0, 0)], &[0.0, 4.0], &[0.0, 0.0]),
        ("pow 0", |x| vec![x.pow(0)], &[0.0, 2.0], &[0.0, 0.0]),
        ("pow 1 at 0", |x| vec![x.pow(1)], &[0.0, 2.0], &[1.0, 1.0]),
        ("sign", |x| vec![x.sign() * x], &[0.0, 2.0], &[0.0, 1.0]),
        ("detach", |x| vec![x.detach() * x], &[3.0, 2.0], &[3.0, 2.0]),
    ];
    for (name, f, at, expected) in cases {
        assert_eq!(slope(*f, at)?, *expected, "{name}");
    }
    Ok(())
}

/// torch: what is constant between steps has a gradient, and it is 0.
#[test]
fn the_gradient_of_steps_is_zero_and_not_absent() -> Result<()> {
    let x = Tensor::from([f64::NAN, -0.0, f64::INFINITY, -2.5]).requires_grad_();
    assert_eq!(x.sign().to_vec::<f64>()?, [0.0, 0.0, 1.0, -1.0]);
    for (name, y) in [("sign", x.sign()), ("floor", x.floor()), ("round", x.round())] {
        let found = gradients(&y.sum(..), &[&x])?.remove(0).unwrap_or_else(|| panic!("{name} has no gradient"));
        assert_eq!(found.to_vec::<f64>()?, [0.0; 4], "{name}");
    }
    Ok(())
}

/// A compound with its inputs.
struct Whole {
    name: &'static str,
    points: Vec<Point>,
    f: Box<Function<'static>>,
}

fn attend(options: AttentionOptions) -> Box<Function<'static>> {
    Box::new(move |xs| vec![xs[0].scaled_dot_product_attention(&xs[1], &xs[2], &options)])
}

fn compounds(dice: &mut Dice) -> Vec<Whole> {
    let mut list: Vec<Whole> = Vec::new();
    let mut add = |name, shapes: &[&[usize]], f: Box<Function<'static>>| {
        let points = shapes.iter().map(|s| Point::new(dice, s, false)).collect();
        list.push(Whole { name, points, f });
    };
    add("relu", &[&[3, 4]], Box::new(|x| vec![x[0].relu()]));
    add("softplus", &[&[3, 4]], Box::new(|x| vec![x[0].softplus()]));
    add("softmax", &[&[3, 5]], Box::new(|x| vec![x[0].softmax(-1)]));
    add("log_softmax", &[&[3, 5]], Box::new(|x| vec![x[0].log_softmax(-1)]));
    add("linear", &[&[2, 2, 3], &[4, 3], &[4]], Box::new(|x| vec![x[0].linear(&x[1], Some(&x[2]))]));
    add("linear without bias", &[&[3], &[2, 3]], Box::new(|x| vec![x[0].linear(&x[1], None)]));
    add("layer_norm", &[&[3, 4], &[4], &[4]], Box::new(|x| vec![x[0].layer_norm([4], Some(&x[1]), Some(&x[2]), 1e-3)]));
    add("rms_norm", &[&[3, 4], &[4]], Box::new(|x| vec![x[0].rms_norm([4], Some(&x[1]), Some(1e-3))]));
    add("rms_norm, plain", &[&[2, 3, 2]], Box::new(|x| vec![x[0].rms_norm([3, 2], None, None)]));
    let affine = |x: &[Tensor]| NormOptions::new().weight(&x[1]).bias(&x[2]);
    add(
        "batch_norm",
        &[&[2, 2, 5], &[2], &[2]],
        Box::new(move |x| {
            vec![x[0].batch_norm(true, &affine(x)), x[0].batch_norm(true, &NormOptions::new().weight(&x[1]))]
        }),
    );
    add("batch_norm, plain", &[&[4, 3]], Box::new(|x| vec![x[0].batch_norm(true, &NormOptions::new())]));
    let running = move |x: &[Tensor]| {
        let cell = |v: [f64; 2]| Cell::new(&Tensor::from(v).to_dtype(x[0].dtype()), false);
        affine(x).running_mean(cell([0.3, -0.2])).running_var(cell([0.5, 2.0]))
    };
    add(
        "batch_norm by running statistics",
        &[&[3, 2, 2], &[2], &[2]],
        Box::new(move |x| vec![x[0].batch_norm(false, &running(x))]),
    );
    add(
        "instance_norm",
        &[&[2, 2, 3], &[2], &[2]],
        Box::new(move |x| vec![x[0].instance_norm(true, &affine(x)), x[0].instance_norm(true, &running(x))]),
    );
    add(
        "group_norm",
        &[&[2, 4, 2], &[4], &[4]],
        Box::new(|x| vec![x[0].group_norm(2, Some(&x[1]), Some(&x[2]), 1e-3), x[0].group_norm(1, None, None, 1e-3)]),
    );
    add("local_response_norm", &[&[2, 4, 2]], Box::new(|x| vec![x[0].local_response_norm(3, 0.5, 0.75, 1.0)]));
    add("normalize", &[&[2, 4]], Box::new(|x| vec![x[0].normalize(2.0, 1, 1e-12), x[0].normalize(3.0, 0, 1e-12)]));
    add("matrix_exp", &[&[2, 3, 3]], Box::new(|x| vec![(&x[0] * 2.0).matrix_exp(), x[0].matrix_exp()]));
    add("layer_norm, plain", &[&[2, 3, 2]], Box::new(|x| vec![x[0].layer_norm([3, 2], None, None, 1e-3)]));
    add("cross_entropy", &[&[4, 3]], Box::new(|x| vec![x[0].cross_entropy_rows(&Tensor::from([2i64, 0, 7, 1]), 7)]));
    add(
        "binary_cross_entropy",
        &[&[2, 3], &[2, 3]],
        Box::new(|x| vec![x[0].sigmoid().binary_cross_entropy_elements(&x[1])]),
    );
    let spelt = |x: &Tensor, blank, labels: Tensor| {
        let lengths = (Tensor::from([4i64, 3, 1]), Tensor::from([2i64, 1, 0]));
        vec![x.log_softmax(-1).ctc_losses(&labels, &lengths.0, &lengths.1, blank, false)]
    };
    let labels = [[1i64, 1], [2, -7], [9, 9]];
    add("ctc_loss", &[&[4, 3, 3]], Box::new(move |x| spelt(&x[0], 0, Tensor::from(labels))));
    let labels = [[0i64, 1], [1, 0], [0, 0]];
    add("ctc_loss, another blank", &[&[4, 3, 3]], Box::new(move |x| spelt(&x[0], 2, Tensor::from(labels))));
    add(
        "check",
        &[&[2, 3]],
        Box::new(|x| vec![x[0].check(&x[0].lt(9.0), "large").square(), x[0].check_within(-9.0, 9.0, "large").square()]),
    );
    let places = [[3i64, 0], [3, 1]];
    add("embedding", &[&[4, 3]], Box::new(move |x| vec![x[0].embedding(&Tensor::from(places))]));
    let (sparse, bags) = (EmbeddingOptions::new().sparse(true), bags());
    add("embedding, sparse", &[&[4, 3]], Box::new(move |x| vec![x[0].embedding_with(&Tensor::from(places), &sparse)]));
    let at = || Tensor::from([3i64, 0, 3, 1]);
    add(
        "embedding_bag",
        &[&[4, 3], &[4]],
        Box::new(move |x| bags.iter().map(|bag| x[0].embedding_bag(&at(), &bag(&x[1]))).collect()),
    );
    let rows = Tensor::from([2i64, 0]);
    add("update_rows", &[&[4, 3]], Box::new(move |x| vec![x[0].update_rows(&rows, |rows| rows.square())]));
    let plain = ConvAxis::PLAIN;
    add("conv", &[&[1, 2, 5], &[3, 2, 2]], Box::new(move |x| vec![x[0].conv(&x[1], &[plain], 1)]));
    let strided = [ConvAxis { stride: 2, lo: 1, hi: 0, ..plain }, ConvAxis { dilation: 2, lo: 0, hi: 1, ..plain }];
    add("conv in groups", &[&[2, 2, 4, 3], &[4, 1, 2, 2]], Box::new(move |x| vec![x[0].conv(&x[1], &strided, 2)]));
    let transposed = [ConvAxis { input_dilation: 2, lo: 1, hi: 2, ..plain }];
    add("conv, transposed", &[&[1, 2, 3], &[2, 2, 3]], Box::new(move |x| vec![x[0].conv(&x[1], &transposed, 1)]));
    let deep = [ConvAxis { stride: 2, lo: 1, hi: 1, ..plain }, plain, ConvAxis { hi: 1, ..plain }];
    add("conv of volumes", &[&[1, 2, 3, 3, 2], &[2, 1, 2, 2, 2]], Box::new(move |x| vec![x[0].conv(&x[1], &deep, 2)]));
    let cut = [ConvAxis { lo: -1, hi: -1, ..plain }];
    add("conv, cut", &[&[1, 2, 6], &[1, 2, 2]], Box::new(move |x| vec![x[0].conv(&x[1], &cut, 1)]));
    let shapes: &[&[usize]] = &[&[2, 3, 2], &[2, 4, 2], &[2, 4, 3]];
    add("attention", shapes, attend(AttentionOptions::default()));
    add("attention, causal", shapes, attend(AttentionOptions::new().is_causal(true)));
    let mask = Tensor::from_vec((0..12).map(|i| f64::from(i % 5) * 0.3 - 0.5).collect(), [3, 4]);
    add("attention, mask", shapes, attend(AttentionOptions::new().attn_mask(&mask).scale(0.4)));
    let barred = AttentionOptions::new().attn_mask(&mask.gt(-0.4)).length(&Tensor::from(3i64));
    add("attention, barred", shapes, attend(barred));
    let pooled = MaxPoolOptions::new().stride(2).padding(1).ceil_mode(true);
    let spread = MaxPoolOptions::new().stride(1).dilation([1, 2]);
    add("max_pool", &[&[2, 1, 5, 4]], Box::new(move |x| vec![x[0].max_pool2d(3, &pooled)]));
    add("max_pool, spread", &[&[2, 4, 5]], Box::new(move |x| vec![x[0].max_pool2d(2, &spread)]));
    add("max_pool, volumes", &[&[1, 3, 2, 4]], Box::new(|x| vec![x[0].max_pool3d([2, 1, 2], &MaxPoolOptions::new())]));
    add("max_pool, adaptive", &[&[2, 5, 4]], Box::new(|x| vec![x[0].adaptive_max_pool2d([3, 2])]));
    let padded = AvgPoolOptions::new().stride([2, 1]).padding(1).ceil_mode(true);
    let inside = padded.clone().count_include_pad(false);
    let divided = AvgPoolOptions::new().stride(3).divisor_override(-2);
    add("avg_pool", &[&[2, 1, 5, 4]], Box::new(move |x| vec![x[0].avg_pool2d(3, &padded)]));
    add("avg_pool, inside", &[&[2, 1, 5, 4]], Box::new(move |x| vec![x[0].avg_pool2d([2, 3], &inside)]));
    add("avg_pool, divided", &[&[2, 7]], Box::new(move |x| vec![x[0].avg_pool1d(2, &divided)]));
    add("avg_pool, adaptive", &[&[2, 2, 5, 4]], Box::new(|x| vec![x[0].adaptive_avg_pool3d([1, 3, 6])]));
    for kind in crate::recurrent::KINDS {
        let shapes = kind.shapes([3, 2, 2, 3]);
        add(kind.name, &shapes.iter().map(|s| &s[..]).collect::<Vec<_>>(), kind.function());
    }
    let heads: &[&[usize]] = &[&[2, 4, 3, 2], &[2, 2, 4, 2], &[2, 2, 4, 3]];
    add("attention, grouped", heads, attend(AttentionOptions::new().enable_gqa(true).is_causal(true)));
    let by_head = AttentionOptions::new().enable_gqa(true).attn_mask(&Tensor::stack(&[&mask.narrow(0, 0, 3); 4], 0));
    add("attention, grouped with a mask", heads, attend(by_head));
    let padded = Tensor::from_bools(&[true, true, false, true, false, true, true, true], [2, 1, 1, 4]);
    add("attention, padded", heads, attend(AttentionOptions::new().enable_gqa(true).attn_mask(&padded)));
    list
}

#[test]
fn compounds_against_differences() {
    let list = compounds(&mut Dice::new(seed() + 12));
    run(list.into_iter().map(|c| (c.name, c.f, c.points)));
}

/// Values, gradients and second gradients of a compound.
fn derived(c: &Whole) -> Vec<Vec<f64>> {
    let inputs: Vec<Tensor> = c.points.iter().map(Point::tensor).collect();
    let values = (c.f)(&inputs);
    let first = slopes(&*c.f, &inputs).unwrap();
    let second = slopes(&|xs| slopes(&*c.f, xs).unwrap(), &inputs).unwrap();
    let all: Vec<Tensor> = values.into_iter().chain(first).chain(second).collect();
    eval(&all).unwrap();
    all.iter().map(|t| floats(t).unwrap()).collect()
}

/// kernel = body, and own rule = the body's rule.
#[test]
fn kernels_and_rules_of_compounds_are_those_of_their_bodies() {
    let mut failures = Vec::new();
    for c in compounds(&mut Dice::new(seed() + 13)) {
        let own = derived(&c);
        testing::force_bodies(true);
        let bodies = derived(&c);
        testing::force_body_gradients(true);
        let all_bodies = derived(&c);
        testing::force_bodies(false);
        let rules = derived(&c);
        testing::force_body_gradients(false);
        for (what, other) in [("bodies", bodies), ("bodies and their rules", all_bodies), ("rules of bodies", rules)] {
            for (i, (a, b)) in own.iter().zip(&other).enumerate() {
                if let Err(why) = close(DType::F64, a, b, 1.0) {
                    failures.push(format!("{} with {what}, result {i}: {why}", c.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Gradients in the types that train: the plan against the interpreter.
#[test]
fn gradients_of_compounds_in_every_float_type() {
    let mut dice = Dice::new(seed() + 14);
    let mut failures = Vec::new();
    for dtype in FLOATS {
        for c in compounds(&mut dice).iter().filter(|c| !c.name.contains("mask") && !c.name.contains("barred")) {
            let inputs: Vec<Tensor> =
                c.points.iter().map(|p| random(&mut dice, &p.shape, dtype).requires_grad_()).collect();
            let result = slopes(&*c.f, &inputs).map_err(|e| e.to_string());
            if let Err(why) = result.and_then(|g| agree(&g.iter().collect::<Vec<_>>(), 16.0)) {
                failures.push(format!("{} {dtype}: {why}", c.name));
            }
        }
    }
    assert!(failures.is_empty(), "seed {}:\n{}", seed(), failures.join("\n"));
}

/// Bags of four places, one of them empty, by the weights of the places.
fn bags() -> [fn(&Tensor) -> EmbeddingBagOptions; 3] {
    [
        |weights| {
            let options = EmbeddingBagOptions::new().offsets(&Tensor::from([0i64, 3, 3])).mode(BagMode::Sum);
            options.per_sample_weights(weights)
        },
        |_| EmbeddingBagOptions::new().offsets(&Tensor::from([0i64, 3, 3])),
        |_| EmbeddingBagOptions::new().offsets(&Tensor::from([0i64, 3, 3])).mode(BagMode::Max),
    ]
}
