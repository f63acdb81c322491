//! The netclaim driver: the edges, thin, around `netclaim-core`.
//!
//! Talks to the kubelet, the container runtime, the API server and the kernel. What is decided is
//! decided in the core; here it is done.

pub mod claims;
pub mod clock;
pub mod engine;
pub mod host;
pub mod instance;
pub mod journal;
pub mod nri;
pub mod options;
pub mod telemetry;
