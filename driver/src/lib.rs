//! The netclaim driver: the edges, thin, around `netclaim-core`.
//!
//! Talks to the kubelet, the container runtime, the API server and the kernel. What is decided is
//! decided in the core; here it is done.

pub mod api;
pub mod chain;
pub mod choice;
pub mod claims;
pub mod clock;
pub mod command;
pub mod daemon;
pub mod dra;
pub mod engine;
pub mod events;
pub mod health;
pub mod host;
pub mod instance;
pub mod journal;
pub mod metrics;
mod mutex;
pub mod nri;
pub mod observe;
pub mod options;
pub mod publish;
pub mod relay;
pub mod socket;
pub mod status;
pub mod telemetry;
pub mod validate;
