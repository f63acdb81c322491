//! The service `nri.pkg.api.v1alpha1.Plugin` in front of a [`Plugin`].
//!
//! Runtimes before NRI 0.12 send pod events as `StateChange`, later ones by a method each; both
//! arrive at the same place. Must never know an event that [`EVENTS`] does not subscribe to.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prost::Message;

use super::{EVENTS, Plugin};
use crate::api::{
    ConfigureRequest, ConfigureResponse, CreateContainerRequest, CreateContainerResponse, Event,
    PLUGIN_SERVICE, PodSandbox, RemovePodSandboxRequest, RunPodSandboxRequest, StateChangeEvent,
    StopPodSandboxRequest, SynchronizeRequest, SynchronizeResponse,
};
use crate::ttrpc::{Code, Request, Service, Status};

/// A plugin that can be called.
pub(crate) struct PluginService<P> {
    plugin: Arc<P>,
    /// What earlier parts of a Synchronize in several parts brought.
    parts: Mutex<SynchronizeRequest>,
}

impl<P> PluginService<P> {
    pub(crate) fn new(plugin: Arc<P>) -> Self {
        Self {
            plugin,
            parts: Mutex::default(),
        }
    }
}

impl<P: Plugin> Service for PluginService<P> {
    async fn call(&self, request: Request) -> Result<Bytes, Status> {
        if request.service != PLUGIN_SERVICE {
            return Err(unimplemented(&format!("service {}", request.service)));
        }
        let payload = request.payload;
        match request.method.as_str() {
            "Configure" => self.configure(decode(payload)?).await,
            "Synchronize" => self.synchronize(decode(payload)?).await,
            "RunPodSandbox" => {
                let RunPodSandboxRequest { pod } = decode(payload)?;
                self.pod_event(Event::RunPodSandbox, pod).await
            }
            "StopPodSandbox" => {
                let StopPodSandboxRequest { pod } = decode(payload)?;
                self.pod_event(Event::StopPodSandbox, pod).await
            }
            "RemovePodSandbox" => {
                let RemovePodSandboxRequest { pod } = decode(payload)?;
                self.pod_event(Event::RemovePodSandbox, pod).await
            }
            "StateChange" => {
                let change: StateChangeEvent = decode(payload)?;
                self.pod_event(change.event(), change.pod).await
            }
            "CreateContainer" => self.create_container(decode(payload)?).await,
            "Shutdown" => {
                self.plugin.shutdown().await;
                Ok(Bytes::new())
            }
            method => Err(unimplemented(&format!("method {method}"))),
        }
    }
}

impl<P: Plugin> PluginService<P> {
    async fn configure(&self, request: ConfigureRequest) -> Result<Bytes, Status> {
        self.plugin.configure(request.into()).await?;
        Ok(encode(&ConfigureResponse { events: EVENTS }))
    }

    /// A part is kept and answered with `more`, or the runtime takes us for a plugin that cannot
    /// be synchronized in parts; the last one delivers them all.
    async fn synchronize(&self, request: SynchronizeRequest) -> Result<Bytes, Status> {
        let more = request.more;
        if let Some(SynchronizeRequest {
            pods, containers, ..
        }) = self.collect(request)
        {
            self.plugin.synchronize(pods, containers).await?;
        }
        Ok(encode(&SynchronizeResponse {
            more,
            ..SynchronizeResponse::default()
        }))
    }

    fn collect(&self, part: SynchronizeRequest) -> Option<SynchronizeRequest> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.pods.extend(part.pods);
        parts.containers.extend(part.containers);
        (!part.more).then(|| std::mem::take(&mut *parts))
    }

    async fn pod_event(&self, event: Event, pod: Option<PodSandbox>) -> Result<Bytes, Status> {
        match event {
            Event::RunPodSandbox => self.plugin.run_pod_sandbox(required(pod)?).await?,
            Event::StopPodSandbox => self.plugin.stop_pod_sandbox(required(pod)?).await?,
            Event::RemovePodSandbox => self.plugin.remove_pod_sandbox(required(pod)?).await?,
            other => tracing::debug!(?other, "an event that was not subscribed to"),
        }
        Ok(Bytes::new())
    }

    async fn create_container(&self, request: CreateContainerRequest) -> Result<Bytes, Status> {
        let container = request.container.unwrap_or_default();
        self.plugin
            .create_container(required(request.pod)?, container)
            .await?;
        Ok(encode(&CreateContainerResponse::default()))
    }
}

fn decode<M: Message + Default>(payload: Bytes) -> Result<M, Status> {
    M::decode(payload).map_err(|error| invalid(&error.to_string()))
}

fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn required(pod: Option<PodSandbox>) -> Result<PodSandbox, Status> {
    pod.ok_or_else(|| invalid("the request names no pod"))
}

fn invalid(text: &str) -> Status {
    Status::new(Code::InvalidArgument, text)
}

fn unimplemented(what: &str) -> Status {
    tracing::debug!(what, "not implemented");
    Status::new(Code::Unimplemented, what)
}
