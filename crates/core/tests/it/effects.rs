//! Random programs of assignments, reads, snapshots and failures, against a model that does all at once.

use std::sync::Arc;

use limpid_core::{Cell, DType, Tensor, gradients, settle};

use crate::support::{Dice, seed};

const SIZE: usize = 6;

/// A cell, what a read of it gives, and what it keeps when the assignments that wait are dropped.
struct Modelled {
    cell: Arc<Cell>,
    now: Vec<f64>,
    settled: Vec<f64>,
    /// Whether an assignment waits.
    waits: bool,
}

struct Program {
    dice: Dice,
    cells: Vec<Modelled>,
    /// Recorded values and what they are.
    held: Vec<(Tensor, Vec<f64>)>,
    log: Vec<String>,
}

impl Program {
    fn new(seed: u64) -> Program {
        let mut dice = Dice::new(seed);
        let cells = (0..1 + dice.below(3))
            .map(|i| {
                let values: Vec<f64> = (0..SIZE).map(|_| dice.unit()).collect();
                let cell = Cell::new(&Tensor::from_slice(&values, [SIZE]), i % 2 == 0);
                Modelled { cell, now: values.clone(), settled: values, waits: false }
            })
            .collect();
        Program { dice, cells, held: Vec::new(), log: Vec::new() }
    }

    fn cell(&mut self) -> usize {
        self.dice.below(self.cells.len())
    }

    /// A new value from a cell and perhaps a held one.
    fn expression(&mut self) -> (Tensor, Vec<f64>) {
        let (a, b) = (self.cell(), self.cell());
        let k = (self.dice.unit() * 4.0).round() / 4.0;
        let (x, y) = (self.cells[a].cell.tensor(), self.cells[b].cell.tensor());
        let pair = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            self.cells[a].now.iter().zip(&self.cells[b].now).map(|(&x, &y)| f(x, y)).collect()
        };
        match self.dice.below(5) {
            0 => (&x * k, pair(&|x, _| x * k)),
            1 => ((&x + &y) * 0.5, pair(&|x, y| (x + y) * 0.5)),
            2 => (x.flip(0), self.cells[a].now.iter().rev().copied().collect()),
            3 if !self.held.is_empty() => {
                let (t, v) = self.dice.pick(&self.held).clone();
                ((&x - &t) * 0.5, self.cells[a].now.iter().zip(&v).map(|(x, t)| (x - t) * 0.5).collect())
            }
            _ => (x.abs() - &y * 0.25, pair(&|x, y| x.abs() - y * 0.25)),
        }
    }

    /// After a plan has run, what waited has happened.
    fn ran(&mut self) {
        for c in &mut self.cells {
            c.settled = c.now.clone();
            c.waits = false;
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let kind = self.dice.below(10);
        match kind {
            0 | 1 => {
                let pair = self.expression();
                self.held.push(pair);
            }
            2..=4 => {
                let (t, v) = self.expression();
                let at = self.cell();
                self.cells[at].cell.assign(&t);
                self.cells[at].now = v;
                self.cells[at].waits = true;
                self.log.push(format!("assign {at}"));
            }
            5 => {
                let (at, start) = (self.cell(), self.dice.below(SIZE - 1));
                let part = [self.dice.unit(), self.dice.unit()];
                // Making a leaf runs nothing.
                self.cells[at].cell.write_at(0, start, &Tensor::from_slice(&part, [2]));
                self.cells[at].now[start..start + 2].copy_from_slice(&part);
                self.cells[at].waits = true;
                self.log.push(format!("write {at} at {start}"));
            }
            6 | 7 if !self.held.is_empty() => {
                let i = self.dice.below(self.held.len());
                let (t, v) = self.held[i].clone();
                self.log.push(format!("read held {i}"));
                let waiting = t.eval();
                waiting.map_err(|e| e.to_string())?;
                self.ran();
                expect("a held value", &t, &v)?;
            }
            8 => {
                let at = self.cell();
                self.log.push(format!("snapshot {at}"));
                let t = self.cells[at].cell.value().map_err(|e| e.to_string())?;
                let v = self.cells[at].now.clone();
                // Settling a cell runs all that waits, unless nothing waits for this one.
                if self.cells[at].waits {
                    self.ran();
                }
                self.held.push((t, v));
            }
            9 => {
                let at = self.cell();
                self.log.push("a plan that fails".to_owned());
                let wrong = self.cells[at].cell.tensor().index_select(0, &Tensor::from([SIZE as i64 + 1]));
                if wrong.eval().is_ok() {
                    return Err("an index out of range is taken".to_owned());
                }
                for c in &mut self.cells {
                    c.now = c.settled.clone();
                    c.waits = false;
                }
            }
            _ => {
                let at = self.cell();
                let leaf = self.cells[at].cell.tensor();
                if leaf.requires_grad() {
                    let loss = leaf.square().sum(..);
                    let slope = gradients(&loss, &[&leaf]).map_err(|e| e.to_string())?[0].clone().expect("it is used");
                    self.held.push((slope, self.cells[at].now.iter().map(|x| 2.0 * x).collect()));
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        for (i, c) in self.cells.iter().enumerate() {
            let t = Tensor::from_vec(c.cell.to_vec::<f64>().map_err(|e| e.to_string())?, [SIZE]);
            expect(&format!("cell {i}"), &t, &c.now)?;
        }
        self.held.iter().enumerate().try_for_each(|(i, (t, v))| expect(&format!("held {i}"), t, v))
    }
}

fn expect(what: &str, t: &Tensor, v: &[f64]) -> Result<(), String> {
    let values = t.to_vec::<f64>().map_err(|e| format!("{what}: {e}"))?;
    let near = values.iter().zip(v).all(|(a, b)| (a - b).abs() < 1e-12);
    if near && t.dtype() == DType::F64 { Ok(()) } else { Err(format!("{what} is {values:?}, expected {v:?}")) }
}

/// Runs the program of `seed`.
pub fn check(seed: u64) -> Result<(), String> {
    let mut program = Program::new(seed);
    let steps = 3 + program.dice.below(40);
    let result = (0..steps).try_for_each(|_| program.step()).and_then(|()| program.end());
    result.map_err(|why| format!("seed {seed}: {why}\n  after {}", program.log.join(", ")))
}

#[test]
fn random_programs_of_assignments() {
    let failures: Vec<String> = (0..600).filter_map(|i| check(seed() + 2_000_000 + i).err()).collect();
    let shown = failures.len().min(5);
    assert!(failures.is_empty(), "{} of 600 programs:\n{}", failures.len(), failures[..shown].join("\n"));
}

/// Values that were recorded before a plan failed, beside what failed: each gives the error, and nothing else fails.
#[test]
fn what_shares_a_refused_value_carries_its_error_too() {
    let cell = Cell::new(&Tensor::from([1.0f32, 2.0, 3.0]), true);
    let refused = cell.tensor().index_select(0, &Tensor::from([0i64, 7]));
    let (first, second, third) = (&refused + 1.0, &refused * 2.0, refused.exp());
    let beside = cell.tensor() * 3.0;
    let error = first.to_vec::<f32>().unwrap_err().to_string();
    assert!(error.contains('7'), "{error}");
    let slope = gradients(&second.sum(..), &[&cell.tensor()]).unwrap_err().to_string();
    assert_eq!(slope, error);
    assert_eq!(second.to_vec::<f32>().unwrap_err().to_string(), error);
    assert_eq!(beside.to_vec::<f32>().unwrap(), [3.0, 6.0, 9.0]);
    // A held tensor that can not be computed does not keep a step from being made.
    cell.assign(&(cell.tensor() + 1.0));
    settle().unwrap();
    assert_eq!(cell.tensor().to_vec::<f32>().unwrap(), [2.0, 3.0, 4.0]);
    assert_eq!(third.to_vec::<f32>().unwrap_err().to_string(), error);
    assert_eq!((third + 1.0).to_vec::<f32>().unwrap_err().to_string(), error);
}
