//! What modules and losses promise: paths, messages, names, state, slopes at the edges.

mod activations;
mod attention;
mod classes;
mod distances;
mod dropouts;
mod embeddings;
mod gates;
mod hostile;
mod lazy;
mod loss_values;
mod losses;
mod norms;
mod optimizers;
mod pads;
mod parametrizations;
mod paths;
mod prune;
mod recurrent;
mod resample;
mod state;
mod taps;
mod utils;
mod windows;
mod wrong;
