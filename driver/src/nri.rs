//! Follows the pods of the node through the runtime's NRI, and stays connected.
//!
//! Owns the session with the runtime and the time that an answer may take. It never talks to the
//! API server: the runtime waits with every pod of the node while it waits for us.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use netclaim_core::{
    attachment::PodSandbox, claim::PodRef, failure::Failure, name::SandboxId, snapshot::NriState,
};
use nri_client::{
    Plugin, Refusal, Runtime,
    api::{self, ContainerState},
    plugin::REQUEST_TIMEOUT,
};
use tokio::sync::watch;

use crate::{
    clock,
    engine::{Engine, Occasion},
    host::Host,
    mutex::locked,
};

pub mod connection;

/// The pods as the runtime announces them, handed to whoever acts on them.
///
/// Without an engine (a standby) it remembers and answers at once.
pub struct Pods<H> {
    stage: Mutex<Stage<H>>,
    request_timeout: Mutex<Duration>,
    state: watch::Sender<NriState>,
}

enum Stage<H> {
    Standby {
        seen: BTreeMap<SandboxId, PodSandbox>,
        running: BTreeSet<SandboxId>,
        /// The runtime has told all that there is.
        told: bool,
    },
    Active(Arc<Engine<H>>),
}

impl<H: Host> Pods<H> {
    /// Pods that nobody acts on yet.
    pub fn new() -> Arc<Self> {
        let state = NriState {
            connected: false,
            since: clock::now(),
            runtime: None,
        };
        Arc::new(Self {
            stage: Mutex::new(Stage::standby()),
            request_timeout: Mutex::new(REQUEST_TIMEOUT),
            state: watch::Sender::new(state),
        })
    }

    /// Whether the runtime is connected, from here on.
    pub fn watch_state(&self) -> watch::Receiver<NriState> {
        self.state.subscribe()
    }

    /// Hands all that was seen to the engine, which acts on the pods from here on. One that the
    /// runtime has told nothing yet hears it from the runtime.
    pub fn activate(&self, engine: &Arc<Engine<H>>) {
        let mut stage = self.stage();
        if let Stage::Standby {
            seen,
            running,
            told: true,
        } = &mut *stage
        {
            engine.synchronize(std::mem::take(seen).into_values().collect(), running);
        }
        *stage = Stage::Active(Arc::clone(engine));
    }

    /// Hands nothing to the engine any more; what comes from here on is remembered.
    pub fn retire(&self) {
        *self.stage() = Stage::standby();
    }

    /// The engine, once there is one; until then `remember` notes what happened.
    fn engine(
        &self,
        remember: impl FnOnce(&mut BTreeMap<SandboxId, PodSandbox>),
    ) -> Option<Arc<Engine<H>>> {
        match &mut *self.stage() {
            Stage::Active(engine) => Some(Arc::clone(engine)),
            Stage::Standby { seen, .. } => {
                remember(seen);
                None
            }
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage<H>> {
        locked(&self.stage)
    }

    /// Three quarters of what the runtime waits: past it, it drops us and starts pods bare.
    fn deadline(&self) -> Instant {
        let timeout = *locked(&self.request_timeout);
        Instant::now() + timeout * 3 / 4
    }

    fn connected(&self, runtime: Option<String>) {
        let connected = runtime.is_some();
        self.state.send_modify(|state| {
            *state = NriState {
                connected,
                since: clock::now(),
                runtime: runtime.or_else(|| state.runtime.take()),
            };
        });
    }
}

impl<H> Stage<H> {
    fn standby() -> Self {
        Self::Standby {
            seen: BTreeMap::new(),
            running: BTreeSet::new(),
            told: false,
        }
    }
}

impl<H: Host> Plugin for Pods<H> {
    async fn configure(&self, runtime: Runtime) -> Result<(), Refusal> {
        *locked(&self.request_timeout) = runtime.request_timeout;
        tracing::info!(
            runtime = %runtime.name, version = %runtime.version,
            request_timeout = ?runtime.request_timeout, "connected to the container runtime"
        );
        self.connected(Some(format!("{} {}", runtime.name, runtime.version)));
        Ok(())
    }

    async fn synchronize(
        &self,
        pods: Vec<api::PodSandbox>,
        containers: Vec<api::Container>,
    ) -> Result<(), Refusal> {
        let all: Vec<PodSandbox> = pods.iter().filter_map(sandbox).collect();
        let ran = containers
            .iter()
            .filter(|container| container.state == ContainerState::ContainerRunning as i32);
        let ran = ran
            .filter_map(|container| container.pod_sandbox_id.parse().ok())
            .collect();
        match &mut *self.stage() {
            Stage::Active(engine) => engine.synchronize(all, &ran),
            Stage::Standby {
                seen,
                running,
                told,
            } => {
                *told = true;
                *seen = all
                    .into_iter()
                    .map(|sandbox| (sandbox.id.clone(), sandbox))
                    .collect();
                *running = ran;
            }
        }
        Ok(())
    }

    async fn run_pod_sandbox(&self, pod: api::PodSandbox) -> Result<(), Refusal> {
        let started = self.ensure(&pod).await;
        if let (Err(_), Stage::Active(engine), Ok(id)) = (&started, &*self.stage(), pod.id.parse())
        {
            engine.refused(&id);
        }
        started
    }

    async fn stop_pod_sandbox(&self, pod: api::PodSandbox) -> Result<(), Refusal> {
        let Some(sandbox) = sandbox(&pod) else {
            return Ok(());
        };
        let engine = self.engine(|seen| {
            seen.remove(&sandbox.id);
        });
        if let Some(engine) = engine {
            engine.detach(&sandbox, self.deadline()).await;
        }
        Ok(())
    }

    async fn remove_pod_sandbox(&self, pod: api::PodSandbox) -> Result<(), Refusal> {
        self.stop_pod_sandbox(pod).await
    }

    /// No pod starts bare: a container waits for the interfaces of its sandbox.
    async fn create_container(
        &self,
        pod: api::PodSandbox,
        _container: api::Container,
    ) -> Result<(), Refusal> {
        if let (Stage::Standby { running, .. }, Ok(id)) = (&mut *self.stage(), pod.id.parse()) {
            running.insert(id);
        }
        self.ensure(&pod).await?;
        if let (Stage::Active(engine), Ok(id)) = (&*self.stage(), pod.id.parse()) {
            engine.started(&id);
        }
        Ok(())
    }

    async fn shutdown(&self) {
        tracing::info!("the container runtime says goodbye");
    }
}

impl<H: Host> Pods<H> {
    async fn ensure(&self, pod: &api::PodSandbox) -> Result<(), Refusal> {
        let Some(sandbox) = sandbox(pod) else {
            return Ok(());
        };
        let engine = self.engine(|seen| {
            seen.insert(sandbox.id.clone(), sandbox.clone());
        });
        let Some(engine) = engine else { return Ok(()) };
        let attached = engine
            .attach(&sandbox, self.deadline(), Occasion::Start)
            .await;
        attached.map_err(|failure: Failure| Refusal::new(failure.message))
    }
}

/// Where the kubelet has a pod from, as it tells the runtime.
const SOURCE: &str = "kubernetes.io/config.source";

/// A sandbox in our words. One whose names Kubernetes would not give has no claim of ours, and no
/// more has a static pod: the API server, itself one, must start while it is away.
fn sandbox(pod: &api::PodSandbox) -> Option<PodSandbox> {
    if pod
        .annotations
        .get(SOURCE)
        .is_some_and(|source| source != "api")
    {
        return None;
    }
    let parsed = || -> Result<PodSandbox, netclaim_core::name::NameError> {
        Ok(PodSandbox {
            id: pod.id.parse()?,
            pod: PodRef {
                namespace: pod.namespace.parse()?,
                name: pod.name.parse()?,
                uid: pod.uid.parse()?,
            },
            netns: pod.network_namespace().map(str::to_owned),
            runtime_handler: pod.runtime_handler.clone(),
        })
    };
    parsed()
        .inspect_err(|error| tracing::debug!(%error, "a sandbox that is no pod's"))
        .ok()
}

#[cfg(test)]
mod tests;
