//! Special functions against numbers of 40 digits (mpmath 1.3), at the places where their formulas change.

// Digits of constants stand as they were computed.
#![allow(clippy::approx_constant)]

use limpid_core::{DType, Tensor};

type One = fn(&Tensor) -> Tensor;

/// A function, a place, the value there.
const VALUES: &[(&str, One, f64, f64)] = &[
    ("lgamma", |x| x.lgamma(), 1e-05, 11.512919692895826),
    ("lgamma", |x| x.lgamma(), 0.5, 0.5723649429247001),
    ("lgamma", |x| x.lgamma(), 0.999, 0.0005780385328913802),
    ("lgamma", |x| x.lgamma(), 1.001, -0.0005763935982833062),
    ("lgamma", |x| x.lgamma(), 1.4616, -0.12148629003589732),
    ("lgamma", |x| x.lgamma(), 2.001, 0.000423106734800117),
    ("lgamma", |x| x.lgamma(), 2.9, 0.6028696102493114),
    ("lgamma", |x| x.lgamma(), 3.5, 1.2009736023470743),
    ("lgamma", |x| x.lgamma(), 7.9, 8.32426586800881),
    ("lgamma", |x| x.lgamma(), 8.1, 8.72738826343204),
    ("lgamma", |x| x.lgamma(), 100.0, 359.1342053695754),
    ("lgamma", |x| x.lgamma(), 1000000.0, 12815504.569147611),
    ("lgamma", |x| x.lgamma(), -0.5, 1.2655121234846454),
    ("lgamma", |x| x.lgamma(), -1.5, 0.860047015376481),
    ("lgamma", |x| x.lgamma(), -7.25, -7.54188344347575),
    ("lgamma", |x| x.lgamma(), -30.75, -75.73940730906097),
    ("digamma", |x| x.digamma(), 0.001, -1000.5755719318103),
    ("digamma", |x| x.digamma(), 0.5, -1.9635100260214235),
    ("digamma", |x| x.digamma(), 1.0, -0.5772156649015329),
    ("digamma", |x| x.digamma(), 1.4616, -3.110625123034165e-05),
    ("digamma", |x| x.digamma(), 3.0, 0.9227843350984671),
    ("digamma", |x| x.digamma(), 50.0, 3.901989673427892),
    ("digamma", |x| x.digamma(), 1000000.0, 13.815510057964191),
    ("digamma", |x| x.digamma(), -0.5, 0.03648997397857652),
    ("digamma", |x| x.digamma(), -2.25, 4.158583564657972),
    ("digamma", |x| x.digamma(), -9.9, -7.32663757284758),
    ("trigamma", |x| x.polygamma(1), 0.1, 101.43329915079275),
    ("trigamma", |x| x.polygamma(1), 1.0, 1.6449340668482264),
    ("trigamma", |x| x.polygamma(1), 5.5, 0.19934238698962767),
    ("trigamma", |x| x.polygamma(1), 80.0, 0.012578450510661943),
    ("trigamma", |x| x.polygamma(1), -0.5, 8.934802200544679),
    ("trigamma", |x| x.polygamma(1), -3.25, 19.474085068082154),
    ("polygamma 4", |x| x.polygamma(4), 0.3, -9883.46855549699),
    ("polygamma 4", |x| x.polygamma(4), 1.0, -24.88626612344088),
    ("polygamma 4", |x| x.polygamma(4), 12.0, -0.0003409100507010894),
    ("polygamma 4", |x| x.polygamma(4), -1.75, -24481.777338295888),
    ("erfinv", |x| x.erfinv(), 1e-10, 8.862269254527581e-11),
    ("erfinv", |x| x.erfinv(), 0.1, 0.08885599049425769),
    ("erfinv", |x| x.erfinv(), 0.5, 0.4769362762044699),
    ("erfinv", |x| x.erfinv(), 0.9, 1.1630871536766743),
    ("erfinv", |x| x.erfinv(), 0.999, 2.3267537655135246),
    ("erfinv", |x| x.erfinv(), 0.9999999, 3.7665625816384707),
    ("erfinv", |x| x.erfinv(), 0.9999999999999991, 5.686128441310391),
    ("erfinv", |x| x.erfinv(), -0.3, -0.2724627147267543),
    ("erfcx", |x| x.erfcx(), 0.0, 1.0),
    ("erfcx", |x| x.erfcx(), 0.5, 0.6156903441929259),
    ("erfcx", |x| x.erfcx(), 1.0, 0.427583576155807),
    ("erfcx", |x| x.erfcx(), 5.0, 0.11070463773306863),
    ("erfcx", |x| x.erfcx(), 26.0, 0.021683584850562907),
    ("erfcx", |x| x.erfcx(), -3.0, 16205.988853999586),
    ("erfcx", |x| x.erfcx(), 100000000.0, 5.641895835477562e-09),
    ("erfc", |x| x.erfc(), -2.0, 1.9953222650189528),
    ("erfc", |x| x.erfc(), 0.4, 0.5716076449533315),
    ("erfc", |x| x.erfc(), 0.6, 0.3961439091520741),
    ("erfc", |x| x.erfc(), 3.0, 2.209049699858544e-05),
    ("erfc", |x| x.erfc(), 10.0, 2.088487583762545e-45),
    ("erfc", |x| x.erfc(), 26.0, 5.663192408856143e-296),
    ("ndtri", |x| x.ndtri(), 1e-30, -11.464024688443377),
    ("ndtri", |x| x.ndtri(), 1e-10, -6.361340902404057),
    ("ndtri", |x| x.ndtri(), 0.01, -2.326347874040841),
    ("ndtri", |x| x.ndtri(), 0.3, -0.5244005127080408),
    ("ndtri", |x| x.ndtri(), 0.5000001, 2.506628273311648e-07),
    ("ndtri", |x| x.ndtri(), 0.9, 1.2815515655446006),
    ("log_ndtr", |x| x.log_ndtr(), -30.0, -454.3212439563432),
    ("log_ndtr", |x| x.log_ndtr(), -5.0, -15.064998393988725),
    ("log_ndtr", |x| x.log_ndtr(), -1.1, -1.997558846986297),
    ("log_ndtr", |x| x.log_ndtr(), -0.9, -1.6924928065613383),
    ("log_ndtr", |x| x.log_ndtr(), 0.0, -0.6931471805599453),
    ("log_ndtr", |x| x.log_ndtr(), 2.0, -0.02301290932896349),
    ("log_ndtr", |x| x.log_ndtr(), 8.0, -6.220960574271786e-16),
    ("ndtr", |x| x.ndtr(), -10.0, 7.619853024160525e-24),
    ("ndtr", |x| x.ndtr(), -1.0, 0.15865525393145705),
    ("ndtr", |x| x.ndtr(), 0.0, 0.5),
    ("ndtr", |x| x.ndtr(), 3.0, 0.9986501019683699),
    ("i0", |x| x.i0(), 0.0, 1.0),
    ("i0", |x| x.i0(), 1.0, 1.2660658777520084),
    ("i0", |x| x.i0(), 7.9, 389.406283282158),
    ("i0", |x| x.i0(), 8.1, 469.5006067101215),
    ("i0", |x| x.i0(), 100.0, 1.0737517071310738e+42),
    ("i0", |x| x.i0(), -3.0, 4.8807925858650245),
    ("i0e", |x| x.i0e(), 0.1, 0.9071009257823011),
    ("i0e", |x| x.i0e(), 7.9, 0.14436986414104191),
    ("i0e", |x| x.i0e(), 8.1, 0.14251180948829528),
    ("i0e", |x| x.i0e(), 700.0, 0.015081295651531358),
    ("i1", |x| x.i1(), 1e-09, 5e-10),
    ("i1", |x| x.i1(), 1.0, 0.565159103992485),
    ("i1", |x| x.i1(), 7.9, 363.8539440845084),
    ("i1", |x| x.i1(), 8.1, 439.48430891035844),
    ("i1", |x| x.i1(), -20.0, -42454973.38512777),
    ("i1e", |x| x.i1e(), -0.5, -0.1564208031848717),
    ("i1e", |x| x.i1e(), 7.9, 0.13489649943989376),
    ("i1e", |x| x.i1e(), 9.0, 0.1272249839358912),
    ("i1e", |x| x.i1e(), 500.0, 0.017827851852898056),
    ("atan", |x| x.atan(), 1e-09, 1e-09),
    ("atan", |x| x.atan(), 0.3, 0.2914567944778671),
    ("atan", |x| x.atan(), 0.5, 0.4636476090008061),
    ("atan", |x| x.atan(), 0.99, 0.7803730800666359),
    ("atan", |x| x.atan(), 1.01, 0.7903732467283023),
    ("atan", |x| x.atan(), 3.0, 1.2490457723982544),
    ("atan", |x| x.atan(), 1000000000000.0, 1.5707963267938967),
    ("atan", |x| x.atan(), -2.0, -1.1071487177940904),
    ("asin", |x| x.asin(), 1e-09, 1e-09),
    ("asin", |x| x.asin(), 0.3, 0.3046926540153975),
    ("asin", |x| x.asin(), 0.9, 1.1197695149986342),
    ("asin", |x| x.asin(), 1.0, 1.5707963267948966),
    ("asin", |x| x.asin(), -0.7, -0.775397496610753),
    ("acos", |x| x.acos(), 0.999999999999, 1.4141979198683931e-06),
    ("acos", |x| x.acos(), 0.5, 1.0471975511965979),
    ("acos", |x| x.acos(), 0.0, 1.5707963267948966),
    ("acos", |x| x.acos(), -0.9, 2.6905658417935308),
    ("acos", |x| x.acos(), -1.0, 3.141592653589793),
    ("acosh", |x| x.acosh(), 1.0000000001, 1.4142136208675862e-05),
    ("acosh", |x| x.acosh(), 1.5, 0.9624236501192069),
    ("acosh", |x| x.acosh(), 20.0, 3.6882538673612966),
    ("acosh", |x| x.acosh(), 1e+200, 461.2101657793691),
    ("asinh", |x| x.asinh(), 1e-09, 1e-09),
    ("asinh", |x| x.asinh(), 0.5, 0.48121182505960347),
    ("asinh", |x| x.asinh(), 20.0, 3.6895038689889055),
    ("asinh", |x| x.asinh(), -1e+200, -461.2101657793691),
    ("atanh", |x| x.atanh(), 1e-09, 1e-09),
    ("atanh", |x| x.atanh(), 0.5, 0.5493061443340549),
    ("atanh", |x| x.atanh(), -0.999, -3.8002011672501994),
    ("sinh", |x| x.sinh(), 1e-09, 1e-09),
    ("sinh", |x| x.sinh(), 1.0, 1.1752011936438014),
    ("sinh", |x| x.sinh(), -20.0, -242582597.70489514),
    ("sinh", |x| x.sinh(), 710.2, 1.3643036845527107e+308),
    ("cosh", |x| x.cosh(), 1e-09, 1.0),
    ("cosh", |x| x.cosh(), 3.0, 10.067661995777765),
    ("cosh", |x| x.cosh(), 710.2, 1.3643036845527107e+308),
    ("sinc", |x| x.sinc(), 0.0001, 0.9999999835506594),
    ("sinc", |x| x.sinc(), 0.5, 0.6366197723675814),
    ("sinc", |x| x.sinc(), 2.5, 0.12732395447351627),
    ("sinc", |x| x.sinc(), 100.25, 0.0022451778457783195),
];

#[test]
fn special_functions_have_their_values() {
    let mut failures = Vec::new();
    for &(name, f, x, expected) in VALUES {
        for (dtype, relative, absolute) in [(DType::F64, 4e-14, 1e-15), (DType::F32, 1.2e-7, 1e-12)] {
            // In f32 where the place is one of its numbers.
            if dtype == DType::F32 && f64::from(x as f32) != x {
                continue;
            }
            let y = f(&Tensor::from(x).to_dtype(dtype)).item().expect("a number");
            let expected = if dtype == DType::F32 { f64::from(expected as f32) } else { expected };
            if y != expected
                && (y - expected).abs().is_nan() | ((y - expected).abs() > relative * expected.abs() + absolute)
            {
                failures.push(format!("{name}({x:e}) in {dtype} is {y:e}, not {expected:e}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Where functions have no value, or an infinite one, as torch says.
#[test]
fn special_functions_at_the_edges() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let cases: &[(&str, One, f64, f64)] = &[
        ("lgamma of a pole", Tensor::lgamma, -3.0, inf),
        ("lgamma of -inf", Tensor::lgamma, -inf, inf),
        ("lgamma of inf", Tensor::lgamma, inf, inf),
        ("digamma of 0", Tensor::digamma, 0.0, -inf),
        ("digamma of -0", Tensor::digamma, -0.0, inf),
        ("digamma of a pole", Tensor::digamma, -11.0, nan),
        ("erfinv of 1", Tensor::erfinv, 1.0, inf),
        ("erfinv of -1", Tensor::erfinv, -1.0, -inf),
        ("erfinv outside", Tensor::erfinv, 1.5, nan),
        ("ndtri of 0", Tensor::ndtri, 0.0, -inf),
        ("erfcx of inf", Tensor::erfcx, inf, 0.0),
        ("log_ndtr of -inf", Tensor::log_ndtr, -inf, -inf),
        ("atan of -inf", Tensor::atan, -inf, -std::f64::consts::FRAC_PI_2),
        ("asin outside", Tensor::asin, 1.1, nan),
        ("acosh outside", Tensor::acosh, 0.5, nan),
        ("atanh of 1", Tensor::atanh, 1.0, inf),
        ("sinh of inf", Tensor::sinh, inf, inf),
        ("sinc of a whole number", Tensor::sinc, 7.0, 0.0),
        ("entr of 0", Tensor::entr, 0.0, 0.0),
        ("entr below 0", Tensor::entr, -1.0, -inf),
        ("i0e of inf", Tensor::i0e, inf, 0.0),
        ("atan2(0, -0)", |x| x.atan2(-0.0), 0.0, std::f64::consts::PI),
        ("atan2(-0, -1)", |x| x.atan2(-1.0), -0.0, -std::f64::consts::PI),
        ("hypot overflows late", |x| x.hypot(4e300), 3e300, 5e300),
        ("hypot(inf, nan)", |x| x.hypot(f64::NAN), inf, inf),
        ("logaddexp(-inf, -inf)", |x| x.logaddexp(f64::NEG_INFINITY), -inf, -inf),
        ("xlogy(0, 0)", |x| x.xlogy(0.0), 0.0, 0.0),
        ("xlogy(0, nan)", |x| x.xlogy(f64::NAN), 0.0, nan),
        ("fmax(nan, 1)", |x| x.fmax(1.0), nan, 1.0),
        ("copysign(nan)", |x| x.copysign(-1.0), 2.0, -2.0),
    ];
    for &(name, f, x, expected) in cases {
        let y = f(&Tensor::from(x)).item().expect("a number");
        assert!(
            y == expected || (y.is_nan() && expected.is_nan()) || (y - expected).abs() < 1e-14 * expected.abs(),
            "{name}: {y}"
        );
    }
}
