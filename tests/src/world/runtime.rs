//! A container runtime: sandboxes are real network namespaces, containers real processes, and
//! NRI plugins are asked about them.
//!
//! Owns the order of things in a pod's life, containerd's or CRI-O's. It must never wait for a
//! plugin longer than it said, and goes on without one that is late, as the real ones do.

pub mod nri;
mod sandbox;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nri_client::api::{self, Event};

use super::node::Node;
use nri::{Adaptation, Generation};
use sandbox::Sandbox;

pub use sandbox::Pod;

/// What kind of runtime this is.
#[derive(Clone, Debug)]
pub struct Options {
    /// How pod events reach plugins.
    pub generation: Generation,
    /// Whether the network namespace is gone before plugins hear of a stop, as in CRI-O.
    pub removes_netns_first: bool,
    /// How long a plugin may take for an answer: 2 s unless a node's administrator says more, as
    /// one does whose node is as busy as a machine that runs tests.
    pub request_timeout: Duration,
    /// Pods in one message of Synchronize.
    pub pods_per_message: usize,
    /// Whether pods get an eth0.
    pub cluster_network: bool,
}

impl Default for Options {
    /// containerd of today.
    fn default() -> Self {
        Self {
            generation: Generation::Dedicated,
            removes_netns_first: false,
            request_timeout: Duration::from_secs(10),
            pods_per_message: 8,
            cluster_network: true,
        }
    }
}

/// The runtime of one node.
#[derive(Debug)]
pub struct Runtime {
    node: Arc<Node>,
    options: Options,
    sandboxes: Arc<Sandboxes>,
    nri: Adaptation,
}

/// The sandboxes by id, also for those who synchronize a plugin.
#[derive(Debug, Default)]
pub(crate) struct Sandboxes(Mutex<BTreeMap<String, Sandbox>>);

impl Runtime {
    /// Starts on `node`; plugins find it at the usual socket.
    pub fn start(node: Arc<Node>, options: Options) -> Result<Self> {
        let sandboxes = Arc::new(Sandboxes::default());
        let nri = Adaptation::listen(&node, &options, Arc::clone(&sandboxes))?;
        Ok(Self {
            node,
            options,
            sandboxes,
            nri,
        })
    }

    /// Ends every plugin's connection and begins anew; the sandboxes stay.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.nri = Adaptation::listen(&self.node, &self.options, Arc::clone(&self.sandboxes))?;
        Ok(())
    }

    /// Ends every plugin's connection and is gone until [`Runtime::restart`].
    pub async fn stop(&mut self) -> Result<()> {
        self.nri.close(&self.node).await
    }

    /// The plugins that are connected and synchronized, as `10-netclaim`.
    pub async fn plugins(&self) -> Vec<String> {
        self.nri.plugins().await
    }

    /// How long the plugin that came last took to take in all sandboxes.
    pub async fn synchronized_in(&self) -> Option<Duration> {
        self.nri.synchronized_in().await
    }

    /// Starts a pod's sandbox, or nothing of it: what a plugin refuses is gone, and no plugin hears
    /// of that (containerd's `internal/cri/server/sandbox_run.go`). Returns its id.
    pub async fn run_pod_sandbox(&self, pod: &Pod) -> Result<String> {
        let sandbox = Sandbox::create(&self.node, pod, self.options.cluster_network)?;
        let (id, message) = (sandbox.id.clone(), sandbox.to_message());
        self.sandboxes.lock().insert(id.clone(), sandbox);
        let asked = Instant::now();
        let refused = self.nri.pod(Event::RunPodSandbox, message).await.err();
        if let Some(sandbox) = self.sandboxes.lock().get_mut(&id) {
            sandbox.answered_in = Some(asked.elapsed());
        }
        if let Some(refusal) = refused {
            let refused = self.sandboxes.lock().remove(&id);
            if let Some(mut sandbox) = refused {
                sandbox.kill();
                sandbox.remove_netns(&self.node)?;
            }
            return Err(refusal.context("failed to run the sandbox: NRI RunPodSandbox failed"));
        }
        Ok(id)
    }

    /// Creates and starts a container, a process of the sandbox's namespace.
    pub async fn run_container(&self, sandbox: &str, name: &str) -> Result<()> {
        let (pod, container) = {
            let sandboxes = self.sandboxes.lock();
            let sandbox = sandboxes.get(sandbox).context("no such sandbox")?;
            (sandbox.to_message(), sandbox.new_container(name))
        };
        let id = container.id.clone();
        self.nri.create_container(pod, container).await?;
        let mut sandboxes = self.sandboxes.lock();
        let sandbox = sandboxes.get_mut(sandbox).context("the sandbox is gone")?;
        sandbox.start_container(&self.node, id, name)
    }

    /// Ends a sandbox's processes and network; it is told to plugins until it is removed. May be
    /// called again.
    pub async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        let message = {
            let mut sandboxes = self.sandboxes.lock();
            let Some(sandbox) = sandboxes.get_mut(id) else {
                return Ok(());
            };
            let message = sandbox.to_message();
            sandbox.kill();
            if self.options.removes_netns_first {
                sandbox.remove_netns(&self.node)?;
            }
            message
        };
        if let Err(error) = self.nri.pod(Event::StopPodSandbox, message).await {
            tracing::warn!("NRI StopPodSandbox failed: {error:#}");
        }
        match self.sandboxes.lock().get_mut(id) {
            Some(sandbox) => sandbox.remove_netns(&self.node),
            None => Ok(()),
        }
    }

    /// Forgets a stopped sandbox. May be called again.
    pub async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        let Some(sandbox) = self.sandboxes.lock().remove(id) else {
            return Ok(());
        };
        let message = sandbox.to_message();
        if let Err(error) = self.nri.pod(Event::RemovePodSandbox, message).await {
            tracing::warn!("NRI RemovePodSandbox failed: {error:#}");
        }
        Ok(())
    }

    /// The path of a sandbox's network namespace, on the node.
    pub fn netns(&self, id: &str) -> Result<std::path::PathBuf> {
        let sandboxes = self.sandboxes.lock();
        let sandbox = sandboxes.get(id).context("no such sandbox")?;
        sandbox
            .netns
            .clone()
            .ok_or_else(|| anyhow!("the sandbox has no network of its own"))
    }

    /// How long the plugins took to answer for a sandbox that runs.
    pub fn answered_in(&self, id: &str) -> Option<Duration> {
        self.sandboxes.lock().get(id)?.answered_in
    }

    /// Whether a sandbox holds a container, be it one that has exited.
    pub fn holds_container(&self, id: &str) -> bool {
        let sandboxes = self.sandboxes.lock();
        sandboxes.get(id).is_some_and(Sandbox::holds_container)
    }

    /// Whether every process of a sandbox's containers runs.
    pub fn is_running(&self, id: &str) -> bool {
        let mut sandboxes = self.sandboxes.lock();
        sandboxes.get_mut(id).is_some_and(Sandbox::is_running)
    }
}

impl Sandboxes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Sandbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As Synchronize tells them: also the sandboxes that are stopped, and of the containers those
    /// that run (containerd's `internal/cri/nri`).
    fn to_messages(&self) -> (Vec<api::PodSandbox>, Vec<api::Container>) {
        let sandboxes = self.lock();
        let pods = sandboxes.values().map(Sandbox::to_message).collect();
        let containers = sandboxes.values().flat_map(Sandbox::containers).collect();
        (pods, containers)
    }
}
