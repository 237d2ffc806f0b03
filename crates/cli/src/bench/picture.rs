//! The picture of `limpid bench --scaling`: for each series its time and its memory over the size, on logarithmic axes.

use std::fmt::Write;

use super::scaling::Curve;

const PANEL: (f64, f64) = (270.0, 210.0);
/// Room around a panel: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (58.0, 30.0, 14.0, 44.0);
const MEASURED: &str = "#1f5fa8";
const EXPECTED: &str = "#c0561a";

/// An SVG file: a row of panels for time, a row for memory; what was measured as dots with a line, and dashed what theory
/// says, through the last dot.
pub fn picture(curves: &[[Curve; 2]]) -> String {
    let cell = (PANEL.0 + MARGIN.0 + MARGIN.2, PANEL.1 + MARGIN.1 + MARGIN.3);
    let (width, height) = (cell.0 * curves.len() as f64, cell.1 * 2.0 + 30.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (column, pair) in curves.iter().enumerate() {
        for (row, curve) in pair.iter().enumerate() {
            let _ = writeln!(svg, "<g transform=\"translate({} {})\">", cell.0 * column as f64, cell.1 * row as f64);
            panel(&mut svg, curve);
            svg.push_str("</g>\n");
        }
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\"><tspan fill=\"{MEASURED}\">●—● measured</tspan>  \
         <tspan fill=\"{EXPECTED}\">- - - theory, through the last point</tspan></text>\n</svg>",
        MARGIN.0,
        height - 10.0
    );
    svg
}

fn panel(svg: &mut String, curve: &Curve) {
    let Some(last) = curve.points.last() else { return };
    let factor = last.1 / curve.expected.last().copied().unwrap_or(1.0);
    let expected: Vec<(f64, f64)> = curve.points.iter().zip(&curve.expected).map(|(p, e)| (p.0, e * factor)).collect();
    let all = || curve.points.iter().chain(&expected).copied();
    let (x, y) = (Axis::over(all().map(|p| p.0)), Axis::over(all().map(|p| p.1)));
    let place = |p: (f64, f64)| {
        let (left, top) = (MARGIN.0 + x.along(p.0) * PANEL.0, MARGIN.1 + (1.0 - y.along(p.1)) * PANEL.1);
        format!("{left:.1},{top:.1}")
    };
    let (measured, theory) = curve.slopes();
    let _ = writeln!(svg, "<text x=\"{}\" y=\"18\" font-weight=\"bold\">{}</text>", MARGIN.0, curve.title);
    let right = MARGIN.0 + PANEL.0;
    if curve.points.len() > 1 {
        let text = format!("slope {measured:.2}, theory {theory:.2}");
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{text}</text>",
            right - 4.0,
            MARGIN.1 + PANEL.1 - 8.0
        );
    }
    for tick in y.decades() {
        let down = MARGIN.1 + (1.0 - y.along(tick)) * PANEL.1;
        let _ = writeln!(
            svg,
            "<line x1=\"{}\" x2=\"{right}\" y1=\"{down:.1}\" y2=\"{down:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            MARGIN.0,
            MARGIN.0 - 6.0,
            down + 4.0
        );
    }
    for &(value, _) in &curve.points {
        let across = MARGIN.0 + x.along(value) * PANEL.0;
        let _ = writeln!(
            svg,
            "<text x=\"{across:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
            MARGIN.1 + PANEL.1 + 16.0
        );
    }
    let (middle, bottom) = (MARGIN.0 + PANEL.0 / 2.0, MARGIN.1 + PANEL.1 + 34.0);
    let _ = writeln!(svg, "<text x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">{}</text>", curve.axis);
    let (across, down) = (14.0, MARGIN.1 + PANEL.1 / 2.0);
    let _ = writeln!(
        svg,
        "<text x=\"{across}\" y=\"{down}\" text-anchor=\"middle\" transform=\"rotate(-90 {across} {down})\">{}</text>",
        curve.unit
    );
    let _ = writeln!(
        svg,
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#888\"/>",
        MARGIN.0, MARGIN.1, PANEL.0, PANEL.1
    );
    let line = |points: &[(f64, f64)]| points.iter().map(|&p| place(p)).collect::<Vec<_>>().join(" ");
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{EXPECTED}\" stroke-dasharray=\"5 4\"/>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"{MEASURED}\" stroke-width=\"2\"/>",
        line(&expected),
        line(&curve.points)
    );
    for &point in &curve.points {
        let at = place(point);
        let (left, top) = at.split_once(',').expect("two numbers");
        let _ = writeln!(svg, "<circle cx=\"{left}\" cy=\"{top}\" r=\"3.5\" fill=\"{MEASURED}\"/>");
    }
}

/// A logarithmic axis.
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    /// Over all of `values`, with a little room.
    fn over(values: impl Iterator<Item = f64>) -> Axis {
        let (from, to) = values.fold((f64::INFINITY, 1e-9f64), |(from, to), v| (from.min(v.max(1e-9)), to.max(v)));
        Axis { from: from.min(to).log10() - 0.08, to: to.log10() + 0.08 }
    }

    /// Where a value stands, from 0 to 1.
    fn along(&self, value: f64) -> f64 {
        (value.max(1e-9).log10() - self.from) / (self.to - self.from)
    }

    /// Round numbers on it: 1, 2 and 5 of each decade.
    fn decades(&self) -> Vec<f64> {
        let exponents = self.from.floor() as i32..=self.to.ceil() as i32;
        // Small numbers as they are written, not as products.
        let ticks = exponents.flat_map(|e| [1, 2, 5].map(|n| format!("{n}e{e}").parse::<f64>().unwrap_or(1.0)));
        let inside: Vec<f64> = ticks.filter(|t| (0.0..=1.0).contains(&self.along(*t))).collect();
        let every = inside.len().div_ceil(8).max(1);
        inside.into_iter().step_by(every).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_theory_goes_through_the_last_point() {
        let curve = |unit| Curve {
            title: "net: time".to_owned(),
            axis: "batch",
            unit,
            points: vec![(1.0, 3.0), (10.0, 20.0)],
            expected: vec![1.0, 10.0],
        };
        let svg = picture(&[[curve("ms"), curve("MB")]]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!((svg.matches("<g ").count(), svg.matches("</g>").count()), (2, 2));
        let lines: Vec<&str> = svg.lines().filter(|line| line.starts_with("<polyline")).collect();
        let last = |line: &str| line.split('"').nth(1).unwrap().rsplit(' ').next().unwrap().to_owned();
        assert_eq!(last(lines[0]), last(lines[1]));
        for part in [">batch<", ">ms<", ">MB<", "slope 0.82, theory 1.00", ">10<"] {
            assert!(svg.contains(part), "{part} is not in\n{svg}");
        }
        // Without points there is nothing to draw, and one point has no slope.
        let one = Curve { points: vec![(1.0, 0.0)], expected: vec![1.0], ..curve("ms") };
        assert!(!picture(&[[one, Curve { points: vec![], expected: vec![], ..curve("MB") }]]).contains("NaN"));
    }
}
