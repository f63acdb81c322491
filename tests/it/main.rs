//! What holds across crates.

mod budget;
mod layers;
