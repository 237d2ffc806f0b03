//! Curves as inline SVG.

use std::fmt::Write;

use crate::html::escape;
use crate::report::Curve;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
/// Room for the labels: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (56.0, 12.0, 12.0, 34.0);

/// Curves over the epochs in one picture; numbers that are not finite leave a gap.
pub(crate) fn chart(title: &str, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|curve| curve.points.iter().copied()).filter(finite);
    let Some((x, y)) = range(points().map(|p| p.0)).zip(range(points().map(|p| p.1))) else {
        return format!("<p>{}: nothing was measured.</p>", escape(title));
    };
    let place = |p: (f64, f64)| {
        let across = MARGIN.0 + (p.0 - x.0) / (x.1 - x.0) * (WIDTH - MARGIN.0 - MARGIN.2);
        let down = MARGIN.1 + (y.1 - p.1) / (y.1 - y.0) * (HEIGHT - MARGIN.1 - MARGIN.3);
        (across, down)
    };
    let mut out = format!(
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">",
        title = escape(title)
    );
    for step in 0..=4 {
        let along = f64::from(step) / 4.0;
        let (value, epoch) = (y.0 + along * (y.1 - y.0), x.0 + along * (x.1 - x.0));
        let ((_, down), (across, _)) = (place((x.0, value)), place((epoch, y.0)));
        let (left, right) = (MARGIN.0, WIDTH - MARGIN.2);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{down:.1}\" y2=\"{down:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            left - 6.0,
            down + 4.0,
            short(value),
            HEIGHT - MARGIN.3 + 18.0,
            short(epoch)
        );
    }
    for (number, curve) in curves.iter().enumerate() {
        for piece in curve.points.split(|p| !finite(p)).filter(|piece| !piece.is_empty()) {
            let path: Vec<String> = piece.iter().map(|&p| place(p)).map(|(a, d)| format!("{a:.1},{d:.1}")).collect();
            // A single point has no line; a round cap makes it a dot.
            let path = if path.len() == 1 { format!("{0} {0}", path[0]) } else { path.join(" ") };
            let _ = write!(out, "<polyline class=\"c{}\" points=\"{path}\"/>", number % 4);
        }
    }
    out.push_str("</svg><p class=\"legend\">");
    for (number, curve) in curves.iter().enumerate() {
        let _ = write!(out, "<span class=\"c{}\">{}</span> ", number % 4, escape(&curve.name));
    }
    out.push_str("over epochs</p></figure>");
    out
}

fn finite(p: &(f64, f64)) -> bool {
    p.0.is_finite() && p.1.is_finite()
}

/// Least and largest number, never equal; `None` without numbers.
fn range(numbers: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low > high {
        return None;
    }
    // Room around a flat line, however large or small its height.
    let room = if low == high { (low.abs() * 0.5).max(0.5) } else { 0.0 };
    Some((low - room, high + room))
}

/// A number in at most about five characters.
fn short(x: f64) -> String {
    let size = x.abs();
    if size != 0.0 && !(1e-3..1e5).contains(&size) {
        return format!("{x:.1e}");
    }
    let text = format!(
        "{x:.*}",
        if size >= 100.0 {
            0
        } else if size >= 10.0 {
            1
        } else {
            3
        }
    );
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::{Curve, chart, short};

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.5, 12.34, 1234.5, 1e-6, 2e7].map(short);
        assert_eq!(texts, ["0", "0.5", "12.3", "1234", "1.0e-6", "2.0e7"]);
    }

    #[test]
    fn a_gap_splits_a_curve_and_no_coordinate_is_nan() {
        let curve = |points: &[(f64, f64)]| chart("loss", &[Curve { name: "a".into(), points: points.to_vec() }]);
        let gap = curve(&[(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)]);
        assert_eq!(gap.matches("<polyline").count(), 2);
        for picture in [gap, curve(&[(1.0, 5.0)]), curve(&[(1.0, 0.0), (2.0, 0.0)])] {
            assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        }
        assert_eq!(curve(&[(1.0, f64::INFINITY)]), "<p>loss: nothing was measured.</p>");
    }
}
