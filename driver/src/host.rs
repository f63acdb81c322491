//! The node that the driver runs on: its plugins, namespaces and kernel.
//!
//! Everything here does what it is told at once and says how it went. Nothing here decides.

pub mod netns;
pub mod probe;
