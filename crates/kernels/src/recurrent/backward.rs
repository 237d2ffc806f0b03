//! The loop back: gradients from what the loop forward has saved.

use super::{Kind, Layer, Rows, Scalar};
use crate::Cpu;
use crate::dot::Panels;
use crate::dtype::DType;
use crate::isa::{Arch, Job, dispatch};
use crate::parts::Shared;
use crate::slice::{Slice, SliceMut};

/// What was saved, the weights, and the gradients that arrive; sizes as in [`super::Inputs`] and [`super::Outputs`].
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// The gates (LSTM, GRU).
    pub gates: Option<Slice<'a>>,
    /// c of all steps (LSTM), the third block of W·h + b (GRU).
    pub second: Option<Slice<'a>>,
    /// h of all steps (RNN, GRU).
    pub y: Option<Slice<'a>>,
    /// The first c (LSTM) or h (GRU).
    pub first: Option<Slice<'a>>,
    /// The weights of the state.
    pub w: Slice<'a>,
    /// The gradient of h of all steps.
    pub dy: Slice<'a>,
    /// The gradient of the last h.
    pub dh: Slice<'a>,
    /// The gradient of the last c (LSTM).
    pub dc: Option<Slice<'a>>,
    /// The projection.
    pub projection: Option<Slice<'a>>,
    /// The length of each sequence.
    pub lengths: Option<Slice<'a>>,
}

/// The gradients that are computed.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// Of the part of the input, `[steps, batch, G·H]`.
    pub x: SliceMut<'a>,
    /// Of the first h, `[batch, R]`.
    pub h: SliceMut<'a>,
    /// Of the first c of an LSTM, `[batch, H]`.
    pub c: Option<SliceMut<'a>>,
    /// Of W·h + b in all steps of a GRU, `[steps, batch, G·H]`.
    pub inner: Option<SliceMut<'a>>,
    /// Of h behind the projection in all steps, `[steps, batch, R]`.
    pub projected: Option<SliceMut<'a>>,
}

/// Runs the layer back.
///
/// # Panics
/// When lengths or types do not fit each other, or the type is neither f32 nor f64.
pub fn backward(cpu: &Cpu, layer: &Layer, saved: &Saved, gradients: Gradients) {
    match saved.dy.dtype() {
        DType::F32 => typed::<f32>(cpu, layer, saved, gradients),
        DType::F64 => typed::<f64>(cpu, layer, saved, gradients),
        other => panic!("a recurrent layer of {other}"),
    }
}

struct Loop<'a, T> {
    layer: Layer,
    cpu: &'a Cpu,
    gates: &'a [T],
    second: &'a [T],
    y: &'a [T],
    first: &'a [T],
    w: Panels<T>,
    dy: &'a [T],
    dh: &'a [T],
    dc: &'a [T],
    projection: Option<Panels<T>>,
    lengths: Option<&'a [i64]>,
}

struct Written<'a, T> {
    x: Shared<'a, T>,
    h: Shared<'a, T>,
    c: Option<Shared<'a, T>>,
    inner: Option<Shared<'a, T>>,
    projected: Option<Shared<'a, T>>,
}

fn typed<T: Scalar>(cpu: &Cpu, layer: &Layer, saved: &Saved, mut gradients: Gradients) {
    let Layer { kind, batch, hidden, state, .. } = *layer;
    let width = kind.gates() * hidden;
    if batch == 0 {
        return;
    }
    fn all<'a, T: Scalar>(x: Option<Slice<'a>>) -> &'a [T] {
        x.map_or(&[][..], |x| x.get())
    }
    let run = Loop {
        layer: *layer,
        cpu,
        gates: all(saved.gates),
        second: all(saved.second),
        y: all(saved.y),
        first: all(saved.first),
        w: T::pack(cpu.isa, saved.w.get(), width, state, false),
        dy: saved.dy.get(),
        dh: saved.dh.get(),
        dc: all(saved.dc),
        projection: saved.projection.map(|w| T::pack(cpu.isa, w.get(), state, hidden, false)),
        lengths: saved.lengths.map(|l| l.get()),
    };
    let written = Written {
        x: Shared::new(gradients.x.get::<T>()),
        h: Shared::new(gradients.h.get()),
        c: gradients.c.as_mut().map(|c| Shared::new(c.get())),
        inner: gradients.inner.as_mut().map(|g| Shared::new(g.get())),
        projected: gradients.projected.as_mut().map(|g| Shared::new(g.get())),
    };
    let rows = layer.rows(cpu, &run.w);
    cpu.pool.run(batch.div_ceil(rows), &|task| {
        let first = task * rows;
        run.rows(&written, first, rows.min(batch - first));
    });
}

impl<T: Scalar> Loop<'_, T> {
    /// Takes `count` sequences from `first` on through all steps, last to first.
    fn rows(&self, written: &Written<T>, first: usize, count: usize) {
        let Layer { kind, steps, batch, hidden, state, .. } = self.layer;
        let width = kind.gates() * hidden;
        let lstm = kind == Kind::Lstm;
        let zeros = |there: bool, size: usize| vec![T::default(); if there { count * size } else { 0 }];
        let mut dh = self.dh[first * state..][..count * state].to_vec();
        let mut scratch = Vec::new();
        let mut next = zeros(true, state);
        let mut dc = if lstm { self.dc[first * hidden..][..count * hidden].to_vec() } else { Vec::new() };
        let mut whole = zeros(self.projection.is_some(), hidden);
        let begin = if self.first.is_empty() { self.first } else { &self.first[first * hidden..][..count * hidden] };
        for i in (0..steps).rev() {
            let step = self.layer.step(i);
            let rows = Rows { lengths: self.lengths.map(|l| &l[first..][..count]), step };
            let at = step * batch + first;
            // SAFETY: tasks have different rows.
            let (dx, inner, projected) = unsafe {
                (
                    written.x.range(at * width, count * width),
                    written.inner.as_ref().map(|g| g.range(at * width, count * width)),
                    written.projected.as_ref().map(|g| g.range(at * state, count * state)),
                )
            };
            if rows.none() {
                [Some(dx), inner, projected].into_iter().flatten().for_each(|out| out.fill(T::default()));
                continue;
            }
            arrive(rows, state, &self.dy[at * state..][..count * state], &mut dh, &mut next);
            let dy: &[T] = match &self.projection {
                Some(projection) => {
                    if let Some(out) = projected {
                        out.copy_from_slice(&dh);
                        (0..count)
                            .filter(|&i| !rows.active(i))
                            .for_each(|i| out[i * state..][..state].fill(T::default()));
                    }
                    whole.fill(T::default());
                    T::add_product(count, &dh, projection, &mut whole, &mut scratch);
                    &whole
                }
                None => &dh,
            };
            // The states before this step: those behind the step that ran before it.
            let before = (i > 0).then(|| self.layer.step(i - 1));
            let of_old = before.map(|step| (step * batch + first) * hidden..(step * batch + first + count) * hidden);
            match kind {
                Kind::Tanh | Kind::Relu => {
                    let y = &self.y[at * hidden..][..count * hidden];
                    dispatch(self.cpu.isa, Elman { rows, relu: kind == Kind::Relu, hidden, y, dy, dx });
                }
                Kind::Lstm => {
                    let job = Lstm {
                        rows,
                        before: before.map(|step| Rows { step, ..rows }),
                        hidden,
                        gates: &self.gates[at * width..][..count * width],
                        cells: &self.second[at * hidden..][..count * hidden],
                        old: of_old.map(|range| &self.second[range]),
                        first: begin,
                        dy,
                        dc: &mut dc,
                        dx,
                    };
                    dispatch(self.cpu.isa, job);
                }
                Kind::Gru => {
                    let job = Gru {
                        rows,
                        before: before.map(|step| Rows { step, ..rows }),
                        hidden,
                        gates: &self.gates[at * width..][..count * width],
                        kept: &self.second[at * hidden..][..count * hidden],
                        old: of_old.map(|range| &self.y[range]),
                        first: begin,
                        dy,
                        dx,
                        inner: inner.expect("a GRU has it"),
                        next: &mut next,
                    };
                    dispatch(self.cpu.isa, job);
                }
            }
            // SAFETY: tasks have different rows, and no other reference to these is used from here on.
            let by = unsafe {
                match &written.inner {
                    Some(inner) => inner.range(at * width, count * width),
                    None => written.x.range(at * width, count * width),
                }
            };
            T::add_product(count, by, &self.w, &mut next, &mut scratch);
            std::mem::swap(&mut dh, &mut next);
        }
        // SAFETY: tasks have different rows.
        unsafe {
            written.h.range(first * state, count * state).copy_from_slice(&dh);
            if let Some(out) = &written.c {
                out.range(first * hidden, count * hidden).copy_from_slice(&dc);
            }
        }
    }
}

/// Adds the gradient of a step's h to that of the states behind it. `next`, to which products are added, begins with 0,
/// or in rows without such a step with the gradient that waits for their end.
fn arrive<T: Scalar>(rows: Rows, state: usize, dy: &[T], dh: &mut [T], next: &mut [T]) {
    if rows.lengths.is_none() {
        dh.iter_mut().zip(dy).for_each(|(dh, &dy)| *dh = *dh + dy);
        return next.fill(T::default());
    }
    for i in 0..dh.len().checked_div(state).unwrap_or(0) {
        let (dh, next) = (&mut dh[i * state..][..state], &mut next[i * state..][..state]);
        if rows.active(i) {
            dh.iter_mut().zip(&dy[i * state..][..state]).for_each(|(dh, &dy)| *dh = *dh + dy);
            next.fill(T::default());
        } else {
            next.copy_from_slice(dh);
        }
    }
}

struct Elman<'a, T> {
    rows: Rows<'a>,
    relu: bool,
    hidden: usize,
    y: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
}

impl<T: Scalar> Job for Elman<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Elman { rows, relu, hidden, y, dy, dx } = self;
        if hidden == 0 {
            return;
        }
        for (i, dx) in dx.chunks_exact_mut(hidden).enumerate() {
            let (y, dy) = (&y[i * hidden..][..hidden], &dy[i * hidden..][..hidden]);
            if !rows.active(i) {
                dx.fill(T::default());
            } else if relu {
                for j in 0..hidden {
                    dx[j] = if y[j] > T::default() { dy[j] } else { T::default() };
                }
            } else {
                for j in 0..hidden {
                    dx[j] = dy[j] * (T::ONE - y[j] * y[j]);
                }
            }
        }
    }
}

/// Row `i` of the states before a step: of the first ones, where the sequence begins here.
#[inline(always)]
fn old_row<'a, T>(old: Option<&'a [T]>, before: Option<Rows>, first: &'a [T], i: usize, hidden: usize) -> &'a [T] {
    match (old, before) {
        (Some(old), Some(before)) if before.active(i) => &old[i * hidden..][..hidden],
        _ => &first[i * hidden..][..hidden],
    }
}

struct Lstm<'a, T> {
    rows: Rows<'a>,
    before: Option<Rows<'a>>,
    hidden: usize,
    gates: &'a [T],
    cells: &'a [T],
    old: Option<&'a [T]>,
    first: &'a [T],
    dy: &'a [T],
    dc: &'a mut [T],
    dx: &'a mut [T],
}

impl<T: Scalar> Job for Lstm<'_, T> {
    type Out = ();

    /// do = dy·tanh c; dc += dy·o·(1 - tanh² c); di = dc·g; df = dc·c₋₁; dg = dc·i, each times the slope of its
    /// function; dc₋₁ = dc·f.
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Lstm { rows, before, hidden, gates, cells, old, first, dy, dc, dx } = self;
        if hidden == 0 {
            return;
        }
        for (i, dx) in dx.chunks_exact_mut(4 * hidden).enumerate() {
            if !rows.active(i) {
                dx.fill(T::default());
                continue;
            }
            let gates = &gates[i * 4 * hidden..][..4 * hidden];
            let (entry, rest) = gates.split_at(hidden);
            let (forget, rest) = rest.split_at(hidden);
            let (new, exit) = rest.split_at(hidden);
            let exit = &exit[..hidden];
            let (d_entry, rest) = dx.split_at_mut(hidden);
            let (d_forget, rest) = rest.split_at_mut(hidden);
            let (d_new, d_exit) = rest.split_at_mut(hidden);
            let d_exit = &mut d_exit[..hidden];
            let (cells, dy) = (&cells[i * hidden..][..hidden], &dy[i * hidden..][..hidden]);
            let old = &old_row(old, before, first, i, hidden)[..hidden];
            let dc = &mut dc[i * hidden..][..hidden];
            for j in 0..hidden {
                let (i, f, g, o) = (entry[j], forget[j], new[j], exit[j]);
                let c = cells[j].tanh::<A>();
                let slope = dc[j] + dy[j] * o * (T::ONE - c * c);
                d_entry[j] = slope * g * (i * (T::ONE - i));
                d_forget[j] = slope * old[j] * (f * (T::ONE - f));
                d_new[j] = slope * i * (T::ONE - g * g);
                d_exit[j] = dy[j] * c * (o * (T::ONE - o));
                dc[j] = slope * f;
            }
        }
    }
}

struct Gru<'a, T> {
    rows: Rows<'a>,
    before: Option<Rows<'a>>,
    hidden: usize,
    gates: &'a [T],
    kept: &'a [T],
    old: Option<&'a [T]>,
    first: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
    inner: &'a mut [T],
    next: &'a mut [T],
}

impl<T: Scalar> Job for Gru<'_, T> {
    type Out = ();

    /// dn = dy·(1 - z)·(1 - n²); dz = dy·(h₋₁ - n)·z(1 - z); dr = dn·(W·h + b)·r(1 - r); dh₋₁ = dy·z + …
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Gru { rows, before, hidden, gates, kept, old, first, dy, dx, inner, next } = self;
        if hidden == 0 {
            return;
        }
        for (i, dx) in dx.chunks_exact_mut(3 * hidden).enumerate() {
            let inner = &mut inner[i * 3 * hidden..][..3 * hidden];
            if !rows.active(i) {
                dx.fill(T::default());
                inner.fill(T::default());
                continue;
            }
            let gates = &gates[i * 3 * hidden..][..3 * hidden];
            let (reset, rest) = gates.split_at(hidden);
            let (update, new) = rest.split_at(hidden);
            let new = &new[..hidden];
            let (kept, dy) = (&kept[i * hidden..][..hidden], &dy[i * hidden..][..hidden]);
            let old = &old_row(old, before, first, i, hidden)[..hidden];
            let next = &mut next[i * hidden..][..hidden];
            let (d_reset, rest) = dx.split_at_mut(hidden);
            let (d_update, d_new) = rest.split_at_mut(hidden);
            let d_new = &mut d_new[..hidden];
            for j in 0..hidden {
                let (r, z, n) = (reset[j], update[j], new[j]);
                let slope = dy[j] * (T::ONE - z) * (T::ONE - n * n);
                d_new[j] = slope;
                d_update[j] = dy[j] * (old[j] - n) * (z * (T::ONE - z));
                d_reset[j] = slope * kept[j] * (r * (T::ONE - r));
                next[j] = dy[j] * z;
            }
            inner[..hidden].copy_from_slice(d_reset);
            inner[hidden..2 * hidden].copy_from_slice(d_update);
            let d_inner = &mut inner[2 * hidden..][..hidden];
            for j in 0..hidden {
                d_inner[j] = d_new[j] * reset[j];
            }
        }
    }
}
