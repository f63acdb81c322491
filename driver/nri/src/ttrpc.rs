//! ttrpc over one stream of the multiplexer: calls with one request and one response.
//!
//! Owns matching of answers to calls, and the answer to what nobody serves. It must never wait
//! for one request before it reads the next, and never interpret a payload.
//!
//! Streaming calls are not offered: NRI has none. Source: containerd/ttrpc `PROTOCOL.md`,
//! `channel.go`, `server.go`, `request.proto`.

pub mod codec;

mod client;
mod incoming;
mod rpc;
mod server;

pub use client::{CallError, Client};
pub use codec::CodecError;
pub use rpc::{Any, Code, KeyValue, Request, Response, Status};
pub use server::{Service, serve};
