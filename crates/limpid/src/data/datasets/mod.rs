//! Data sets by name: one that ships with the crate, some that are computed, and MNIST from its files.

mod digits;
mod mnist;
mod shapes;

pub use digits::digits;
pub use mnist::mnist;
pub use shapes::{circles, moons, spiral, xor};

/// The numbers 0 to n − 1 as names of classes.
fn numbered(n: usize) -> Vec<String> {
    (0..n).map(|class| class.to_string()).collect()
}
