//! Every operation in every type that it takes, over sizes and layouts: the plan says what the interpreter
//! says.

use limpid_core::{
    AttentionOptions, AvgPoolOptions, ConvAxis, DType, MaxPoolOptions, NormOptions, Number, Rng, Shape, Tensor,
    manual_seed,
};

use crate::support::{Dice, FLOATS, LAYOUTS, Layout, TYPES, agree, floats, laid_out, leaf, nonzero, random, seed};

type Unary = fn(&Tensor) -> Vec<Tensor>;
type Binary = fn(&Tensor, &Tensor) -> Vec<Tensor>;
type Along = fn(&Tensor, isize) -> Vec<Tensor>;

const NONE: &[DType] = &[];
const BOOL: &[DType] = &[DType::Bool];
/// Types whose bits do not move.
const FIXED: &[DType] = &[DType::F64, DType::F32, DType::F16, DType::BF16, DType::Bool];

/// Functions of each element: name, how often the tolerance (several roundings of a half type), function,
/// types that it refuses.
const UNARY: &[(&str, f64, Unary, &[DType])] = &[
    ("neg", 1.0, |x| vec![-x], BOOL),
    ("abs", 1.0, |x| vec![x.abs()], NONE),
    ("sign", 1.0, |x| vec![x.sign()], NONE),
    ("square", 1.0, |x| vec![x.square()], NONE),
    ("reciprocal", 1.0, |x| vec![x.reciprocal()], NONE),
    ("rsqrt", 1.0, |x| vec![x.rsqrt()], NONE),
    ("exp", 1.0, |x| vec![x.exp()], NONE),
    ("exp2", 4.0, |x| vec![x.exp2()], NONE),
    ("expm1", 1.0, |x| vec![x.expm1()], NONE),
    ("log", 1.0, |x| vec![x.log()], NONE),
    ("log2", 1.0, |x| vec![x.log2()], NONE),
    ("log10", 1.0, |x| vec![x.log10()], NONE),
    ("log1p", 1.0, |x| vec![x.log1p()], NONE),
    ("sqrt", 1.0, |x| vec![x.sqrt()], NONE),
    ("sin", 1.0, |x| vec![x.sin()], NONE),
    ("cos", 1.0, |x| vec![x.cos()], NONE),
    ("tan", 2.0, |x| vec![x.tan()], NONE),
    ("tanh", 1.0, |x| vec![x.tanh()], NONE),
    ("erf", 1.0, |x| vec![x.erf()], NONE),
    ("erfc", 1.0, |x| vec![x.erfc()], NONE),
    ("sigmoid", 1.0, |x| vec![x.sigmoid()], NONE),
    ("frac sgn signbit", 1.0, |x| vec![x.frac(), x.sgn(), x.signbit()], BOOL),
    ("nan_to_num", 1.0, |x| vec![x.nan_to_num(2.0, None, Some(-3.0))], NONE),
    (
        "median_all",
        1.0,
        |x| if x.numel() > 0 { vec![x.flatten(0).median_all(), x.nanmedian_all()] } else { vec![] },
        NONE,
    ),
    ("diag", 1.0, |x| vec![x.flatten(0).narrow(0, 0, x.numel().min(9)).diag(-1)], NONE),
    ("repeat_interleave tile", 1.0, |x| vec![x.repeat_interleave(2, None), x.tile(&[2, 1])], NONE),
    ("atleast", 1.0, |x| vec![x.atleast_1d(), x.atleast_2d(), x.atleast_3d()], NONE),
    ("log_sigmoid", 1.0, |x| vec![x.log_sigmoid()], NONE),
    ("softplus", 1.0, |x| vec![x.softplus()], NONE),
    ("gelu", 1.0, |x| vec![x.gelu()], NONE),
    ("gelu_tanh", 1.0, |x| vec![x.gelu_tanh()], NONE),
    ("silu", 1.0, |x| vec![x.silu()], NONE),
    ("relu", 1.0, |x| vec![x.relu()], NONE),
    ("leaky_relu", 1.0, |x| vec![x.leaky_relu(0.01)], NONE),
    ("elu", 2.0, |x| vec![x.elu(0.5)], NONE),
    ("celu", 4.0, |x| vec![x.celu(2.0)], NONE),
    ("selu", 2.0, |x| vec![x.selu()], NONE),
    ("mish", 2.0, |x| vec![x.mish()], NONE),
    ("hardsigmoid", 2.0, |x| vec![x.hardsigmoid()], NONE),
    ("hardswish", 4.0, |x| vec![x.hardswish()], NONE),
    ("hardshrink", 1.0, |x| vec![x.hardshrink(0.5)], NONE),
    ("softshrink", 1.0, |x| vec![x.softshrink(0.5)], NONE),
    ("tanhshrink", 1.0, |x| vec![x.tanhshrink()], NONE),
    ("softsign", 2.0, |x| vec![x.softsign()], NONE),
    ("floor", 1.0, |x| vec![x.floor()], NONE),
    ("ceil", 1.0, |x| vec![x.ceil()], NONE),
    ("trunc", 1.0, |x| vec![x.trunc()], NONE),
    ("round", 1.0, |x| vec![x.round()], NONE),
    ("softplus_with", 2.0, |x| vec![x.softplus_with(0.5, 20.0)], NONE),
    ("clamp", 1.0, |x| vec![x.clamp(-1, 2)], NONE),
    ("clamp_min", 1.0, |x| vec![x.clamp_min(1)], NONE),
    ("clamp_max", 1.0, |x| vec![x.clamp_max(1)], NONE),
    ("isnan isinf isfinite", 1.0, |x| vec![x.isnan(), x.isinf(), x.isfinite()], NONE),
    ("logical_not", 1.0, |x| vec![x.logical_not()], NONE),
    ("casts", 1.0, |x| TYPES.map(|d| x.to_dtype(d)).to_vec(), NONE),
    ("to_float", 1.0, |x| vec![x.to_float()], NONE),
    ("zeros_like ones_like", 1.0, |x| vec![x.zeros_like(), x.ones_like() + x], NONE),
    ("+ number", 1.0, |x| vec![x + 3, 3 - x.to_float(), x * 2.5, 1.0 / x], NONE),
    ("reshape", 1.0, |x| vec![x.flatten(0), x.reshape([1, -1, 1]).exp()], &[]),
    (
        "unsqueeze squeeze",
        1.0,
        |x| vec![x.unsqueeze(0), x.unsqueeze(-1), x.unsqueeze(0).squeeze(0), x.squeeze(..)],
        NONE,
    ),
    ("expand", 1.0, |x| vec![x.unsqueeze(0).expand_to(&x.shape().inserted(0, 3))], NONE),
    ("repeat", 1.0, |x| vec![x.repeat(&vec![2; x.rank() + 1])], NONE),
    ("sum of all", 1.0, |x| vec![x.sum(..), x.sum_keepdim(..), x.flatten(0).sum(0)], NONE),
    ("mean of all", 1.0, |x| vec![x.mean(..), x.mean_keepdim(..)], NONE),
    ("var of all", 1.0, |x| vec![x.var(.., 1.0)], NONE),
    ("any all", 1.0, |x| vec![x.any(..), x.all(..)], NONE),
    ("detach tap watch", 1.0, |x| vec![x.detach() + x, x.tap("t").to_float().requires_grad_()], NONE),
    ("one_hot", 1.0, |x| vec![(x.to_dtype(DType::I64) % 5).one_hot(5)], NONE),
    ("stack cat", 1.0, |x| vec![Tensor::stack(&[x, x], 0), Tensor::stack(&[x, &x.exp()], -1)], NONE),
    ("take", 1.0, |x| vec![x.take(&Tensor::arange(0, x.numel().min(3) as i64, 1))], NONE),
    ("index_along", 1.0, |x| (0..x.rank()).map(|d| x.index_along(d as isize) + x).collect(), NONE),
];

/// Functions with a long body, of which a few elements are enough.
const SPECIAL: &[(&str, f64, Unary, &[DType])] = &[
    ("acos asin atan", 1.0, |x| vec![x.acos(), x.asin(), x.atan()], NONE),
    ("acosh asinh atanh", 1.0, |x| vec![x.acosh(), x.asinh(), x.atanh()], NONE),
    ("cosh sinh sinc", 1.0, |x| vec![x.cosh(), x.sinh(), x.sinc()], NONE),
    ("gamma functions", 4.0, |x| vec![x.lgamma(), x.digamma(), x.polygamma(1), x.polygamma(3)], NONE),
    ("mvlgamma", 8.0, |x| vec![(x.to_float().abs() + 2.0).mvlgamma(3)], NONE),
    ("normal distribution", 1.0, |x| vec![x.ndtr(), x.log_ndtr(), x.ndtri(), x.erfinv(), x.erfcx()], NONE),
    ("Bessel functions", 1.0, |x| vec![x.i0(), x.i0e(), x.i1(), x.i1e()], NONE),
    ("entr logit", 1.0, |x| vec![x.entr(), x.logit(None), x.logit(Some(0.125))], NONE),
    (
        "pairs",
        4.0,
        |x| {
            let y = x.flip(0);
            vec![
                x.atan2(&y),
                x.hypot(&y),
                x.copysign(&y),
                x.logaddexp(&y),
                x.logaddexp2(&y),
                x.xlogy(&y),
                x.xlog1py(&y),
            ]
        },
        NONE,
    ),
];

/// Functions of two tensors of one type that broadcast.
const BINARY: &[(&str, f64, Binary, &[DType])] = &[
    ("add", 1.0, |a, b| vec![a + b], NONE),
    ("sub", 1.0, |a, b| vec![a - b], BOOL),
    ("mul", 1.0, |a, b| vec![a * b], NONE),
    ("div", 1.0, |a, b| vec![a / b], NONE),
    ("maximum minimum", 1.0, |a, b| vec![a.maximum(b), a.minimum(b)], NONE),
    ("eq ne", 1.0, |a, b| vec![a.eq(b), a.ne(b)], NONE),
    ("lt le gt ge", 1.0, |a, b| vec![a.lt(b), a.le(b), a.gt(b), a.ge(b)], NONE),
    ("logic", 1.0, |a, b| vec![a.logical_and(b), a.logical_or(b), a.logical_xor(b)], NONE),
    ("where", 1.0, |a, b| vec![a.where_(&a.lt(b), b)], NONE),
    ("masked_fill", 1.0, |a, b| vec![(a + b).masked_fill(&a.lt(b), 1)], NONE),
    ("bits", 1.0, |a, b| vec![a & b, a | b, a ^ b], &FLOATS),
    ("shifts", 1.0, |a, b| vec![a << b, a >> b, a << 3, a.bitwise_right_shift(70)], FIXED),
    ("pow", 4.0, |a, b| vec![a.abs().pow(b)], NONE),
    ("fmax fmin heaviside", 1.0, |a, b| vec![a.fmax(b), a.fmin(b), a.heaviside(b)], NONE),
    ("isclose", 1.0, |a, b| vec![a.isclose(b, 0.25, 0.5, true)], NONE),
    ("add_with rsub", 4.0, |a, b| vec![a.add_with(b, 2), a.sub_with(b, 3), a.rsub(b, 2)], BOOL),
    ("isin", 1.0, |a, b| vec![a.isin(b, false), a.isin(b, true)], NONE),
];

/// Functions whose second argument must not be 0.
const DIVIDING: &[(&str, f64, Binary, &[DType])] = &[
    ("floor_divide", 1.0, |a, b| vec![a.floor_divide(b)], NONE),
    ("trunc_divide", 1.0, |a, b| vec![a.trunc_divide(b)], NONE),
    ("remainder", 1.0, |a, b| vec![a % b], NONE),
    ("fmod", 1.0, |a, b| vec![a.fmod(b)], NONE),
];

/// How often the tolerance a product of thousands of equal f32 takes: each one rounds to the same side.
const LONG: f64 = 24.0;

/// Functions along one axis.
const ALONG: &[(&str, f64, Along, &[DType])] = &[
    ("sum", 1.0, |x, d| vec![x.sum(d), x.sum_keepdim(d), (x + 1).sum(d)], NONE),
    ("mean", 1.0, |x, d| vec![x.mean(d), x.mean_keepdim(d)], NONE),
    ("prod", LONG, |x, d| vec![(x.to_float().sign() * 0.01 + 1.0).prod(d)], NONE),
    ("var std", 2.0, |x, d| vec![x.var(d, 1.0), x.std(d, 0.0)], NONE),
    ("var_keepdim std_keepdim", 2.0, |x, d| vec![x.var_keepdim(d, 1.0), x.std_keepdim(d, 0.0)], NONE),
    ("norm", 1.0, |x, d| vec![x.norm(d), x.norm_keepdim(d)], NONE),
    ("vector_norm", 4.0, |x, d| vec![x.vector_norm(1.0, d), x.vector_norm_keepdim(3.0, d)], NONE),
    ("any all", 1.0, |x, d| vec![x.any(d), x.all(d), x.any_keepdim(d), x.all_keepdim(d)], NONE),
    ("cumsum", 1.0, |x, d| vec![x.cumsum(d)], NONE),
    ("cumprod", 4.0, |x, d| vec![(x.to_float().sign() * 0.01 + 1.0).cumprod(d)], NONE),
    ("cummax cummin", 1.0, |x, d| [x.cummax(d), x.cummin(d)].map(|(v, i)| [v, i]).concat(), NONE),
    ("sort", 1.0, |x, d| [x.sort(d, false), x.sort(d, true)].map(|(v, i)| [v, i]).concat(), NONE),
    ("argsort", 1.0, |x, d| vec![x.argsort(d, false)], NONE),
    ("softmax", 1.0, |x, d| vec![x.softmax(d)], NONE),
    ("log_softmax", 1.0, |x, d| vec![x.log_softmax(d)], NONE),
    ("flip", 1.0, |x, d| vec![x.flip(d), x.flip(d) + x], NONE),
    ("roll", 1.0, |x, d| vec![x.roll(1, d), x.roll(-2, d), x.roll_flat(-3)], NONE),
    ("pad", 1.0, |x, d| vec![x.pad(d, 2, 1, 1), x.pad(d, 0, 3, 0) * 2, x.pad(d, 1, 1, 2).pad(d, -1, 2, 0)], NONE),
    ("cat", 1.0, |x, d| vec![Tensor::cat(&[x, &(x + 1).to_dtype(x.dtype()), x], d)], NONE),
    (
        "slice",
        1.0,
        |x, d| vec![x.slice(d, Some(1), None, 2), x.slice(d, None, Some(-1), 1), x.slice(d, None, None, -2)],
        NONE,
    ),
    ("split", 1.0, |x, d| x.split(2, d), NONE),
    ("chunk", 1.0, |x, d| x.chunk(3, d), NONE),
    ("transpose", 1.0, |x, d| vec![x.transpose(d, 0), x.transpose(d, 0).flatten(0)], NONE),
    ("index_along", 1.0, |x, d| vec![x.index_along(d), x.index_along(d) * x], NONE),
    ("diff", 1.0, |x, d| vec![x.diff(1, d, None, None), x.diff(2, d, Some(x), None)], NONE),
    ("trapezoid", 4.0, |x, d| vec![x.trapezoid(0.5, d), x.cumulative_trapezoid(2, d)], NONE),
    ("logcumsumexp", 4.0, |x, d| vec![x.logcumsumexp(d)], NONE),
    ("nansum count_nonzero", 1.0, |x, d| vec![x.nansum(d), x.nanmean(d), x.count_nonzero(d)], NONE),
    ("std_mean", 2.0, |x, d| vec![x.std_mean(d, 1.0).0, x.var_mean_keepdim(d, 0.0).1], NONE),
    ("movedim", 1.0, |x, d| vec![x.movedim(&[d], &[0]), x.movedim(&[0], &[d])], NONE),
    ("slice_scatter", 1.0, |x, d| vec![x.slice_scatter(&x.slice(d, None, None, -2), d, None, None, -2)], NONE),
    (
        "searchsorted",
        1.0,
        |x, d| {
            let y = x.transpose(d, -1);
            let s = y.sort(-1, false).0;
            vec![s.searchsorted(&y, false, None), s.searchsorted(&y, true, None)]
        },
        NONE,
    ),
];

/// Functions along one axis that has at least one element.
const FILLED: &[(&str, f64, Along, &[DType])] = &[
    ("amax amin", 1.0, |x, d| vec![x.amax(d), x.amin_keepdim(d), x.amax_keepdim(d) + x], NONE),
    ("max", 1.0, |x, d| vec![x.max(d).0, x.max(d).1], NONE),
    ("min", 1.0, |x, d| vec![x.min(d).0, x.min(d).1], NONE),
    ("argmax argmin", 1.0, |x, d| vec![x.argmax(d), x.argmin_keepdim(d), x.argmax(..)], NONE),
    ("logsumexp", 1.0, |x, d| vec![x.logsumexp(d), x.logsumexp_keepdim(..)], NONE),
    ("topk", 1.0, |x, d| vec![x.topk(1, d).0, x.topk(x.size(d), d).1], NONE),
    ("select", 1.0, |x, d| vec![x.select(d, -1), x.select(d, 0)], NONE),
    ("narrow", 1.0, |x, d| vec![x.narrow(d, x.size(d) - 1, 1), x.narrow(d, 0, x.size(d) / 2)], NONE),
    ("unfold", 1.0, |x, d| vec![x.unfold(d, 1, 1), x.unfold(d, x.size(d).min(2), 2)], NONE),
    ("index_select", 1.0, |x, d| vec![x.index_select(d, &Tensor::from([0i64, -1, 0]))], NONE),
    ("gather", 1.0, |x, d| vec![x.gather(d, &(x.index_along(d) * 3 % x.size(d) as i64))], NONE),
    ("scatter", 1.0, |x, d| vec![x.scatter(d, &x.index_along(d).flip(d), x)], NONE),
    (
        "scatter_reduce",
        24.0,
        |x, d| ["amax", "amin"].map(|f| x.scatter_reduce(d, &(x.index_along(d) % 3), x.flip(d), f, true)).to_vec(),
        NONE,
    ),
    ("scatter_add", 24.0, |x, d| vec![x.scatter_add(d, &(x.index_along(d) % 3), x)], NONE),
    (
        "index_fill index_copy",
        1.0,
        |x, d| {
            vec![
                x.index_fill(d, &Tensor::from([0i64, 0]), 1),
                x.index_copy(d, &Tensor::from([0i64]), &x.narrow(d, x.size(d) - 1, 1)),
            ]
        },
        NONE,
    ),
    ("index_add", 4.0, |x, d| vec![x.index_add(d, &Tensor::from([0i64]), &x.narrow(d, x.size(d) - 1, 1), 2.0)], BOOL),
    (
        "median kthvalue",
        1.0,
        |x, d| [x.median(d), x.nanmedian(d), x.kthvalue_keepdim(1, d)].map(|(v, i)| [v, i]).concat(),
        NONE,
    ),
    ("mode", 1.0, |x, d| [x.mode(d), x.mode_keepdim(d)].map(|(v, i)| [v, i]).concat(), NONE),
    (
        "aminmax",
        1.0,
        |x, d| {
            let (a, b) = x.aminmax(d);
            vec![a, b]
        },
        NONE,
    ),
    (
        "quantile",
        2.0,
        |x, d| vec![x.to_float().quantile(0.375, d, "linear"), x.to_float().nanquantile(0.5, d, "higher")],
        NONE,
    ),
    ("take_along_dim", 1.0, |x, d| vec![x.take_along_dim(&x.argmax_keepdim(d), Some(d))], NONE),
    (
        "index",
        1.0,
        |x, d| {
            vec![
                x.movedim(&[d], &[0]).index((-1, limpid_core::Index::Ellipsis, limpid_core::Index::NewAxis)),
                x.movedim(&[d], &[0]).index([0, -1]),
            ]
        },
        NONE,
    ),
];

const SHAPES: &[&[usize]] = &[&[], &[0], &[1], &[7], &[16], &[3, 0, 2], &[5, 1, 3], &[2, 3, 4, 5], &[33, 65], &[4099]];

fn shapes() -> Vec<Shape> {
    SHAPES.iter().map(|s| Shape::from(*s)).collect()
}

/// Checks one row: results agree, and exactly the types of `refuses` are refused.
fn check(what: &str, dtype: DType, refuses: &[DType], slack: f64, results: &[Tensor], failures: &mut Vec<String>) {
    let refused = results.iter().any(|t| t.error().is_some());
    if refused != refuses.contains(&dtype) {
        let error = results.iter().find_map(Tensor::error).map_or("nothing is refused".to_owned(), |e| e.to_string());
        failures.push(format!("{what}: {error}"));
    } else if !refused && let Err(why) = agree(&results.iter().collect::<Vec<_>>(), slack) {
        failures.push(format!("{what}: {why}"));
    }
}

fn report(count: usize, failures: &[String]) {
    println!("{count} cases");
    assert!(
        failures.is_empty(),
        "seed {}: {} of {count} cases differ:\n{}",
        seed(),
        failures.len(),
        failures[..failures.len().min(400)].join("\n")
    );
}

/// Some layouts at each size: all of them for a middle one.
fn layouts(dice: &mut Dice, shape: &Shape) -> Vec<Layout> {
    match shape.rank() {
        0 => vec![Layout::Plain],
        _ if shape[..] == [5, 1, 3] || shape[..] == [2, 3, 4, 5] => LAYOUTS.to_vec(),
        _ => vec![Layout::Plain, *dice.pick(&LAYOUTS[1..])],
    }
}

#[test]
fn unary_functions() {
    let mut dice = Dice::new(seed());
    let (mut count, mut failures) = (0, Vec::new());
    for (name, slack, f, refuses) in UNARY {
        for dtype in TYPES {
            for shape in shapes() {
                if *name == "casts" && dtype == DType::Bool && shape.rank() > 2 {
                    continue;
                }
                for layout in layouts(&mut dice, &shape) {
                    let x = laid_out(&shape, layout, &mut |s| random(&mut dice, s, dtype));
                    let what = format!("{name} {dtype} {shape} {layout:?}");
                    check(&what, dtype, refuses, *slack, &f(&x), &mut failures);
                    count += 1;
                }
            }
        }
    }
    report(count, &failures);
}

#[test]
fn special_functions() {
    let mut dice = Dice::new(seed() + 40);
    let (mut count, mut failures) = (0, Vec::new());
    for (name, slack, f, refuses) in SPECIAL {
        for dtype in TYPES {
            for shape in [&[][..], &[0], &[17], &[3, 2]] {
                let x = random(&mut dice, &Shape::from(shape), dtype);
                check(&format!("{name} {dtype} {shape:?}"), dtype, refuses, *slack, &f(&x), &mut failures);
                count += 1;
            }
        }
    }
    report(count, &failures);
}

/// Infinities, NaN, zeros of both signs, and the ends of the range.
#[test]
fn unary_functions_at_special_values() {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        2.5,
        -2.5,
        3.5,
        1e-6,
        -1e-6,
        60.0,
        -60.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        1.0e4,
    ];
    let numbers = special.map(Number::Float);
    let (mut count, mut failures) = (0, Vec::new());
    for (name, slack, f, refuses) in UNARY.iter().chain(SPECIAL).filter(|row| row.0 != "casts" && row.0 != "one_hot") {
        for dtype in FLOATS {
            let x = leaf(&numbers, &Shape::from([16]), dtype);
            check(&format!("{name} {dtype}"), dtype, refuses, *slack, &f(&x), &mut failures);
            count += 1;
        }
    }
    report(count, &failures);
}

#[test]
fn binary_functions() {
    let mut dice = Dice::new(seed() + 1);
    let (mut count, mut failures) = (0, Vec::new());
    let pairs: &[(&[usize], &[usize])] = &[
        (&[], &[]),
        (&[0], &[1]),
        (&[7], &[]),
        (&[7], &[7]),
        (&[2, 3, 4, 5], &[4, 1]),
        (&[5, 1, 3], &[1, 6, 1]),
        (&[33, 65], &[65]),
        (&[33, 65], &[33, 65]),
        (&[1, 17], &[300, 1]),
    ];
    let dividing = DIVIDING.iter().map(|row| (row, true));
    for ((name, slack, f, refuses), divides) in BINARY.iter().map(|row| (row, false)).chain(dividing) {
        for dtype in TYPES {
            for (sa, sb) in pairs.iter().map(|(a, b)| (Shape::from(*a), Shape::from(*b))) {
                for i in 0..if sa.rank() > 1 { 3 } else { 1 } {
                    let (la, lb) = if i == 0 {
                        (Layout::Plain, Layout::Plain)
                    } else {
                        (*dice.pick(&LAYOUTS), *dice.pick(&LAYOUTS))
                    };
                    let a = laid_out(&sa, la, &mut |s| random(&mut dice, s, dtype));
                    let make = if divides { nonzero } else { random };
                    let b = laid_out(&sb, lb, &mut |s| make(&mut dice, s, dtype));
                    let what = format!("{name} {dtype} {sa} {la:?} with {sb} {lb:?}");
                    check(&what, dtype, refuses, *slack, &f(&a, &b), &mut failures);
                    count += 1;
                }
            }
        }
    }
    report(count, &failures);
}

/// Two types: the result has the promoted one.
#[test]
fn mixed_types() {
    let mut dice = Dice::new(seed() + 2);
    let (mut count, mut failures) = (0, Vec::new());
    for a in TYPES {
        for b in TYPES {
            for (sa, sb) in [([4, 3], vec![3]), ([4, 3], vec![]), ([1, 1], vec![5, 1])] {
                let x = random(&mut dice, &Shape::from(sa), a);
                let y = nonzero(&mut dice, &Shape::from(sb), b);
                let results = [&x + &y, &x * &y, &x / &y, x.lt(&y), x.maximum(&y), x.where_(&x.lt(&y), &y), &x % &y];
                if let Err(why) = agree(&results.iter().collect::<Vec<_>>(), 1.0) {
                    failures.push(format!("{a} {} with {b} {}: {why}", x.shape(), y.shape()));
                }
                count += results.len();
            }
        }
    }
    report(count, &failures);
}

#[test]
fn functions_along_an_axis() {
    let mut dice = Dice::new(seed() + 3);
    let (mut count, mut failures) = (0, Vec::new());
    let filled = FILLED.iter().map(|row| (row, true));
    for ((name, slack, f, refuses), filled) in ALONG.iter().map(|row| (row, false)).chain(filled) {
        for dtype in TYPES {
            for shape in shapes().into_iter().filter(|s| s.rank() > 0 && !(filled && s.elements() == 0)) {
                for layout in layouts(&mut dice, &shape) {
                    let axis = if dice.chance(50) { -1 } else { dice.below(shape.rank()) as isize };
                    let x = laid_out(&shape, layout, &mut |s| random(&mut dice, s, dtype));
                    let what = format!("{name} {dtype} {shape} axis {axis} {layout:?}");
                    check(&what, dtype, refuses, *slack, &f(&x, axis), &mut failures);
                    count += 1;
                }
            }
        }
    }
    report(count, &failures);
}

#[test]
fn matrix_products() {
    let mut dice = Dice::new(seed() + 4);
    let (mut count, mut failures) = (0, Vec::new());
    let pairs: &[(&[usize], &[usize])] = &[
        (&[3], &[3]),
        (&[2, 3], &[3]),
        (&[3], &[3, 2]),
        (&[2, 3], &[3, 4]),
        (&[1, 1], &[1, 1]),
        (&[0, 3], &[3, 4]),
        (&[2, 0], &[0, 4]),
        (&[4, 2], &[2, 8]),
        (&[17, 33], &[33, 5]),
        (&[64, 65], &[65, 66]),
        (&[130, 70], &[70, 129]),
        (&[5, 2, 3], &[3, 4]),
        (&[5, 2, 3], &[5, 3, 4]),
        (&[2, 1, 4, 3], &[3, 3, 5]),
        (&[1, 600], &[600, 40]),
        (&[40, 600], &[600, 1]),
    ];
    for dtype in TYPES {
        for (sa, sb) in pairs.iter().map(|(a, b)| (Shape::from(*a), Shape::from(*b))) {
            for i in 0..3 {
                let side = |dice: &mut Dice, shape: &Shape| {
                    let layout = if i == 0 { Layout::Plain } else { *dice.pick(&LAYOUTS) };
                    laid_out(shape, layout, &mut |s| random(dice, s, dtype))
                };
                let (a, b) = (side(&mut dice, &sa), side(&mut dice, &sb));
                let y = a.matmul(&b);
                // Sums of products of random sign: the tolerance counts for the terms, not for what they cancel to.
                let slack = 1.0 + sa.last().map_or(0.0, |&k| (k as f64).sqrt());
                let mut results = vec![y.clone()];
                if dtype.is_float() {
                    results.extend([y.relu(), (&y * 0.5 + 1.0).tanh(), y.gelu()]);
                }
                let refuses: &[DType] = BOOL;
                check(&format!("matmul {dtype} {sa} × {sb}"), dtype, refuses, slack, &results[..1], &mut failures);
                if i == 1 && dtype.is_float() {
                    check(
                        &format!("matmul and more {dtype} {sa} × {sb}"),
                        dtype,
                        refuses,
                        3.0 * slack,
                        &results[1..],
                        &mut failures,
                    );
                }
                count += 1;
            }
        }
    }
    report(count, &failures);
}

#[test]
fn compounds_in_every_float_type() {
    let mut dice = Dice::new(seed() + 5);
    let (mut count, mut failures) = (0, Vec::new());
    for dtype in FLOATS {
        for layout in LAYOUTS {
            let mut make =
                |shape: &[usize]| laid_out(&Shape::from(shape), layout, &mut |s| random(&mut dice, s, dtype));
            let mut row = |name: &str, slack: f64, results: &[Tensor]| {
                count += 1;
                check(&format!("{name} {dtype} {layout:?}"), dtype, NONE, slack, results, &mut failures);
            };
            let (x, w, b) = (make(&[6, 5]), make(&[3, 5]), make(&[3]));
            row("linear", 4.0, &[x.linear(&w, Some(&b)), x.linear(&w, None), x.linear(&w, Some(&b)).relu()]);
            let (x, w, b) = (make(&[2, 3, 8]), make(&[8]), make(&[8]));
            let norms = [
                x.layer_norm([8], Some(&w), Some(&b), 1e-5),
                x.layer_norm([3, 8], None, None, 1e-5),
                x.layer_norm([8], Some(&w), None, 1e-5),
            ];
            row("layer_norm", 4.0, &norms);
            row("rms_norm", 4.0, &[x.rms_norm([8], Some(&w), None), x.rms_norm([3, 8], None, Some(1e-3))]);
            let (w, b) = (make(&[3]), make(&[3]));
            let options = NormOptions::new().weight(&w).bias(&b);
            row("batch_norm", 4.0, &[x.batch_norm(true, &options), x.batch_norm(true, &NormOptions::new())]);
            row("group_norm", 8.0, &[x.group_norm(3, Some(&w), Some(&b), 1e-5), x.instance_norm(true, &options)]);
            let logits = make(&[5, 7]);
            let target = Tensor::from([0i64, 6, -100, 3, 2]);
            row("cross_entropy", 1.0, &[logits.cross_entropy_rows(&target, -100)]);
            let (labels, inputs) = (Tensor::from([[1i64, 1, 2], [6, 0, 0]]), Tensor::from([5i64, 3]));
            let y = make(&[5, 2, 7]).log_softmax(-1);
            let targets = Tensor::from([3i64, 1]);
            row("ctc_loss", 2.0, &[y.ctc_losses(&labels, &inputs, &targets, 0, false)]);
            row("check", 1.0, &[y.check(&y.lt(100.0), "large"), y.check_within(-100.0, 0.0, "large")]);
            let (a, b, w) = (make(&[5, 3]), make(&[5, 2]), make(&[4, 3, 2]));
            row("bilinear", 16.0, &[a.bilinear(&b, &w, Some(&make(&[4])))]);
            row("distances", 16.0, &[a.cdist(&a.flip(1), 2.0), a.pdist(1.0), a.dist(&a.flip(0), 3.0)]);
            let axes =
                [ConvAxis { stride: 2, lo: 1, hi: 2, ..ConvAxis::PLAIN }, ConvAxis { dilation: 2, ..ConvAxis::PLAIN }];
            let (x, w) = (make(&[2, 4, 7, 6]), make(&[6, 2, 3, 2]));
            row("conv", 8.0, &[x.conv(&w, &axes, 2)]);
            let (x, w) = (make(&[2, 3, 9]), make(&[4, 3, 3]));
            let transposed = ConvAxis { input_dilation: 2, lo: 2, hi: 1, ..ConvAxis::PLAIN };
            let cut = ConvAxis { lo: -1, hi: -2, ..ConvAxis::PLAIN };
            row(
                "conv of one axis",
                8.0,
                &[x.conv(&w, &[ConvAxis::PLAIN], 1), x.conv(&w, &[transposed], 1), x.conv(&w, &[cut], 1)],
            );
            let x = make(&[2, 3, 7, 6]);
            let pooled = MaxPoolOptions::new().stride([2, 1]).padding(1).ceil_mode(true);
            let (values, places) = x.max_pool2d_with_indices([3, 2], &pooled);
            let (adapted, at) = x.adaptive_max_pool2d_with_indices([5, 4]);
            row("max_pool", 0.0, &[values, places, adapted, at]);
            let averaged = AvgPoolOptions::new().stride([2, 1]).padding(1).ceil_mode(true);
            let inside = averaged.clone().count_include_pad(false);
            let averages = [
                x.avg_pool2d([3, 2], &averaged),
                x.avg_pool2d([3, 2], &inside),
                x.adaptive_avg_pool2d([5, 4]),
                x.adaptive_avg_pool2d(1),
            ];
            row("avg_pool", 8.0, &averages);
            let (q, k, v) = (make(&[2, 5, 4]), make(&[2, 7, 4]), make(&[2, 7, 3]));
            let mask = q.matmul(&k.transpose(1, 2)).detach() * 0.25;
            let barred = mask.gt(-2.0);
            let options = |mask: Option<&Tensor>, causal: bool, length: Option<i64>| AttentionOptions {
                attn_mask: mask.cloned(),
                is_causal: causal,
                length: length.map(Tensor::from),
                ..AttentionOptions::new()
            };
            let attended = [
                q.scaled_dot_product_attention(&k, &v, &options(None, false, None)),
                q.scaled_dot_product_attention(&k, &v, &options(None, true, None)),
                q.scaled_dot_product_attention(&k, &v, &options(Some(&mask), false, None)),
                q.scaled_dot_product_attention(&k, &v, &options(Some(&barred), false, Some(6))),
                q.scaled_dot_product_attention(&k, &v, &options(None, false, Some(3))),
            ];
            row("attention", 4.0, &attended);
        }
    }
    report(count, &failures);
}

#[test]
fn random_draws() {
    let mut failures = Vec::new();
    manual_seed(seed());
    for shape in [&[][..], &[0], &[1], &[7], &[33, 5], &[1001]] {
        let shape = Shape::from(shape);
        let x = Tensor::rand(shape.clone());
        let rng = Rng::new(5);
        let mut results = vec![
            x.clone(),
            Tensor::randn(shape.clone()),
            Tensor::randint(-3, 9, shape.clone()),
            Tensor::randperm(shape.elements()),
            x.dropout(0.3),
            x.dropout(0.0),
            x.dropout(1.0),
            x.alpha_dropout(0.3),
            x.rrelu(0.1, 0.5),
        ];
        for dtype in FLOATS {
            results.push(rng.rand(shape.clone(), dtype));
            results.push(rng.randn(shape.clone(), dtype));
        }
        for (i, t) in results.iter().enumerate() {
            if let Err(why) = agree(&[t], 2.0) {
                failures.push(format!("draw {i} of {shape}: {why}"));
            }
        }
        let permutation = floats(&results[3]).unwrap();
        let mut sorted = permutation.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.iter().enumerate().all(|(i, &v)| v == i as f64), "{permutation:?} is no permutation");
    }
    report(6 * 15, &failures);
}

/// Wrong values are refused by the plan and by the interpreter alike.
#[test]
fn refused_values() {
    let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    let zeros = Tensor::from([1i64, 0]);
    let cases = [
        x.index_select(0, &Tensor::from([0i64, 2])),
        x.index_select(0, &Tensor::from([-3i64])),
        x.gather(1, &Tensor::from([[0i64, 2]])),
        x.scatter(1, &Tensor::from([[5i64]]), &x),
        x.scatter_add(0, &Tensor::from([[-3i64]]), &x),
        Tensor::from([3i64, 4]).floor_divide(&zeros),
        Tensor::from([3i64, 4]).trunc_divide(&zeros),
        Tensor::from([3i64, 4]) % &zeros,
        Tensor::from([3i64, 4]).fmod(&zeros),
        x.cross_entropy_rows(&Tensor::from([0i64, 2]), -100),
        (&x / 0.0).check_finite("quotient"),
        x.check(&x.lt(4.0), "four"),
        x.check_within(1.5, 9.0, "less"),
    ];
    for (i, t) in cases.iter().enumerate() {
        assert!(t.error().is_none(), "case {i} is refused too early");
        assert!(limpid_core::reference::evaluate(&[t]).is_err(), "the interpreter takes case {i}");
        assert!(t.to_vec::<f64>().is_err(), "the plan takes case {i}");
    }
}

/// What is evaluated when it is recorded, against loops.
#[test]
fn sizes_that_depend_on_values() {
    let mut dice = Dice::new(seed() + 6);
    for shape in [&[][..], &[0], &[1], &[9], &[4, 5], &[3, 1, 7]] {
        let shape = Shape::from(shape);
        let x = random(&mut dice, &shape, DType::I32) * 1;
        let x = x.clamp(-3, 3);
        let mask = x.gt(0);
        let values = x.to_vec::<i64>().unwrap();
        let chosen: Vec<i64> = values.iter().copied().filter(|&v| v > 0).collect();
        assert_eq!(x.masked_select(&mask).to_vec::<i64>().unwrap(), chosen);
        let mut different = values.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(x.unique().to_vec::<i64>().unwrap(), different);
        let strides = shape.strides();
        let places: Vec<i64> = (0..values.len())
            .filter(|&i| values[i] != 0)
            .flat_map(|i| (0..shape.rank()).map(|d| (i / strides[d] as usize % shape[d]) as i64).collect::<Vec<_>>())
            .collect();
        assert_eq!(x.nonzero().to_vec::<i64>().unwrap(), places);
    }
}

/// Creation, against loops.
#[test]
fn created_tensors() {
    for (start, end, step) in [(0, 5, 1), (3, -4, -2), (2, 2, 1), (-3, 9, 4), (5, 1, 1)] {
        let mut expected = Vec::new();
        let mut i = start;
        while (step > 0 && i < end) || (step < 0 && i > end) {
            expected.push(i);
            i += step;
        }
        assert_eq!(Tensor::arange(start, end, step).to_vec::<i64>().unwrap(), expected);
    }
    let eye: Vec<f32> = (0..9).map(|i| if i % 4 == 0 { 1.0 } else { 0.0 }).collect();
    assert_eq!(Tensor::eye(3).to_vec::<f32>().unwrap(), eye);
    assert_eq!(Tensor::linspace(-1.0, 1.0, 5).to_vec::<f32>().unwrap(), [-1.0, -0.5, 0.0, 0.5, 1.0]);
    for dtype in TYPES {
        let made =
            [Tensor::zeros_of([2, 3], dtype), Tensor::full_of([2, 3], 1.0, dtype), Tensor::full_of([0], 1.0, dtype)];
        made.iter().for_each(|t| {
            agree(&[t], 1.0).unwrap();
        });
        assert!(made[1].to_vec::<f64>().unwrap().iter().all(|&v| v == 1.0));
    }
    let bytes = Tensor::from([1.5f32, -2.0]).to_bytes().unwrap();
    assert_eq!(Tensor::from_bytes(&bytes, [2], DType::F32).to_vec::<f32>().unwrap(), [1.5, -2.0]);
    for (a, b) in
        [(DType::F32, DType::I32), (DType::F64, DType::I64), (DType::F16, DType::BF16), (DType::U8, DType::Bool)]
    {
        let x = Tensor::from([1.0f64, 0.0, 3.5, 100.0]).to_dtype(a);
        let back = x.view_dtype(b).view_dtype(a);
        if a != DType::U8 {
            assert_eq!(back.to_vec::<f64>().unwrap(), x.to_vec::<f64>().unwrap(), "{a} as {b}");
            agree(&[&x.view_dtype(b)], 1.0).unwrap();
        }
    }
    let square = Tensor::arange(0, 20, 1).reshape([4, 5]);
    for diagonal in -5..6 {
        agree(&[&square.tril(diagonal), &square.triu(diagonal)], 1.0).unwrap();
    }
}

/// Torch's rules at the edges of shapes: what each result's shape and values are.
#[test]
fn edges_of_shapes() -> limpid_core::Result<()> {
    let (x, row) = (Tensor::from(3.0f64), Tensor::from([1.0f64, 2.0]));
    let (zero, none) = (Tensor::from(0i64), Tensor::zeros_of([0], DType::F64));
    let pair = Tensor::from([0i64, 0]);
    let nowhere = Tensor::zeros_of([2, 0], DType::U8);
    let matrix = row.unsqueeze(0);
    let one = Tensor::from([5.0f64]);
    let cases: &[(&str, Tensor, &[usize], &[f64])] = &[
        ("gather of a scalar", x.gather(0, &zero), &[], &[3.0]),
        ("gather of a scalar, axis -1, twice", x.gather(-1, &pair), &[2], &[3.0, 3.0]),
        ("gather by a scalar", row.gather(0, &Tensor::from(-1i64)), &[], &[2.0]),
        ("gather of nothing", row.gather(0, &nowhere), &[2, 0], &[]),
        ("scatter into a scalar", x.scatter(-1, &zero, Tensor::from(4.0f64)), &[], &[4.0]),
        ("scatter_add into a scalar", x.scatter_add(0, &pair, &row), &[], &[6.0]),
        ("scatter_add of nothing", row.scatter_add(0, &nowhere, &matrix), &[2], &[1.0, 2.0]),
        ("index_select of a scalar", x.index_select(0, &Tensor::from([0i64])), &[], &[3.0]),
        ("transpose of a scalar", x.transpose(0, -1), &[], &[3.0]),
        ("flip of a scalar", x.flip(-1), &[], &[3.0]),
        ("unfold of a scalar", x.unfold(0, 1, 1), &[1], &[3.0]),
        ("empty windows of a scalar", x.unfold(0, 0, 1), &[0], &[]),
        ("flatten of a scalar", x.flatten_range(0, -1), &[1], &[3.0]),
        ("cumsum of a scalar", x.cumsum(0), &[], &[3.0]),
        ("cummax of a scalar", x.cummax(-1).0, &[], &[3.0]),
        ("sort of a scalar", x.sort(0, true).0, &[], &[3.0]),
        ("topk of a scalar", x.topk(1, 0).0, &[], &[3.0]),
        ("index_along of a scalar", x.index_along(0).to_dtype(DType::F64), &[], &[0.0]),
        ("cat skips [0]", Tensor::cat(&[&none, &matrix, &none, &matrix], 0), &[2, 2], &[1.0, 2.0, 1.0, 2.0]),
        ("cat of [0] alone", Tensor::cat(&[&none, &none], 0), &[0], &[]),
        ("cat keeps the type of [0]", Tensor::cat(&[&none, &Tensor::from([[1i64]])], 1), &[1, 1], &[1.0]),
        ("squeeze of a scalar", x.squeeze(-1), &[], &[3.0]),
        ("squeeze of all", matrix.unsqueeze(0).squeeze(..), &[2], &[1.0, 2.0]),
        ("squeeze of some", matrix.unsqueeze(0).squeeze([-1, 0]), &[1, 2], &[1.0, 2.0]),
        ("pad that cuts", row.pad(0, -1, 1, 9.0), &[2], &[2.0, 9.0]),
        ("pad that cuts all", row.pad(0, -1, -1, 9.0), &[0], &[]),
        ("pad that replaces all", row.pad(0, 1, -2, 9.0), &[1], &[9.0]),
        ("roll_flat", Tensor::stack(&[&row, &row.square()], 1).roll_flat(-1), &[2, 2], &[1.0, 2.0, 4.0, 1.0]),
        ("roll_flat of a scalar", x.roll_flat(1), &[], &[3.0]),
        ("split_with_sizes", row.split_with_sizes(&[0, 2, 0], 0).swap_remove(1), &[2], &[1.0, 2.0]),
        ("split_with_sizes, empty end", row.split_with_sizes(&[2, 0], 0).swap_remove(1), &[0], &[]),
        ("round_decimals", Tensor::from([0.125f64, -2.675]).round_decimals(2), &[2], &[0.12, -2.68]),
        ("round_decimals before the point", Tensor::from([25.0f64, 34.0]).round_decimals(-1), &[2], &[20.0, 30.0]),
        ("softplus_with", row.softplus_with(1.0, 1.5), &[2], &[1f64.exp().ln_1p(), 2.0]),
        ("linear to a scalar", row.linear(&row, Some(&x)), &[], &[8.0]),
        ("linear of rows to a column", matrix.linear(&row, None), &[1], &[5.0]),
        ("linear with one output", row.linear(&matrix, Some(&one)), &[1], &[10.0]),
    ];
    for (name, y, shape, values) in cases {
        assert_eq!((&y.shape()[..], y.to_vec::<f64>()?), (*shape, values.to_vec()), "{name}");
    }
    let refused: &[(&str, Tensor)] = &[
        ("axis 1 of a scalar", x.gather(1, &zero)),
        ("axis -2 of a scalar", x.transpose(0, -2)),
        ("axis 1 of a scalar's running sum", x.cumsum(1)),
        ("two of a scalar", x.topk(2, 0).0),
        ("several of a scalar", x.index_select(0, &pair)),
        ("a window of two on a scalar", x.unfold(0, 2, 1)),
        ("squeeze of axis 1 of a scalar", x.squeeze(1)),
        ("pad that cuts too much", row.pad(0, -2, -1, 0.0)),
        ("split_with_sizes that do not fill", row.split_with_sizes(&[1], 0).swap_remove(0)),
        ("split_with_sizes that overflow", row.split_with_sizes(&[3, usize::MAX], 0).swap_remove(0)),
        ("cat of other ranks", Tensor::cat(&[&row, &matrix], 0)),
        ("a bias per output without outputs", row.linear(&row, Some(&one))),
    ];
    for (name, y) in refused {
        assert!(y.error().is_some(), "{name}");
    }
    Ok(())
}

#[test]
fn running_extrema_name_their_places() -> limpid_core::Result<()> {
    let nan = f64::NAN;
    let cases: &[(&[f64], &[i64], &[i64])] = &[
        (&[1.0, 1.0, 0.0, 2.0], &[0, 1, 1, 3], &[0, 1, 2, 2]),
        (&[2.0, nan, 3.0, nan, 1.0], &[0, 1, 1, 3, 3], &[0, 1, 1, 3, 3]),
        (&[], &[], &[]),
    ];
    for &(x, largest, smallest) in cases {
        let x = Tensor::from(x.to_vec());
        assert_eq!(x.cummax(0).1.to_vec::<i64>()?, largest, "{x}");
        assert_eq!(x.cummin(0).1.to_vec::<i64>()?, smallest, "{x}");
    }
    Ok(())
}

/// Each way to leave axes out says what the stretched inputs say.
#[test]
fn attention_broadcasts_batches() -> limpid_core::Result<()> {
    let mut dice = Dice::new(seed() + 31);
    let mut draw = |shape: &[usize]| {
        Tensor::from((0..shape.iter().product()).map(|_| dice.unit()).collect::<Vec<_>>()).view(Shape::from(shape))
    };
    let cases: &[[&[usize]; 4]] = &[
        [&[4, 3, 8], &[2, 4, 6, 8], &[2, 4, 6, 5], &[2, 4]],
        [&[2, 1, 3, 8], &[4, 6, 8], &[6, 5], &[2, 4]],
        [&[3, 8], &[0, 6, 8], &[0, 6, 5], &[0]],
    ];
    for [q, k, v, batch] in cases {
        let inputs = [draw(q), draw(k), draw(v)];
        let wide =
            inputs.each_ref().map(|t| t.expand_to(&batch.iter().chain(&t.shape()[t.rank() - 2..]).copied().collect()));
        let options = AttentionOptions::new().is_causal(true);
        let y = inputs[0].scaled_dot_product_attention(&inputs[1], &inputs[2], &options);
        let expected = wide[0].scaled_dot_product_attention(&wide[1], &wide[2], &options);
        assert_eq!(y.shape(), expected.shape());
        assert_eq!(y.to_vec::<f64>()?, expected.to_vec::<f64>()?, "{q:?} {k:?} {v:?}");
    }
    let misfit = draw(&[2, 3, 8]).scaled_dot_product_attention(
        &draw(&[3, 6, 8]),
        &draw(&[3, 6, 5]),
        &AttentionOptions::default(),
    );
    assert!(misfit.error().is_some());
    Ok(())
}

/// The names of torch.scatter_reduce, by hand: self counts as one of the elements.
#[test]
fn scatter_reduce_combines_by_name() -> limpid_core::Result<()> {
    let (x, index) = (Tensor::from([2i64, -3, 4]), Tensor::from([0i64, 0, -1]));
    let source = Tensor::from([5i64, -7, 4]);
    let cases = [("sum", [0, -3, 8]), ("prod", [-70, -3, 16]), ("amax", [5, -3, 4]), ("amin", [-7, -3, 4])];
    for (reduce, expected) in cases {
        assert_eq!(x.scatter_reduce(0, &index, &source, reduce, true).to_vec::<i64>()?, expected, "{reduce}");
    }
    let error = x.scatter_reduce(0, &index, &source, "max", true).to_vec::<i64>().unwrap_err();
    assert_eq!(error.what(), "scatter_reduce: \"max\" is no reduction");
    Ok(())
}

/// Bits that leave the type are lost, the sign stays, as in torch.
#[test]
fn shifts_keep_the_type() -> limpid_core::Result<()> {
    let x = Tensor::from([1i64, -3, i64::MIN]);
    assert_eq!((&x << 4).to_vec::<i64>()?, [16, -48, 0]);
    assert_eq!((&x >> 1).to_vec::<i64>()?, [0, -2, i64::MIN / 2]);
    assert_eq!((2i64 << &Tensor::from([0i64, 3, 64])).to_vec::<i64>()?, [2, 16, 0]);
    let bytes = Tensor::from([0x81i64]).to_dtype(DType::U8);
    assert_eq!((&bytes << 1).to_vec::<u8>()?, [0x02]);
    assert_eq!((bytes >> 1).to_vec::<u8>()?, [0x40]);
    let error = (Tensor::from([1.0f32]) << 1).to_vec::<f32>().unwrap_err();
    assert_eq!(error.what(), "bitwise_left_shift: not defined for f32");
    Ok(())
}
