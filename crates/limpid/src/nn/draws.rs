//! Parameters that a setter draws again.

use limpid_core::{rng_state, set_rng_state};

/// The generator before and after a constructor drew its parameters. A setter that changes what is drawn draws again
/// from the same place: the layer is the one that a constructor with that argument would have made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    before: (u64, u64),
    after: (u64, u64),
}

impl Draws {
    /// What `draw` draws now.
    pub(crate) fn of<T>(draw: impl FnOnce() -> T) -> (T, Draws) {
        let before = rng_state();
        let drawn = draw();
        (drawn, Draws { before, after: rng_state() })
    }

    /// What `draw` draws from the same place, unless something else has been drawn since.
    pub(crate) fn again<T>(&self, draw: impl FnOnce() -> T) -> (T, Draws) {
        if rng_state() == self.after {
            set_rng_state(self.before);
        }
        Draws::of(draw)
    }
}
