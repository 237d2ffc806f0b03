//! Normalisations.

use super::Make;

/// Every module by torch's name.
pub const MODULES: &[(&str, Make)] = &[];
