//! The report of a run: one offline page with the curves, the confusion matrix and the model's table.

use std::fmt::Write;

use crate::html::escape;
use crate::svg::chart;

/// Numbers over the epochs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// What it shows: `training`.
    pub name: String,
    /// Epoch and value, in order of the epochs.
    pub points: Vec<(f64, f64)>,
}

/// How often each class (row) was taken for each (column).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    /// Names of the classes.
    pub classes: Vec<String>,
    /// `classes.len()` rows of as many counts.
    pub counts: Vec<Vec<u64>>,
}

/// A line of the model's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Its path: `layers.0`.
    pub path: String,
    /// What it is: `Linear 64→512`.
    pub kind: String,
    /// The shape of what it gives.
    pub output: String,
    /// How many numbers are trained in it.
    pub parameters: usize,
}

/// What the page shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The name of the run.
    pub title: String,
    /// Facts: a name and a value each.
    pub facts: Vec<(String, String)>,
    /// Pictures: a title and its curves each.
    pub charts: Vec<(String, Vec<Curve>)>,
    /// The confusion matrix, where there are classes.
    pub matrix: Option<Matrix>,
    /// The model, layer by layer.
    pub layers: Vec<Layer>,
    /// The configuration of the run, as its file has it.
    pub configuration: String,
}

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1d2330;--paper:#fff;--line:#d8dde6;--soft:#667085;--c0:#2563eb;--c1:#d9480f;--c2:#2f9e44;--c3:#9c36b5}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--paper:#14171d;--line:#343b48;--soft:#98a2b3;--c0:#6ea8fe;--c1:#ff922b;--c2:#69db7c;--c3:#da77f2}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:56rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}figure{margin:1.5rem 0}figcaption{font-weight:600}
svg{width:100%;height:auto}svg text{fill:var(--soft);font-size:11px}.grid{stroke:var(--line)}
polyline{fill:none;stroke-width:2;stroke-linecap:round}.legend{color:var(--soft)}
polyline.c0{stroke:var(--c0)}polyline.c1{stroke:var(--c1)}polyline.c2{stroke:var(--c2)}polyline.c3{stroke:var(--c3)}
span.c0{color:var(--c0)}span.c1{color:var(--c1)}span.c2{color:var(--c2)}span.c3{color:var(--c3)}
.scroll{overflow-x:auto}.cell{text-align:center}pre{background:color-mix(in srgb,var(--line) 35%,transparent);padding:1rem;overflow-x:auto}
";

impl Report {
    /// The page.
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title>\
             <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n<table>"
        );
        for (name, value) in &self.facts {
            let _ = write!(out, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
        }
        out.push_str("</table>\n");
        for (title, curves) in &self.charts {
            out.push_str(&chart(title, curves));
            out.push('\n');
        }
        if let Some(matrix) = &self.matrix {
            out.push_str(&matrix.html());
        }
        out.push_str(&self.model());
        let _ = write!(out, "<h2>Configuration</h2>\n<pre>{}</pre>\n</body></html>\n", escape(&self.configuration));
        out
    }

    fn model(&self) -> String {
        let mut out = "<h2>Model</h2>\n<div class=\"scroll\"><table><tr><th>path</th><th>layer</th><th>output</th>\
                       <th class=\"n\">parameters</th></tr>"
            .to_owned();
        for layer in &self.layers {
            let _ = write!(
                out,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
                escape(&layer.path),
                escape(&layer.kind),
                escape(&layer.output),
                layer.parameters
            );
        }
        let total: usize = self.layers.iter().map(|layer| layer.parameters).sum();
        let _ = writeln!(out, "<tr><th colspan=\"3\">all</th><td class=\"n\">{total}</td></tr></table></div>");
        out
    }
}

impl Matrix {
    fn html(&self) -> String {
        let mut out = "<h2>Confusion matrix</h2>\n<p>A row is the true class, a column what it was taken for.</p>\n\
                       <div class=\"scroll\"><table><tr><th></th>"
            .to_owned();
        for class in &self.classes {
            let _ = write!(out, "<th class=\"cell\">{}</th>", escape(class));
        }
        out.push_str("</tr>");
        for (truth, (class, row)) in self.classes.iter().zip(&self.counts).enumerate() {
            let _ = write!(out, "<tr><th>{}</th>", escape(class));
            let total = row.iter().sum::<u64>().max(1);
            for (predicted, &count) in row.iter().enumerate() {
                let strength = 70.0 * count as f64 / total as f64;
                let color = if truth == predicted { "--c2" } else { "--c1" };
                let _ = write!(
                    out,
                    "<td class=\"cell\" style=\"background:color-mix(in srgb,var({color}) {strength:.0}%,transparent)\">{count}</td>"
                );
            }
            out.push_str("</tr>");
        }
        out.push_str("</table></div>\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Curve, Layer, Matrix, Report};

    #[test]
    fn the_page_has_everything_and_needs_nothing_from_elsewhere() {
        let report = Report {
            title: "digits <1>".into(),
            facts: vec![("accuracy".into(), "98.1 %".into())],
            charts: vec![(
                "loss".into(),
                vec![Curve { name: "training".into(), points: vec![(1.0, 2.0), (2.0, 1.0)] }],
            )],
            matrix: Some(Matrix { classes: vec!["a".into(), "b".into()], counts: vec![vec![7, 1], vec![0, 8]] }),
            layers: vec![Layer {
                path: "layers.0".into(),
                kind: "Linear".into(),
                output: "[N, 2]".into(),
                parameters: 130,
            }],
            configuration: "seed = 7".into(),
        };
        let page = report.html();
        for part in ["digits &lt;1&gt;", "98.1 %", "<polyline", ">7</td>", "layers.0", "130", "seed = 7", "dark"] {
            assert!(page.contains(part), "{part}");
        }
        for elsewhere in ["http", "<script", "@import", "url("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }
}
