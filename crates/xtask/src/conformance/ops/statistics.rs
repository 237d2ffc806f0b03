//! Statistics along axes.

use super::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[];
