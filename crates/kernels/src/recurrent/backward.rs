//! The loop back: gradients from what the loop forward has saved.

use std::ops::Range;

use super::cut::{Cut, Factor, Sums, Units, load, map, store};
use super::{Kind, Layer, Lengths, Scalar};
use crate::Cpu;
use crate::dot::{COLUMNS, Panels, Upcoming};
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
    /// Of the third block of W·h + b in all steps of a GRU, `[steps, batch, H]`; the others have the gradients of x.
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

/// What is read and written, with a type, and what lives through the loop.
struct Loop<'a, T> {
    layer: Layer,
    cpu: &'a Cpu,
    gates: &'a [T],
    second: &'a [T],
    y: &'a [T],
    first: &'a [T],
    /// The weights of each gate.
    w: Vec<Panels<'a, T>>,
    dy: &'a [T],
    projection: Option<Panels<'a, T>>,
    lengths: Lengths<'a>,
    x: Shared<'a, T>,
    /// The gradients of the states behind the step, as far as they are known.
    h: Shared<'a, T>,
    c: Shared<'a, T>,
    inner: Option<Shared<'a, T>>,
    projected: Option<Shared<'a, T>>,
    /// The gradients of W·h of each gate, as the next product reads them: every other step has the first ones.
    sums: [Vec<Factor<'a, T>>; 2],
    /// The gradient of h behind the projection.
    whole: Option<Factor<'a, T>>,
}

fn typed<T: Scalar>(cpu: &Cpu, layer: &Layer, saved: &Saved, mut gradients: Gradients) {
    let Layer { kind, steps, batch, hidden, state, .. } = *layer;
    fn all<'a, T: Scalar>(x: Option<Slice<'a>>) -> &'a [T] {
        x.map_or(&[][..], |x| x.get())
    }
    let w = saved.w.get::<T>();
    assert!(w.len() == kind.gates() * hidden * state && (state == hidden || saved.projection.is_some()));
    let dh = gradients.h.get::<T>();
    dh.copy_from_slice(saved.dh.get());
    let dc = gradients.c.as_mut().map_or(&mut [][..], |c| c.get::<T>());
    dc.copy_from_slice(all(saved.dc));
    if batch == 0 || state == 0 {
        return gradients.x.get::<T>().fill(T::default());
    }
    let cut = Cut::new(batch, hidden.max(state), kind.gates() * hidden * state);
    let of_gate = |g: usize| &w[g * hidden * state..][..hidden * state];
    let w: Vec<_> = (0..kind.gates()).map(|g| T::pack(cpu, of_gate(g), hidden, state, false, cut.height())).collect();
    let projection = saved.projection.map(|w| T::pack(cpu, w.get(), state, hidden, false, cut.height()));
    let size = Factor::len(batch, &w[0]).max(1);
    let [mut old, mut new] = [(); 2].map(|()| vec![T::default(); kind.gates() * size]);
    let mut whole = vec![T::default(); projection.as_ref().map_or(0, |w| Factor::len(batch, w))];
    let [old, new] =
        [&mut old, &mut new].map(|all| all.chunks_exact_mut(size).map(|m| Factor::new(&w[0], m)).collect());
    let run = Loop {
        layer: *layer,
        cpu,
        gates: all(saved.gates),
        second: all(saved.second),
        y: all(saved.y),
        first: all(saved.first),
        dy: saved.dy.get(),
        lengths: Lengths(saved.lengths.map(|l| l.get())),
        x: Shared::new(gradients.x.get::<T>()),
        h: Shared::new(dh),
        c: Shared::new(dc),
        inner: gradients.inner.as_mut().map(|g| Shared::new(g.get())),
        projected: gradients.projected.as_mut().map(|g| Shared::new(g.get())),
        sums: [old, new],
        whole: projection.as_ref().map(|w| Factor::new(w, &mut whole)),
        w,
        projection,
    };
    if run.whole.is_none() {
        return cut.run(cpu, steps + 1, &|i, rows, units| {
            let sums = run.arrive(i, &rows, &units);
            if i < steps {
                run.leave(i, &rows, &units, &sums);
            }
        });
    }
    cut.run(cpu, 2 * steps + 1, &|phase, rows, units| match phase % 2 {
        0 => drop(run.arrive(phase / 2, &rows, &units)),
        _ => run.leave(phase / 2, &rows, &units, &run.unprojected(&rows, &units)),
    });
}

impl<T: Scalar> Loop<'_, T> {
    /// The `i`-th step of those that run here: from the last that ran forward to the first.
    fn step(&self, i: usize) -> usize {
        self.layer.step(self.layer.steps - 1 - i)
    }

    /// The gradient of some columns of h behind the `i`-th step, or before all where there is no such step.
    fn arrive(&self, i: usize, rows: &Range<usize>, units: &Range<usize>) -> Sums<T> {
        let before = i.checked_sub(1).map(|i| self.step(i));
        let units = units.start..units.end.min(self.layer.state);
        let mut dh = Sums::new(rows, &units, 1);
        if before.is_some_and(|step| rows.clone().any(|row| self.lengths.reaches(row, step))) {
            for from in units.clone().step_by(COLUMNS) {
                for (g, (w, sums)) in self.w.iter().zip(&self.sums[(i + 1) % 2]).enumerate() {
                    // SAFETY: only the tasks of the step before write these.
                    let (sums, band) = unsafe { sums.read(rows) };
                    T::product(sums, band, w, from, dh.tile(0, from), g > 0, self.ahead(i, rows, g, from));
                }
            }
        }
        let step = (i < self.layer.steps).then(|| self.step(i));
        dispatch(self.cpu.isa, Arrive { run: self, before, step, rows, units, dh: &mut dh });
        dh
    }

    /// The gate that is read by the `i`-th step, and where its gradient goes.
    fn ahead(&self, i: usize, rows: &Range<usize>, g: usize, from: usize) -> Option<Upcoming<T>> {
        let Layer { kind, batch, hidden, steps, .. } = self.layer;
        let at = ((self.step(i.min(steps - 1)) * batch + rows.start) * kind.gates() + g) * hidden + from;
        let read = if self.gates.is_empty() { self.y } else { self.gates };
        let at = [read.as_ptr().wrapping_add(at), self.x.address(at)];
        (i < steps).then_some(Upcoming { at, row: kind.gates() * hidden })
    }

    /// The gradient of h before the projection.
    fn unprojected(&self, rows: &Range<usize>, units: &Range<usize>) -> Sums<T> {
        let units = units.start..units.end.min(self.layer.hidden);
        let mut dh = Sums::new(rows, &units, 1);
        if let (Some(projection), Some(whole)) = (&self.projection, &self.whole) {
            // SAFETY: only the tasks of the phase before write it.
            let (factor, band) = unsafe { whole.read(rows) };
            for from in units.step_by(COLUMNS) {
                T::product(factor, band, projection, from, dh.tile(0, from), false, None);
            }
        }
        dh
    }

    /// The gradients of some units' gates of the `i`-th step, from that of its h.
    fn leave(&self, i: usize, rows: &Range<usize>, units: &Range<usize>, dh: &Sums<T>) {
        let units = units.start..units.end.min(self.layer.hidden);
        dispatch(self.cpu.isa, Leave { run: self, i, step: self.step(i), rows, units, dh });
    }
}

/// Adds what comes to a state from the step that ran before, whose products stand in `dh`, and from the output.
struct Arrive<'l, 'a, T> {
    run: &'l Loop<'a, T>,
    before: Option<usize>,
    step: Option<usize>,
    rows: &'l Range<usize>,
    units: Range<usize>,
    dh: &'l mut Sums<T>,
}

impl<T: Scalar> Job for Arrive<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Arrive { run, before, step, rows, units, dh } = self;
        for row in rows.clone() {
            for from in units.clone().step_by(COLUMNS) {
                let part = Arriving { run, before, step, rows, row, from, count: COLUMNS.min(units.end - from) };
                let dh = dh.row_mut(0, row, from);
                if part.count == COLUMNS { part.run::<true>(dh) } else { part.run::<false>(dh) }
            }
        }
    }
}

/// A block of columns of a sequence.
struct Arriving<'l, 'a, T> {
    run: &'l Loop<'a, T>,
    before: Option<usize>,
    step: Option<usize>,
    rows: &'l Range<usize>,
    row: usize,
    from: usize,
    count: usize,
}

impl<T: Scalar> Arriving<'_, '_, T> {
    #[inline(always)]
    fn run<const WHOLE: bool>(self, dh: &mut Units<T>) {
        let Arriving { run, before, step, rows, row, from, count } = self;
        let Layer { batch, state, .. } = run.layer;
        // SAFETY: these columns of this sequence belong to this task.
        let waiting = unsafe { run.h.range(row * state + from, count) };
        let mut sum = load::<T, WHOLE>(&*waiting);
        if before.is_some_and(|step| run.lengths.reaches(row, step)) {
            sum = map(|j| sum[j] + dh[j]);
        }
        let Some(step) = step else {
            store::<T, WHOLE>(waiting, &sum);
            return;
        };
        let at = (step * batch + row) * state + from;
        // What waits for an earlier end of the sequence is none of this step's.
        let mut here = [T::default(); COLUMNS];
        if run.lengths.reaches(row, step) {
            let dy = load::<T, WHOLE>(&run.dy[at..][..count]);
            here = map(|j| sum[j] + dy[j]);
            sum = [T::default(); COLUMNS];
        }
        store::<T, WHOLE>(waiting, &sum);
        *dh = here;
        // SAFETY: as above.
        unsafe {
            if let Some(projected) = &run.projected {
                store::<T, WHOLE>(projected.range(at, count), &here);
            }
            if let Some(whole) = &run.whole {
                whole.put::<WHOLE>(rows, row, from, &here, count);
            }
        }
    }
}

/// The gradients of some units' gates.
struct Leave<'l, 'a, T> {
    run: &'l Loop<'a, T>,
    i: usize,
    step: usize,
    rows: &'l Range<usize>,
    units: Range<usize>,
    dh: &'l Sums<T>,
}

impl<T: Scalar> Job for Leave<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        for row in self.rows.clone() {
            for from in self.units.clone().step_by(COLUMNS) {
                let (count, at) = (COLUMNS.min(self.units.end - from), self.step * self.run.layer.batch + row);
                let part = Leaving { of: &self, row, from, count, at };
                let dh = self.dh.row(0, row, from);
                if count == COLUMNS { part.run::<A, true>(dh) } else { part.run::<A, false>(dh) }
            }
        }
    }
}

/// A block of units of a sequence.
struct Leaving<'p, 'l, 'a, T> {
    of: &'p Leave<'l, 'a, T>,
    row: usize,
    from: usize,
    count: usize,
    /// Which row of all steps it is.
    at: usize,
}

impl<T: Scalar> Leaving<'_, '_, '_, T> {
    #[inline(always)]
    fn run<A: Arch, const WHOLE: bool>(&self, dh: &Units<T>) {
        let run = self.of.run;
        let Layer { kind, hidden, .. } = run.layer;
        if !run.lengths.reaches(self.row, self.of.step) {
            let zeros = [T::default(); COLUMNS];
            (0..kind.gates()).for_each(|g| self.put::<WHOLE>(g, &zeros, &zeros));
            return;
        }
        match kind {
            Kind::Tanh | Kind::Relu => {
                let y = load::<T, WHOLE>(&run.y[self.at * hidden + self.from..][..self.count]);
                let d = match kind {
                    Kind::Tanh => map(|j| dh[j] * (T::ONE - y[j] * y[j])),
                    _ => map(|j| if y[j] > T::default() { dh[j] } else { T::default() }),
                };
                self.put::<WHOLE>(0, &d, &d);
            }
            Kind::Lstm => self.lstm::<A, WHOLE>(dh),
            Kind::Gru => self.gru::<WHOLE>(dh),
        }
    }

    /// Writes the gradient of a gate: of x, and of W·h.
    #[inline(always)]
    fn put<const WHOLE: bool>(&self, g: usize, d: &Units<T>, inner: &Units<T>) {
        let Layer { kind, hidden, .. } = self.of.run.layer;
        let place = (self.at * kind.gates() + g) * hidden + self.from;
        // SAFETY: these units of this sequence belong to this task.
        unsafe {
            store::<T, WHOLE>(self.of.run.x.range(place, self.count), d);
            if let Some(out) = self.of.run.inner.as_ref().filter(|_| g == 2) {
                store::<T, WHOLE>(out.range(self.at * hidden + self.from, self.count), inner);
            }
            self.of.run.sums[self.of.i % 2][g].put::<WHOLE>(self.of.rows, self.row, self.from, inner, self.count);
        }
    }

    /// A gate.
    #[inline(always)]
    fn gate<const WHOLE: bool>(&self, g: usize) -> Units<T> {
        let Layer { kind, hidden, .. } = self.of.run.layer;
        load::<T, WHOLE>(&self.of.run.gates[(self.at * kind.gates() + g) * hidden + self.from..][..self.count])
    }

    /// The state before the step, of those behind all steps: the first one, where the sequence begins here.
    #[inline(always)]
    fn old<const WHOLE: bool>(&self, states: &[T]) -> Units<T> {
        let Layer { batch, hidden, steps, .. } = self.of.run.layer;
        match self.of.run.layer.step_before(steps - 1 - self.of.i) {
            Some(step) if self.of.run.lengths.reaches(self.row, step) => {
                load::<T, WHOLE>(&states[(step * batch + self.row) * hidden + self.from..][..self.count])
            }
            _ => load::<T, WHOLE>(&self.of.run.first[self.row * hidden + self.from..][..self.count]),
        }
    }

    /// do = dh·tanh c; dc += dh·o·(1 - tanh² c); di = dc·g; df = dc·c₋₁; dg = dc·i, each times the slope of its
    /// function; dc₋₁ = dc·f.
    #[inline(always)]
    fn lstm<A: Arch, const WHOLE: bool>(&self, dh: &Units<T>) {
        let hidden = self.of.run.layer.hidden;
        let i = self.gate::<WHOLE>(0);
        let f = self.gate::<WHOLE>(1);
        let g = self.gate::<WHOLE>(2);
        let o = self.gate::<WHOLE>(3);
        let cells = load::<T, WHOLE>(&self.of.run.second[self.at * hidden + self.from..][..self.count]);
        let old = self.old::<WHOLE>(self.of.run.second);
        // SAFETY: these units of this sequence belong to this task.
        let waiting = unsafe { self.of.run.c.range(self.row * hidden + self.from, self.count) };
        let dc = load::<T, WHOLE>(&*waiting);
        let c = map(|j| cells[j].tanh::<A>());
        let slope = map(|j| dc[j] + dh[j] * o[j] * (T::ONE - c[j] * c[j]));
        let d_entry = map(|j| slope[j] * g[j] * (i[j] * (T::ONE - i[j])));
        let d_forget = map(|j| slope[j] * old[j] * (f[j] * (T::ONE - f[j])));
        let d_new = map(|j| slope[j] * i[j] * (T::ONE - g[j] * g[j]));
        let d_exit = map(|j| dh[j] * c[j] * (o[j] * (T::ONE - o[j])));
        store::<T, WHOLE>(waiting, &map(|j| slope[j] * f[j]));
        self.put::<WHOLE>(0, &d_entry, &d_entry);
        self.put::<WHOLE>(1, &d_forget, &d_forget);
        self.put::<WHOLE>(2, &d_new, &d_new);
        self.put::<WHOLE>(3, &d_exit, &d_exit);
    }

    /// dn = dh·(1 - z)·(1 - n²); dz = dh·(h₋₁ - n)·z(1 - z); dr = dn·(W·h + b)·r(1 - r); dh₋₁ = dh·z + …
    #[inline(always)]
    fn gru<const WHOLE: bool>(&self, dh: &Units<T>) {
        let hidden = self.of.run.layer.hidden;
        let r = self.gate::<WHOLE>(0);
        let z = self.gate::<WHOLE>(1);
        let n = self.gate::<WHOLE>(2);
        let kept = load::<T, WHOLE>(&self.of.run.second[self.at * hidden + self.from..][..self.count]);
        let old = self.old::<WHOLE>(self.of.run.y);
        let d_new = map(|j| dh[j] * (T::ONE - z[j]) * (T::ONE - n[j] * n[j]));
        let d_update = map(|j| dh[j] * (old[j] - n[j]) * (z[j] * (T::ONE - z[j])));
        let d_reset = map(|j| d_new[j] * kept[j] * (r[j] * (T::ONE - r[j])));
        let d_inner = map(|j| d_new[j] * r[j]);
        // SAFETY: these units of this sequence belong to this task.
        let waiting = unsafe { self.of.run.h.range(self.row * hidden + self.from, self.count) };
        store::<T, WHOLE>(waiting, &map(|j| dh[j] * z[j]));
        self.put::<WHOLE>(0, &d_reset, &d_reset);
        self.put::<WHOLE>(1, &d_update, &d_update);
        self.put::<WHOLE>(2, &d_new, &d_inner);
    }
}
