//! What a plugin is asked, whichever generation of NRI asks.
//!
//! Owns the translation between RPCs and [`Plugin`]. It must never answer for the plugin, and
//! never change what the runtime says about a pod.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::api::{ConfigureRequest, Container, Event, PodSandbox, event_mask};
use crate::ttrpc::{Code, Status};

mod service;

pub(crate) use service::PluginService;

/// The events that a plugin subscribes to. All four exist in every release of NRI.
pub const EVENTS: i32 = event_mask(&[
    Event::RunPodSandbox,
    Event::StopPodSandbox,
    Event::RemovePodSandbox,
    Event::CreateContainer,
]);

/// How long a plugin may take to register where the runtime does not say.
pub const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a plugin may take for an answer where the runtime does not say.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest refusal, in bytes. A Go runtime queues 256 frames of 4,096 bytes and drops the
/// connection at the next one: a longer text could cost the plugin what the refusal is to save.
const REFUSAL_LEN: usize = 512 << 10;

/// Follows pods through their life.
///
/// The runtime sends one event of the node at a time and waits, so a slow answer delays every
/// pod. An answer after [`Runtime::request_timeout`] costs the connection, and the pod goes on
/// without the plugin; a [`Refusal`] in time fails the one request.
///
/// Requests run side by side, each to its end, even when the connection is lost meanwhile. Stop
/// and Remove may come twice, or never.
pub trait Plugin: Send + Sync + 'static {
    /// The runtime has registered the plugin and introduces itself.
    fn configure(&self, runtime: Runtime) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// All pods and containers that exist, once per session, before the first event.
    fn synchronize(
        &self,
        pods: Vec<PodSandbox>,
        containers: Vec<Container>,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// A pod's sandbox is up and has its cluster network. A refusal fails the sandbox: the
    /// runtime stops and removes it, and the kubelet tries again with a new one.
    fn run_pod_sandbox(&self, pod: PodSandbox) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// A pod's processes are gone. Its network namespace may be gone too.
    fn stop_pod_sandbox(&self, pod: PodSandbox)
    -> impl Future<Output = Result<(), Refusal>> + Send;

    /// A pod is removed.
    fn remove_pod_sandbox(
        &self,
        pod: PodSandbox,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// A container is about to be created in `pod`. A refusal fails the container: the kubelet
    /// tries again in the same sandbox.
    fn create_container(
        &self,
        pod: PodSandbox,
        container: Container,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// The runtime says goodbye; the connection ends next.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}

/// The runtime at the other end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Its name: `containerd`, `cri-o`.
    pub name: String,
    /// Its version, as it writes it.
    pub version: String,
    /// Its version of NRI; empty before 0.12.
    pub nri_version: String,
    /// The plugin's configuration in the runtime's files; mostly empty.
    pub config: String,
    /// How long a registration may take.
    pub registration_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
}

/// A plugin's "no" to one request; the runtime reports the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// A refusal for `reason`, usually an error. Of a text over 512 KiB the end is lost.
    pub fn new(reason: impl fmt::Display) -> Self {
        let mut text = reason.to_string();
        text.truncate(text.floor_char_boundary(REFUSAL_LEN));
        Self(text)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Status {
    /// With the code that a Go plugin's error has. Never Unimplemented: the runtime would ask
    /// again by `StateChange`.
    fn from(refusal: Refusal) -> Self {
        Self::new(Code::Unknown, refusal.0)
    }
}

impl From<ConfigureRequest> for Runtime {
    fn from(request: ConfigureRequest) -> Self {
        Self {
            name: request.runtime_name,
            version: request.runtime_version,
            nri_version: request.nri_version,
            config: request.config,
            registration_timeout: millis(request.registration_timeout, REGISTRATION_TIMEOUT),
            request_timeout: millis(request.request_timeout, REQUEST_TIMEOUT),
        }
    }
}

fn millis(value: i64, default: Duration) -> Duration {
    match u64::try_from(value) {
        Ok(1..) => Duration::from_millis(value.unsigned_abs()),
        _ => default,
    }
}

#[cfg(test)]
mod tests;
