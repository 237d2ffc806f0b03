//! The loop forward.

use std::ops::Range;

use super::cut::{Cut, Factor, Sums, Units, load, map, store};
use super::{Kind, Layer, Lengths, Scalar};
use crate::Cpu;
use crate::dot::{COLUMNS, Panels, Upcoming};
use crate::dtype::DType;
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

/// Inputs and outputs with a type, and what lives through the loop.
struct Loop<'a, T> {
    layer: Layer,
    cpu: &'a Cpu,
    x: &'a [T],
    /// The weights of each gate.
    w: Vec<Panels<'a, T>>,
    bias: Option<&'a [T]>,
    projection: Option<Panels<'a, T>>,
    lengths: Lengths<'a>,
    y: Shared<'a, T>,
    /// The last h, and c, of each sequence so far.
    h: Shared<'a, T>,
    c: Shared<'a, T>,
    gates: Option<Shared<'a, T>>,
    second: Option<Shared<'a, T>>,
    /// h as the next product reads it: every other step has the first one.
    states: [Factor<'a, T>; 2],
    /// h before the projection.
    whole: Option<Factor<'a, T>>,
}

fn typed<T: Scalar>(cpu: &Cpu, layer: &Layer, inputs: &Inputs, mut outputs: Outputs) {
    let Layer { kind, steps, batch, hidden, state, .. } = *layer;
    let width = kind.gates() * hidden;
    let (x, w, h) = (inputs.x.get::<T>(), inputs.w.get::<T>(), inputs.h.get::<T>());
    let c = inputs.c.map_or(&[][..], |c| c.get::<T>());
    let lengths = Lengths(inputs.lengths.map(|l| l.get::<i64>()));
    assert!(x.len() == steps * batch * width && h.len() == batch * state && w.len() == width * state);
    assert!(c.len() == if kind == Kind::Lstm { batch * hidden } else { 0 });
    assert!(lengths.0.is_none_or(|l| l.len() == batch));
    assert!(state == hidden || inputs.projection.is_some());
    let last = outputs.h.get::<T>();
    last.copy_from_slice(h);
    let cell = outputs.c.as_mut().map_or(&mut [][..], |c| c.get::<T>());
    cell.copy_from_slice(c);
    if batch == 0 || hidden == 0 {
        return outputs.y.get::<T>().fill(T::default());
    }
    let cut = Cut::new(batch, hidden.max(state), width * state);
    let of_gate = |g: usize| &w[g * hidden * state..][..hidden * state];
    let w: Vec<_> = (0..kind.gates()).map(|g| T::pack(cpu, of_gate(g), state, hidden, true, cut.height())).collect();
    let projection = inputs.projection.map(|w| T::pack(cpu, w.get(), hidden, state, true, cut.height()));
    let [mut old, mut new] = [(); 2].map(|()| vec![T::default(); Factor::len(batch, &w[0])]);
    let mut whole = vec![T::default(); projection.as_ref().map_or(0, |w| Factor::len(batch, w))];
    let run = Loop {
        layer: *layer,
        cpu,
        x,
        bias: inputs.bias.map(|b| b.get()),
        lengths,
        y: Shared::new(outputs.y.get::<T>()),
        h: Shared::new(last),
        c: Shared::new(cell),
        gates: outputs.gates.as_mut().map(|g| Shared::new(g.get())),
        second: outputs.second.as_mut().map(|s| Shared::new(s.get())),
        states: [Factor::new(&w[0], &mut old), Factor::new(&w[0], &mut new)],
        whole: projection.as_ref().map(|w| Factor::new(w, &mut whole)),
        w,
        projection,
    };
    for rows in cut.bands() {
        for (row, from) in rows.clone().flat_map(|row| (0..state).step_by(COLUMNS).map(move |from| (row, from))) {
            let count = COLUMNS.min(state - from);
            // SAFETY: no task runs yet.
            unsafe {
                run.states[0].put::<false>(
                    &rows,
                    row,
                    from,
                    &load::<T, false>(&h[row * state + from..][..count]),
                    count,
                )
            };
        }
    }
    if run.whole.is_none() {
        return cut.run(cpu, steps, &|i, rows, units| run.gates(i, rows, units));
    }
    cut.run(cpu, 2 * steps, &|phase, rows, units| match phase % 2 {
        0 => run.gates(phase / 2, rows, units),
        _ => run.project(phase / 2, rows, units),
    });
}

impl<T: Scalar> Loop<'_, T> {
    /// Some units of the `i`-th step of some sequences.
    fn gates(&self, i: usize, rows: Range<usize>, units: Range<usize>) {
        let step = self.layer.step(i);
        let units = units.start..units.end.min(self.layer.hidden);
        let mut sums = Sums::new(&rows, &units, self.w.len());
        if rows.clone().any(|row| self.lengths.reaches(row, step)) {
            // SAFETY: only the tasks of the step before write this state.
            let (h, band) = unsafe { self.states[i % 2].read(&rows) };
            for from in units.clone().step_by(COLUMNS) {
                for (g, w) in self.w.iter().enumerate() {
                    T::product(h, band, w, from, sums.tile(g, from), false, Some(self.ahead(step, &rows, g, from)));
                }
            }
        }
        dispatch(self.cpu.isa, Gates { run: self, i, step, rows, units, sums: &sums });
    }

    /// What a gate reads, and where it is kept.
    fn ahead(&self, step: usize, rows: &Range<usize>, g: usize, from: usize) -> Upcoming<T> {
        let Layer { kind, batch, hidden, .. } = self.layer;
        let at = ((step * batch + rows.start) * kind.gates() + g) * hidden + from;
        let read = self.x.as_ptr().wrapping_add(at);
        let kept = self.gates.as_ref().map_or(read, |gates| gates.address(at));
        Upcoming { at: [read, kept], row: kind.gates() * hidden }
    }

    /// Some columns of the projection of the `i`-th step.
    fn project(&self, i: usize, rows: Range<usize>, units: Range<usize>) {
        let (Some(projection), Some(whole)) = (&self.projection, &self.whole) else { return };
        let step = self.layer.step(i);
        let units = units.start..units.end.min(self.layer.state);
        let mut sums = Sums::new(&rows, &units, 1);
        // SAFETY: only the tasks of the phase before write it.
        let (h, band) = unsafe { whole.read(&rows) };
        for from in units.step_by(COLUMNS) {
            T::product(h, band, projection, from, sums.tile(0, from), false, None);
            for row in rows.clone() {
                let y = sums.row(0, row, from);
                self.leave::<false>(i, step, &rows, row, from, y, self.lengths.reaches(row, step));
            }
        }
    }

    /// The state of a sequence behind the `i`-th step: `y`, where it has such a step.
    #[inline(always)]
    fn leave<const WHOLE: bool>(
        &self,
        i: usize,
        step: usize,
        rows: &Range<usize>,
        row: usize,
        from: usize,
        y: &Units<T>,
        reached: bool,
    ) {
        let Layer { batch, state, .. } = self.layer;
        let count = COLUMNS.min(state - from);
        // SAFETY: these columns of this sequence belong to this task.
        unsafe {
            let h = self.h.range(row * state + from, count);
            let out = self.y.range((step * batch + row) * state + from, count);
            if reached {
                store::<T, WHOLE>(out, y);
                store::<T, WHOLE>(h, y);
                self.states[(i + 1) % 2].put::<WHOLE>(rows, row, from, y, count);
            } else {
                out.fill(T::default());
                self.states[(i + 1) % 2].put::<false>(rows, row, from, &load::<T, false>(h), count);
            }
        }
    }
}

/// The gates of some units from their sums, and the next state.
struct Gates<'l, 'a, T> {
    run: &'l Loop<'a, T>,
    i: usize,
    step: usize,
    rows: Range<usize>,
    units: Range<usize>,
    sums: &'l Sums<T>,
}

impl<T: Scalar> Job for Gates<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        for row in self.rows.clone() {
            for from in self.units.clone().step_by(COLUMNS) {
                let (count, at) = (COLUMNS.min(self.units.end - from), self.step * self.run.layer.batch + row);
                let part = Part { of: &self, row, from, count, at };
                if count == COLUMNS { part.run::<A, true>() } else { part.run::<A, false>() }
            }
        }
    }
}

/// A block of units of a sequence.
struct Part<'p, 'l, 'a, T> {
    of: &'p Gates<'l, 'a, T>,
    row: usize,
    from: usize,
    count: usize,
    /// Which row of all steps it is.
    at: usize,
}

impl<T: Scalar> Part<'_, '_, '_, T> {
    /// The gates and what comes of them; a `WHOLE` block has all its units.
    #[inline(always)]
    fn run<A: Arch, const WHOLE: bool>(&self) {
        let Gates { run, i, step, rows, .. } = self.of;
        let reached = run.lengths.reaches(self.row, *step);
        let y = if !reached {
            for g in 0..run.layer.kind.gates() {
                self.keep::<WHOLE>(g, &[T::default(); COLUMNS]);
            }
            self.keep_second::<WHOLE>(&[T::default(); COLUMNS]);
            [T::default(); COLUMNS]
        } else {
            match run.layer.kind {
                Kind::Tanh => {
                    let sum = self.sum::<WHOLE>(0);
                    map(|j| sum[j].tanh::<A>())
                }
                Kind::Relu => {
                    let sum = self.sum::<WHOLE>(0);
                    // A NaN stays one.
                    map(|j| if sum[j] < T::default() { T::default() } else { sum[j] })
                }
                Kind::Lstm => self.lstm::<A, WHOLE>(),
                Kind::Gru => self.gru::<A, WHOLE>(),
            }
        };
        match &run.whole {
            // SAFETY: these units of this sequence belong to this task.
            Some(whole) => unsafe { whole.put::<WHOLE>(rows, self.row, self.from, &y, self.count) },
            None => run.leave::<WHOLE>(*i, *step, rows, self.row, self.from, &y, reached),
        }
    }

    /// W·h of a gate.
    #[inline(always)]
    fn product(&self, g: usize) -> &Units<T> {
        self.of.sums.row(g, self.row, self.from)
    }

    /// W·h + b of a gate.
    #[inline(always)]
    fn inner<const WHOLE: bool>(&self, g: usize) -> Units<T> {
        let product = self.product(g);
        let Some(bias) = self.of.run.bias else { return *product };
        let bias = load::<T, WHOLE>(&bias[g * self.of.run.layer.hidden + self.from..][..self.count]);
        map(|j| bias[j] + product[j])
    }

    /// x of a gate.
    #[inline(always)]
    fn x<const WHOLE: bool>(&self, g: usize) -> Units<T> {
        let Layer { kind, hidden, .. } = self.of.run.layer;
        load::<T, WHOLE>(&self.of.run.x[(self.at * kind.gates() + g) * hidden + self.from..][..self.count])
    }

    /// x + W·h
    #[inline(always)]
    fn sum<const WHOLE: bool>(&self, g: usize) -> Units<T> {
        let (x, product) = (self.x::<WHOLE>(g), self.product(g));
        map(|j| x[j] + product[j])
    }

    /// Writes a gate, where they are kept.
    #[inline(always)]
    fn keep<const WHOLE: bool>(&self, g: usize, gate: &Units<T>) {
        let Layer { kind, hidden, .. } = self.of.run.layer;
        if let Some(gates) = &self.of.run.gates {
            // SAFETY: these units of this sequence belong to this task.
            store::<T, WHOLE>(
                unsafe { gates.range((self.at * kind.gates() + g) * hidden + self.from, self.count) },
                gate,
            );
        }
    }

    /// Writes what is kept beside the gates.
    #[inline(always)]
    fn keep_second<const WHOLE: bool>(&self, values: &Units<T>) {
        if let Some(second) = &self.of.run.second {
            // SAFETY: these units of this sequence belong to this task.
            store::<T, WHOLE>(
                unsafe { second.range(self.at * self.of.run.layer.hidden + self.from, self.count) },
                values,
            );
        }
    }

    #[inline(always)]
    fn lstm<A: Arch, const WHOLE: bool>(&self) -> Units<T> {
        // SAFETY: these units of this sequence belong to this task.
        let cell = unsafe { self.of.run.c.range(self.row * self.of.run.layer.hidden + self.from, self.count) };
        let old = load::<T, WHOLE>(&*cell);
        let sum = self.sum::<WHOLE>(0);
        let entry = map(|j| sum[j].sigmoid::<A>());
        self.keep::<WHOLE>(0, &entry);
        let sum = self.sum::<WHOLE>(1);
        let forget = map(|j| sum[j].sigmoid::<A>());
        self.keep::<WHOLE>(1, &forget);
        let sum = self.sum::<WHOLE>(2);
        let new = map(|j| sum[j].tanh::<A>());
        self.keep::<WHOLE>(2, &new);
        let sum = self.sum::<WHOLE>(3);
        let exit = map(|j| sum[j].sigmoid::<A>());
        self.keep::<WHOLE>(3, &exit);
        let c = map(|j| forget[j] * old[j] + entry[j] * new[j]);
        store::<T, WHOLE>(cell, &c);
        self.keep_second::<WHOLE>(&c);
        map(|j| exit[j] * c[j].tanh::<A>())
    }

    #[inline(always)]
    fn gru<A: Arch, const WHOLE: bool>(&self) -> Units<T> {
        let hidden = self.of.run.layer.hidden;
        // SAFETY: these units of this sequence belong to this task.
        let h = load::<T, WHOLE>(unsafe { self.of.run.h.read(self.row * hidden + self.from, self.count) });
        let (x, inner_reset) = (self.x::<WHOLE>(0), self.inner::<WHOLE>(0));
        let reset = map(|j| (x[j] + inner_reset[j]).sigmoid::<A>());
        let (x, inner_update) = (self.x::<WHOLE>(1), self.inner::<WHOLE>(1));
        let update = map(|j| (x[j] + inner_update[j]).sigmoid::<A>());
        let (x, inner_new) = (self.x::<WHOLE>(2), self.inner::<WHOLE>(2));
        let new = map(|j| (x[j] + reset[j] * inner_new[j]).tanh::<A>());
        self.keep::<WHOLE>(0, &reset);
        self.keep::<WHOLE>(1, &update);
        self.keep::<WHOLE>(2, &new);
        self.keep_second::<WHOLE>(&inner_new);
        map(|j| (T::ONE - update[j]) * new[j] + update[j] * h[j])
    }
}
