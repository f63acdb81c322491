//! Wire formats: `netclaim.observe.v1`, and the kubelet's plugin protocols.
//!
//! Owns the protocol files, the code generated from them (committed, so that nobody needs a
//! protocol compiler) and the mapping between [`observe`] and `netclaim-core`. It decides nothing.

mod field;
mod generated;
mod snapshot;

pub use field::{InvalidField, Problem};
pub use generated::{dra, health, observe, registration};

/// File descriptor set of `netclaim.observe.v1` and what it imports, for gRPC reflection.
pub const OBSERVE_DESCRIPTORS: &[u8] = include_bytes!("generated/observe.descriptors.bin");
