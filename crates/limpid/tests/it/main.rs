//! What modules and losses promise: paths, messages, names, state, slopes at the edges.

mod losses;
mod paths;
mod state;
mod taps;
mod wrong;
