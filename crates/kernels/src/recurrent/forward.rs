//! The loop forward.

use super::{Kind, Layer, Rows, Scalar};
use crate::Cpu;
use crate::dot::Panels;
use crate::dtype::{DType, Element};
use crate::isa::{Arch, Job, dispatch};
use crate::parts::Shared;
use crate::slice::{Slice, SliceMut};

/// What a layer reads. G is the number of gates, H their size, R that of the state; all of one type, f32 or f64, and
/// contiguous.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The part of the input in all steps, `[steps, batch, G·H]`.
    pub x: Slice<'a>,
    /// The weights of the state, `[G·H, R]`.
    pub w: Slice<'a>,
    /// The first h, `[batch, R]`.
    pub h: Slice<'a>,
    /// The first c of an LSTM, `[batch, H]`.
    pub c: Option<Slice<'a>>,
    /// What is added to W·h in a GRU, `[G·H]`.
    pub bias: Option<Slice<'a>>,
    /// The projection of an LSTM, `[R, H]`.
    pub projection: Option<Slice<'a>>,
    /// The length of each sequence, i64 `[batch]`.
    pub lengths: Option<Slice<'a>>,
}

/// What a layer writes.
#[derive(Debug)]
pub struct Outputs<'a> {
    /// h of all steps, `[steps, batch, R]`; 0 behind the end of a sequence.
    pub y: SliceMut<'a>,
    /// The last h, `[batch, R]`.
    pub h: SliceMut<'a>,
    /// The last c of an LSTM, `[batch, H]`.
    pub c: Option<SliceMut<'a>>,
    /// The gates of all steps of an LSTM or GRU, `[steps, batch, G·H]`, where they are kept.
    pub gates: Option<SliceMut<'a>>,
    /// c of all steps (LSTM), or the third block of W·h + b (GRU), `[steps, batch, H]`, where gates are kept.
    pub second: Option<SliceMut<'a>>,
}

/// Runs the layer.
///
/// # Panics
/// When lengths or types do not fit each other, or the type is neither f32 nor f64.
pub fn forward(cpu: &Cpu, layer: &Layer, inputs: &Inputs, outputs: Outputs) {
    match inputs.x.dtype() {
        DType::F32 => typed::<f32>(cpu, layer, inputs, outputs),
        DType::F64 => typed::<f64>(cpu, layer, inputs, outputs),
        other => panic!("a recurrent layer of {other}"),
    }
}

/// The inputs with a type, and the weights in panels.
struct Loop<'a, T> {
    layer: Layer,
    cpu: &'a Cpu,
    x: &'a [T],
    w: Panels<T>,
    h: &'a [T],
    c: &'a [T],
    bias: Option<&'a [T]>,
    projection: Option<Panels<T>>,
    lengths: Option<&'a [i64]>,
}

/// The outputs, of which each task writes its rows.
struct Written<'a, T> {
    y: Shared<'a, T>,
    h: Shared<'a, T>,
    c: Option<Shared<'a, T>>,
    gates: Option<Shared<'a, T>>,
    second: Option<Shared<'a, T>>,
}

fn typed<T: Scalar>(cpu: &Cpu, layer: &Layer, inputs: &Inputs, mut outputs: Outputs) {
    let Layer { kind, steps, batch, hidden, state, .. } = *layer;
    let width = kind.gates() * hidden;
    let (x, h, c) = (inputs.x.get::<T>(), inputs.h.get::<T>(), inputs.c.map_or(&[][..], |c| c.get::<T>()));
    let lengths = inputs.lengths.map(|l| l.get::<i64>());
    assert!(x.len() == steps * batch * width && h.len() == batch * state);
    assert!(c.len() == if kind == Kind::Lstm { batch * hidden } else { 0 });
    assert!(lengths.is_none_or(|l| l.len() == batch));
    assert!(state == hidden || inputs.projection.is_some());
    if batch == 0 {
        return;
    }
    let run = Loop {
        layer: *layer,
        cpu,
        x,
        w: T::pack(cpu.isa, inputs.w.get(), state, width, true),
        h,
        c,
        bias: inputs.bias.map(|b| b.get()),
        projection: inputs.projection.map(|w| T::pack(cpu.isa, w.get(), hidden, state, true)),
        lengths,
    };
    let written = Written {
        y: Shared::new(outputs.y.get::<T>()),
        h: Shared::new(outputs.h.get()),
        c: outputs.c.as_mut().map(|c| Shared::new(c.get())),
        gates: outputs.gates.as_mut().map(|g| Shared::new(g.get())),
        second: outputs.second.as_mut().map(|s| Shared::new(s.get())),
    };
    let rows = layer.rows(cpu, &run.w);
    cpu.pool.run(batch.div_ceil(rows), &|task| {
        let first = task * rows;
        run.rows(&written, first, rows.min(batch - first));
    });
}

impl<T: Scalar> Loop<'_, T> {
    /// Takes `count` sequences from `first` on through all steps.
    fn rows(&self, written: &Written<T>, first: usize, count: usize) {
        let Layer { kind, steps, batch, hidden, state, .. } = self.layer;
        let width = kind.gates() * hidden;
        let mut h = self.h[first * state..][..count * state].to_vec();
        let mut c = if kind == Kind::Lstm { self.c[first * hidden..][..count * hidden].to_vec() } else { Vec::new() };
        let zeros = |there: bool, size: usize| vec![T::default(); if there { count * size } else { 0 }];
        let mut unkept = zeros(written.gates.is_none() && kind.gates() > 1, width);
        let mut scratch = Vec::new();
        let mut inner = zeros(kind == Kind::Gru, width);
        let mut whole = zeros(self.projection.is_some(), hidden);
        for i in 0..steps {
            let step = self.layer.step(i);
            let rows = Rows { lengths: self.lengths.map(|l| &l[first..][..count]), step };
            let at = step * batch + first;
            // SAFETY: tasks have different rows.
            let (y, kept, second) = unsafe {
                (
                    written.y.range(at * state, count * state),
                    written.gates.as_ref().map(|g| g.range(at * width, count * width)),
                    written.second.as_ref().map(|s| s.range(at * hidden, count * hidden)),
                )
            };
            if rows.none() {
                [Some(y), kept, second].into_iter().flatten().for_each(|out| out.fill(T::default()));
                continue;
            }
            let x = &self.x[at * width..][..count * width];
            let gates = kept.unwrap_or(&mut unkept);
            if kind == Kind::Gru {
                match self.bias {
                    Some(bias) => inner.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(bias)),
                    None => inner.fill(T::default()),
                }
                T::add_product(count, &h, &self.w, &mut inner, &mut scratch);
                let job = Gru { rows, hidden, x, inner: &inner, h: &mut h, gates, second, y };
                dispatch(self.cpu.isa, job);
                continue;
            }
            if kind != Kind::Lstm {
                y.copy_from_slice(x);
                T::add_product(count, &h, &self.w, y, &mut scratch);
                dispatch(self.cpu.isa, Elman { rows, relu: kind == Kind::Relu, hidden, y, h: &mut h });
                continue;
            }
            gates.copy_from_slice(x);
            T::add_product(count, &h, &self.w, gates, &mut scratch);
            let out = if self.projection.is_some() { &mut whole[..] } else { &mut *y };
            dispatch(self.cpu.isa, Lstm { rows, hidden, gates, c: &mut c, second, out });
            if let Some(projection) = &self.projection {
                y.fill(T::default());
                T::add_product(count, &whole, projection, y, &mut scratch);
            }
            keep(rows, state, y, &mut h);
        }
        // SAFETY: tasks have different rows.
        unsafe {
            written.h.range(first * state, count * state).copy_from_slice(&h);
            if let Some(out) = &written.c {
                out.range(first * hidden, count * hidden).copy_from_slice(&c);
            }
        }
    }
}

/// The rows that go on take their new state.
fn keep<T: Element>(rows: Rows, state: usize, y: &[T], h: &mut [T]) {
    if rows.lengths.is_none() {
        return h.copy_from_slice(y);
    }
    for i in (0..h.len().checked_div(state).unwrap_or(0)).filter(|&i| rows.active(i)) {
        h[i * state..][..state].copy_from_slice(&y[i * state..][..state]);
    }
}

/// y = f(y), and h takes it.
struct Elman<'a, T> {
    rows: Rows<'a>,
    relu: bool,
    hidden: usize,
    y: &'a mut [T],
    h: &'a mut [T],
}

impl<T: Scalar> Job for Elman<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Elman { rows, relu, hidden, y, h } = self;
        if hidden == 0 {
            return;
        }
        for (i, (y, h)) in y.chunks_exact_mut(hidden).zip(h.chunks_exact_mut(hidden)).enumerate() {
            if !rows.active(i) {
                y.fill(T::default());
                continue;
            }
            if relu {
                // A NaN stays one.
                y.iter_mut().for_each(|y| *y = if *y < T::default() { T::default() } else { *y });
            } else {
                y.iter_mut().for_each(|y| *y = y.tanh::<A>());
            }
            h.copy_from_slice(y);
        }
    }
}

/// The gates from their sums, c, and o·tanh(c).
struct Lstm<'a, T> {
    rows: Rows<'a>,
    hidden: usize,
    gates: &'a mut [T],
    c: &'a mut [T],
    second: Option<&'a mut [T]>,
    out: &'a mut [T],
}

impl<T: Scalar> Job for Lstm<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Lstm { rows, hidden, gates, c, mut second, out } = self;
        if hidden == 0 {
            return;
        }
        for (i, gates) in gates.chunks_exact_mut(4 * hidden).enumerate() {
            let (c, out) = (&mut c[i * hidden..][..hidden], &mut out[i * hidden..][..hidden]);
            let cells = second.as_mut().map(|s| &mut s[i * hidden..][..hidden]);
            if !rows.active(i) {
                gates.fill(T::default());
                out.fill(T::default());
                cells.into_iter().for_each(|cells| cells.fill(T::default()));
                continue;
            }
            let (entry, rest) = gates.split_at_mut(hidden);
            let (forget, rest) = rest.split_at_mut(hidden);
            let (new, exit) = rest.split_at_mut(hidden);
            entry.iter_mut().for_each(|x| *x = x.sigmoid::<A>());
            forget.iter_mut().for_each(|x| *x = x.sigmoid::<A>());
            new.iter_mut().for_each(|x| *x = x.tanh::<A>());
            exit.iter_mut().for_each(|x| *x = x.sigmoid::<A>());
            for j in 0..hidden {
                c[j] = forget[j] * c[j] + entry[j] * new[j];
            }
            for j in 0..hidden {
                out[j] = exit[j] * c[j].tanh::<A>();
            }
            cells.into_iter().for_each(|cells| cells.copy_from_slice(c));
        }
    }
}

/// The gates from their sums, and the new h.
struct Gru<'a, T> {
    rows: Rows<'a>,
    hidden: usize,
    x: &'a [T],
    inner: &'a [T],
    h: &'a mut [T],
    gates: &'a mut [T],
    second: Option<&'a mut [T]>,
    y: &'a mut [T],
}

impl<T: Scalar> Job for Gru<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Gru { rows, hidden, x, inner, h, gates, mut second, y } = self;
        if hidden == 0 {
            return;
        }
        for (i, gates) in gates.chunks_exact_mut(3 * hidden).enumerate() {
            let (h, y) = (&mut h[i * hidden..][..hidden], &mut y[i * hidden..][..hidden]);
            let kept = second.as_mut().map(|s| &mut s[i * hidden..][..hidden]);
            if !rows.active(i) {
                gates.fill(T::default());
                y.fill(T::default());
                kept.into_iter().for_each(|kept| kept.fill(T::default()));
                continue;
            }
            let (x, inner) = (&x[i * 3 * hidden..][..3 * hidden], &inner[i * 3 * hidden..][..3 * hidden]);
            let (x, x_new) = x.split_at(2 * hidden);
            let (inner, inner_new) = inner.split_at(2 * hidden);
            let (both, new) = gates.split_at_mut(2 * hidden);
            for j in 0..2 * hidden {
                both[j] = (x[j] + inner[j]).sigmoid::<A>();
            }
            let (reset, update) = both.split_at(hidden);
            let (x_new, inner_new) = (&x_new[..hidden], &inner_new[..hidden]);
            for j in 0..hidden {
                new[j] = (x_new[j] + reset[j] * inner_new[j]).tanh::<A>();
            }
            for j in 0..hidden {
                y[j] = (T::ONE - update[j]) * new[j] + update[j] * h[j];
            }
            h.copy_from_slice(y);
            kept.into_iter().for_each(|kept| kept.copy_from_slice(inner_new));
        }
    }
}
