//! What proves netclaim: the [`world`] around the unchanged driver, the [`demo`] in it, and the
//! [`mod@bench`]; and [`lab`], a real cluster.
//!
//! Owns the other side of each of the driver's protocols. It must never be asked by the driver
//! for anything that a real cluster does not offer.

pub mod bench;
pub mod demo;
pub mod lab;
pub mod world;
