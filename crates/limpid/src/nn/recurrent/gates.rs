//! Gates and cells for taps: to be seen, replaced, and differentiated by.

use limpid_core::{Recurred, Recurrence, RecurrentCell, RecurrentEdit, Tensor, seeing};

use super::RecurrentKind;

/// Runs a layer, and shows gates and cells to the taps that look on, under names with `suffix`; without one the layer has
/// one step, and the axis of the steps is left out.
#[track_caller]
pub(super) fn run<K: RecurrentKind>(mut layer: Recurrence, x: &Tensor, suffix: &str) -> Recurred {
    let shown = Shown::<K>::new(suffix);
    layer.gates = seeing::observed() && shown.any(seeing::tap_wanted);
    let mut found = layer.run(x);
    if !layer.gates {
        return found;
    }
    for i in shown.those(seeing::tap_changed) {
        layer.edits.push((i, RecurrentEdit::Set(shown.show(i, shown.part(&found, i)))));
    }
    if !layer.edits.is_empty() {
        found = layer.run(x);
    }
    let set: Vec<usize> = layer.edits.iter().map(|(i, _)| *i).collect();
    for i in shown.those(|name| !seeing::tap_gradient_wanted(name)).filter(|i| !set.contains(i)) {
        let _ = shown.show(i, shown.part(&found, i));
    }
    let wanted: Vec<usize> = shown.those(seeing::tap_gradient_wanted).filter(|i| !set.contains(i)).collect();
    if wanted.is_empty() { found } else { shown.differentiable(&layer, x, found, &wanted) }
}

/// The names of a layer's gates and cell, in the order of [`Recurrence::edits`].
struct Shown<K> {
    names: Vec<String>,
    /// Whether there is one step, without an axis.
    single: bool,
    kind: std::marker::PhantomData<K>,
}

impl<K: RecurrentKind> Shown<K> {
    fn new(suffix: &str) -> Self {
        let single = suffix.is_empty();
        // The cell of one step is a result, and shown as such.
        let cell = (K::CELL == RecurrentCell::Lstm && !single).then_some("cell");
        let names = K::GATES.iter().copied().chain(cell).map(|name| format!("{name}{suffix}")).collect();
        Shown { names, single, kind: std::marker::PhantomData }
    }

    fn any(&self, f: impl Fn(&str) -> bool) -> bool {
        self.names.iter().any(|name| f(name))
    }

    fn those(&self, f: impl Fn(&str) -> bool) -> impl Iterator<Item = usize> {
        (0..self.names.len()).filter(move |&i| f(&self.names[i]))
    }

    /// Gate or cell `i` of all steps.
    fn part(&self, found: &Recurred, i: usize) -> Tensor {
        match (&found.gates, &found.cells) {
            (Some(gates), _) if i < K::GATES.len() => gates.chunk(K::GATES.len(), -1).swap_remove(i),
            (_, Some(cells)) => cells.clone(),
            _ => found.output.clone(),
        }
    }

    /// What the taps make of it.
    #[track_caller]
    fn show(&self, i: usize, value: Tensor) -> Tensor {
        if self.single { value.squeeze(0).tap(&self.names[i]).unsqueeze(0) } else { value.tap(&self.names[i]) }
    }

    /// The results, to no bit changed, with a way for gradients to some gates: a run beside that adds to each of them a
    /// difference of 0 from what is shown. So the gradient is that of the loss by this gate at this step with all that
    /// follows from it; those of the weights do not come this way.
    #[track_caller]
    fn differentiable(&self, layer: &Recurrence, x: &Tensor, found: Recurred, wanted: &[usize]) -> Recurred {
        let mut beside = detached(layer);
        for &i in wanted {
            let seen = self.show(i, self.part(&found, i).detach().requires_grad_());
            beside.edits.push((i, RecurrentEdit::Add(&seen - seen.detach())));
        }
        let beside = beside.run(&x.detach());
        // x − (+0) is x, also where x is −0.
        let through = |result: Tensor, beside: Tensor| {
            let nothing = (beside.detach() - &beside).where_(&beside.isfinite(), beside.zeros_like());
            result - nothing
        };
        Recurred {
            output: through(found.output, beside.output),
            h_n: through(found.h_n, beside.h_n),
            c_n: found.c_n.zip(beside.c_n).map(|(c, beside)| through(c, beside)),
            ..found
        }
    }
}

/// The layer without a way for gradients.
fn detached(layer: &Recurrence) -> Recurrence {
    let some = |t: &Option<Tensor>| t.as_ref().map(Tensor::detach);
    let edit = |(i, edit): &(usize, RecurrentEdit)| match edit {
        RecurrentEdit::Add(t) => (*i, RecurrentEdit::Add(t.detach())),
        RecurrentEdit::Set(t) => (*i, RecurrentEdit::Set(t.detach())),
    };
    Recurrence {
        weight_ih: layer.weight_ih.detach(),
        weight_hh: layer.weight_hh.detach(),
        bias_ih: some(&layer.bias_ih),
        bias_hh: some(&layer.bias_hh),
        weight_hr: some(&layer.weight_hr),
        h0: some(&layer.h0),
        c0: some(&layer.c0),
        edits: layer.edits.iter().map(edit).collect(),
        ..layer.clone()
    }
}
