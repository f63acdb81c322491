//! A small cluster on one machine, real at every edge that the driver touches: sockets, CNI
//! plugins, network namespaces, processes, the kernel.
//!
//! Owns the other side of the driver's protocols, and refuses what the real ones refuse. It must
//! never help the driver: what a test wants to know, it asks the kernel or the API server.

pub mod apiserver;
pub mod controller;
pub mod enclosure;
pub mod id;
pub mod kubelet;
pub mod node;
pub mod place;
pub mod runtime;
pub mod scheduler;
