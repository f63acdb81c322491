//! The node's driver: thin edges around what `netclaim-core` decides.

pub mod host;
