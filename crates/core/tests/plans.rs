//! Programs and what becomes of them, as pages to read: `tests/plans/*.md`.
//!
//! A page holds prose and blocks ```` ```stages of NAME ````, whose text is what the program NAME below does at these
//! stages. `UPDATE_PLANS=1 cargo test -p limpid-core --test plans` writes the blocks anew; read the difference before you
//! keep it.

use std::fs;
use std::path::Path;

use limpid_core::{Cell, Result, Tensor, gradients, loop_over, no_grad, origin, shown};

fn image() -> Tensor {
    Tensor::from_vec((0..32).map(|i| i as f32 / 10.0).collect(), [8, 4])
}

fn weights() -> (Tensor, Tensor) {
    (Tensor::from_vec((0..12).map(|i| i as f32 - 6.0).collect(), [3, 4]), Tensor::from([0.5f32, -0.5, 1.0]))
}

fn layer() -> Result<()> {
    let (x, (w, b)) = (image(), weights());
    let _module = origin::enter("head".into(), "Linear 4→3".into(), None, std::panic::Location::caller());
    x.linear(&w, Some(&b)).relu().eval()
}

fn gelu() -> Result<()> {
    image().gelu().sum(..).eval()
}

fn transposed() -> Result<()> {
    (image().t().reshape([8, 4]) + 1.0).eval()
}

fn training() -> Result<()> {
    let (x, [w, b]) = (image(), <[Tensor; 2]>::from(weights()).map(|init| Cell::new(&init, true)));
    w.set_label("weight");
    b.set_label("bias");
    let leaves = [w.tensor(), b.tensor()];
    let loss = x.linear(&leaves[0], Some(&leaves[1])).square().mean(..);
    let grads = gradients(&loss, &[&leaves[0], &leaves[1]])?;
    for ((cell, leaf), grad) in [&w, &b].into_iter().zip(&leaves).zip(grads) {
        cell.assign(&(leaf - grad.expect("the loss reaches it") * 0.1));
    }
    loss.eval()
}

fn recurrent() -> Result<()> {
    let (x, h) = (image(), Tensor::zeros([4]));
    let (_, all) = loop_over(&[h], &[x], |carry, step| {
        let h = (&carry[0] * 0.5 + &step[0]).tanh();
        (vec![h.clone()], vec![h])
    });
    no_grad(|| all[0].eval())
}

type Program = fn() -> Result<()>;

const PROGRAMS: &[(&str, Program)] =
    &[("layer", layer), ("gelu", gelu), ("transposed", transposed), ("training", training), ("recurrent", recurrent)];

/// The page with every block written anew.
fn renewed(page: &str) -> String {
    let mut out = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let Some((stages, name)) = line.strip_prefix("```").and_then(|l| l.split_once(" of ")) else { continue };
        let program = PROGRAMS.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no program {name}")).1;
        let stages: Vec<&str> = stages.split(',').collect();
        let (text, done) = shown(&stages, program);
        done.unwrap_or_else(|e| panic!("{name}: {e}"));
        // Several evaluations may print: the last one is the program's own.
        let last = text.rfind(&format!("── {}", stages[0])).map_or(text.as_str(), |at| &text[at..]);
        out.push_str(last.trim_end());
        out.push_str("\n```\n");
        lines.by_ref().take_while(|l| *l != "```").for_each(drop);
    }
    out
}

#[test]
fn the_pages_show_what_happens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut pages: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    pages.sort();
    assert!(!pages.is_empty());
    for path in pages {
        let page = fs::read_to_string(&path).unwrap();
        let new = renewed(&page);
        if std::env::var_os("UPDATE_PLANS").is_some() {
            fs::write(&path, new).unwrap();
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy();
        for (i, (old, new)) in page.lines().zip(new.lines()).enumerate() {
            assert_eq!(old, new, "{name} line {}: UPDATE_PLANS=1 writes it anew", i + 1);
        }
        assert_eq!(page.lines().count(), new.lines().count(), "{name}");
    }
}
