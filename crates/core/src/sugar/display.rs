//! Printing tensors as torch does, shortened.

use std::fmt;

use limpid_kernels::{DType, Number, Slice};

use crate::tensor::{Tensor, numbers};

/// More elements than this are shortened to the first and last few of each axis.
const THRESHOLD: usize = 1000;
/// How many are shown at either end then.
const EDGE: usize = 3;
const PRECISION: usize = 4;
const LINE: usize = 80;

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buffer = match self.buffer() {
            Ok(buffer) => buffer,
            Err(error) => return write!(f, "tensor(error: {error})"),
        };
        let all: Vec<Number> = numbers(Slice::new(self.dtype(), buffer.bytes())).collect();
        let printer = Printer::new(self, &all);
        let mut out = String::from("tensor(");
        printer.axis(&mut out, 0, 0, "tensor(".len());
        if self.numel() == 0 && self.rank() != 1 {
            out += &format!(", size={}", self.shape());
        }
        if !matches!(self.dtype(), DType::F32 | DType::I64 | DType::Bool) {
            out += &format!(", dtype={}", self.dtype());
        }
        f.write_str(&out)?;
        f.write_str(")")
    }
}

impl fmt::Debug for Tensor {
    /// Shape and type, without computing anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {})", self.dtype(), self.shape())
    }
}

struct Printer<'a> {
    shape: &'a [usize],
    strides: Vec<usize>,
    texts: Vec<Option<String>>,
    short: bool,
    width: usize,
}

impl<'a> Printer<'a> {
    fn new(tensor: &'a Tensor, all: &[Number]) -> Printer<'a> {
        let shape = &tensor.shape()[..];
        let short = tensor.numel() > THRESHOLD;
        let strides: Vec<usize> = tensor.shape().strides().iter().map(|&s| s as usize).collect();
        let shown = |mut flat: usize| {
            shape.iter().zip(&strides).all(|(&size, &stride)| {
                let at = flat / stride;
                flat %= stride;
                !short || size <= 2 * EDGE || at < EDGE || at >= size - EDGE
            })
        };
        let visible: Vec<(usize, Number)> = all.iter().copied().enumerate().filter(|(i, _)| shown(*i)).collect();
        let style = Style::of(tensor.dtype(), visible.iter().map(|(_, n)| n));
        let mut texts = vec![None; all.len()];
        let mut width = 0;
        for (i, n) in visible {
            let text = style.text(tensor.dtype(), n);
            width = width.max(text.chars().count());
            texts[i] = Some(text);
        }
        Printer { shape, strides, texts, short, width }
    }

    fn axis(&self, out: &mut String, axis: usize, flat: usize, indent: usize) {
        let Some(&size) = self.shape.get(axis) else {
            *out += self.texts[flat].as_deref().unwrap_or_default();
            return;
        };
        out.push('[');
        let last = axis + 1 == self.shape.len();
        let hidden = self.short && size > 2 * EDGE;
        let places: Vec<usize> =
            if hidden { (0..EDGE).chain(size - EDGE..size).collect() } else { (0..size).collect() };
        let per_line = ((LINE.saturating_sub(indent + 1)) / (self.width + 2)).max(1);
        for (i, &at) in places.iter().enumerate() {
            if i > 0 {
                out.push(',');
                if last && i % per_line != 0 {
                    out.push(' ');
                } else {
                    let lines = if last { 1 } else { self.shape.len() - axis - 1 };
                    *out += &"\n".repeat(lines);
                    *out += &" ".repeat(indent + 1);
                }
            }
            if hidden && i == EDGE {
                *out += if last { "..., " } else { "...," };
                if !last {
                    *out += &"\n".repeat(self.shape.len() - axis - 1);
                    *out += &" ".repeat(indent + 1);
                }
            }
            if last {
                let text = self.texts[flat + at * self.strides[axis]].as_deref().unwrap_or_default();
                *out += &format!("{text:>width$}", width = self.width);
            } else {
                self.axis(out, axis + 1, flat + at * self.strides[axis], indent + 1);
            }
        }
        out.push(']');
    }
}

/// How the numbers of one tensor are written, as torch decides it: whole numbers with a point only,
/// others with four digits, and with an exponent when they are far apart.
enum Style {
    Plain,
    Whole,
    Fixed,
    Scientific,
}

impl Style {
    fn of<'n>(dtype: DType, numbers: impl Iterator<Item = &'n Number>) -> Style {
        if !dtype.is_float() {
            return Style::Plain;
        }
        let finite: Vec<f64> = numbers.map(|n| n.as_f64().abs()).filter(|v| v.is_finite() && *v != 0.0).collect();
        let (min, max) = finite.iter().fold((f64::INFINITY, 0.0f64), |(lo, hi), &v| (lo.min(v), hi.max(v)));
        let whole = finite.iter().all(|v| v.fract() == 0.0);
        if finite.is_empty() || (whole && max <= 1e8 && max / min <= 1000.0) {
            Style::Whole
        } else if max / min > 1000.0 || max > 1e8 || (!whole && min < 1e-4) {
            Style::Scientific
        } else if whole {
            Style::Whole
        } else {
            Style::Fixed
        }
    }

    fn text(&self, dtype: DType, n: Number) -> String {
        let v = n.as_f64();
        match self {
            Style::Plain if dtype == DType::Bool => if v != 0.0 { "true" } else { "false" }.to_owned(),
            Style::Plain => n.as_i64().to_string(),
            _ if v.is_nan() => "nan".to_owned(),
            _ if v.is_infinite() => if v > 0.0 { "inf" } else { "-inf" }.to_owned(),
            Style::Whole => format!("{v:.0}."),
            Style::Fixed => format!("{v:.PRECISION$}"),
            Style::Scientific => {
                let text = format!("{v:.PRECISION$e}");
                let (mantissa, exponent) = text.split_once('e').expect("an exponent");
                let exponent: i32 = exponent.parse().expect("a number");
                format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
            }
        }
    }
}
