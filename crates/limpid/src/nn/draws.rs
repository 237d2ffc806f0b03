//! Parameters that a setter draws again.

use std::panic::Location;

use limpid_core::{origin, rng_state, set_rng_state};

/// The generator before and after a constructor drew its parameters. A setter that changes what is drawn draws again
/// from the same place: the layer is the one that a constructor with that argument would have made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    before: (u64, u64),
    after: (u64, u64),
}

impl Draws {
    /// What `draw` draws now.
    #[track_caller]
    pub(crate) fn of<T>(draw: impl FnOnce() -> T) -> (T, Draws) {
        let _line = line();
        let before = rng_state();
        let drawn = draw();
        (drawn, Draws { before, after: rng_state() })
    }

    /// What `draw` draws from the same place, unless something else has been drawn since.
    #[track_caller]
    pub(crate) fn again<T>(&self, draw: impl FnOnce() -> T) -> (T, Draws) {
        if rng_state() == self.after {
            set_rng_state(self.before);
        }
        Draws::of(draw)
    }

    /// What `draw` draws from the same place, where it has been drawn before.
    #[track_caller]
    pub(crate) fn either<T>(before: Option<Draws>, draw: impl FnOnce() -> T) -> (T, Draws) {
        match before {
            Some(draws) => draws.again(draw),
            None => Draws::of(draw),
        }
    }
}

/// Until the guard drops, parameters are made under the line of the caller's caller: closures would not know it.
#[track_caller]
pub(crate) fn line() -> origin::ScopeGuard {
    origin::under(Location::caller())
}
