//! The plugin side of the Node Resource Interface, NRI: what a container runtime (containerd,
//! CRI-O) asks of a plugin that connects to its socket.
//!
//! Owns the wire: the multiplexer ([`mux`]), the calls on top of it ([`ttrpc`]), the messages
//! ([`api`]), and the session that a [`Plugin`] lives in ([`session`]). It never decides anything
//! about pods, never reconnects by itself, and never cancels a plugin in the middle of a request.
//!
//! ```text
//! Plugin         configure, synchronize, run_pod_sandbox, …         plugin
//! RPC            Request{service, method, payload} → Response       ttrpc
//! byte streams   1: the runtime calls us, 2: we call the runtime    mux
//! trunk          one unix socket                                    session
//! ```
//!
//! [`mux`] and [`ttrpc`] are symmetrical, so that a runtime, or a test that plays one, is written
//! with the same two layers.

pub mod api;
pub mod mux;
pub mod plugin;
pub mod session;
pub mod ttrpc;

pub use plugin::{Plugin, Refusal, Runtime};
pub use session::{DEFAULT_SOCKET, Registration, SessionError, connect, serve, serve_until};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
