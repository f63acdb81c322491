//! A small cluster on one machine, real at every edge that the driver touches: sockets, CNI
//! plugins, network namespaces, processes, the kernel.
//!
//! Owns the other side of the driver's protocols, and refuses what the real ones refuse. It must
//! never help the driver: what a test wants to know, it asks the kernel or the API server.
//!
//! ```text
//! API server ── HTTP ──┐
//! kubelet ──── gRPC ───┤ netclaim, unchanged ── CNI plugins, netlink, bpf ── kernel
//! runtime ──── NRI ────┘
//! ```

pub mod apiserver;
pub mod check;
pub mod controller;
pub mod driver;
pub mod enclosure;
pub mod golden;
pub mod id;
pub mod kubelet;
pub mod left;
pub mod memory;
pub mod node;
pub mod place;
pub mod preflight;
pub mod runtime;
pub mod scheduler;
pub mod scrape;
pub mod talk;
pub mod tracer;
pub mod traffic;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use apiserver::ApiServer;
use apiserver::resource::PODS;
use apiserver::store::{Key, Part};
use kubelet::Kubelet;
use node::{Node, Switch};
use runtime::Runtime;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Each node with its links.
    pub nodes: Vec<(String, Vec<&'static str>)>,
    /// The runtimes.
    pub runtime: runtime::Options,
    /// The kubelets.
    pub kubelet: kubelet::Options,
}

impl Default for Options {
    /// The talk's node with eth1.
    fn default() -> Self {
        Self {
            nodes: vec![("kind-worker".to_owned(), vec!["eth0", "eth1"])],
            runtime: runtime::Options::default(),
            kubelet: kubelet::Options::default(),
        }
    }
}

/// A node with what runs on it.
#[derive(Debug)]
pub struct Worker {
    /// The machine.
    pub node: Arc<Node>,
    /// Its kubelet, and behind it the runtime.
    pub kubelet: Kubelet,
    /// Where the API server is found on it.
    pub api: SocketAddr,
}

/// A cluster.
#[derive(Debug)]
pub struct World {
    /// Its API server.
    pub api: ApiServer,
    /// Where it is found by processes that are on no node.
    pub address: SocketAddr,
    /// What joins its nodes.
    pub switch: Switch,
    /// Its nodes.
    pub workers: Vec<Worker>,
}

impl World {
    /// Brings a cluster up; only inside an enclosure, which also takes it down.
    pub fn up(options: &Options) -> Result<Self> {
        anyhow::ensure!(
            enclosure::is_inside(),
            "a world must be in an enclosure: start it with enclosure::command"
        );
        let mut api = ApiServer::new()?;
        let address = api.listen(None)?;
        let switch = Switch::new()?;
        let mut workers = Vec::new();
        for (index, (name, links)) in (1..).zip(&options.nodes) {
            let node = Arc::new(Node::up(&switch, name, index, links)?);
            workers.push(Worker::start(&mut api, node, options)?);
        }
        Ok(Self {
            api,
            address,
            switch,
            workers,
        })
    }

    /// The worker that a pod is bound to.
    pub fn worker_of(&self, pod: &Value) -> Result<&Worker> {
        let name = pod["spec"]["nodeName"]
            .as_str()
            .context("the pod is bound to no node")?;
        let worker = self.workers.iter().find(|worker| worker.node.name == name);
        worker.with_context(|| format!("no node {name}"))
    }

    /// Schedules a pod and starts it, within `limit`.
    pub async fn run_pod(&self, pod: &Value, limit: Duration) -> Result<Value> {
        let pod = scheduler::schedule(&self.api.store, pod)?;
        self.worker_of(&pod)?.kubelet.run_pod(&pod, limit).await?;
        Ok(pod)
    }

    /// Schedules and starts pods, all at once; returns them as they are bound.
    pub async fn run_pods(&self, pods: &[Value], limit: Duration) -> Result<Vec<Value>> {
        futures::future::try_join_all(pods.iter().map(|pod| self.run_pod(pod, limit))).await
    }

    /// Deletes a pod: it is stopped, its claims end.
    pub async fn delete_pod(&self, pod: &Value) -> Result<()> {
        let (namespace, name) = controller::place(pod);
        let key = Key::new(PODS, namespace, name);
        let pod = self.api.store.delete(PODS, &key, false)?;
        if let Ok(worker) = self.worker_of(&pod) {
            worker.kubelet.stop_pod(&pod).await?;
        }
        controller::release(&self.api.store, &pod)
    }
}

impl Worker {
    fn start(api: &mut ApiServer, node: Arc<Node>, options: &Options) -> Result<Self> {
        let address = api.listen(Some(&node.place))?;
        register(api, &node)?;
        node.write(
            driver::KUBECONFIG,
            apiserver::kubeconfig(address, "netclaim"),
        )?;
        let runtime = Runtime::start(Arc::clone(&node), options.runtime.clone())?;
        let store = Arc::clone(&api.store);
        let kubelet = Kubelet::start(Arc::clone(&node), store, runtime, options.kubelet)?;
        Ok(Self {
            node,
            kubelet,
            api: address,
        })
    }

    /// The network namespace of a pod of this node.
    pub async fn netns(&self, pod: &Value) -> Result<PathBuf> {
        let sandbox = self.kubelet.sandbox(pod).await;
        let sandbox = sandbox.context("the pod has no sandbox")?;
        self.kubelet.runtime.read().await.netns(&sandbox)
    }
}

/// The node's object, as a kubelet makes it.
fn register(api: &ApiServer, node: &Node) -> Result<()> {
    let name = &node.name;
    let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
        "labels": {"kubernetes.io/hostname": name}}});
    let mut object = talk::create(&api.store, object)?;
    object["status"] = json!({
        "addresses": [{"type": "InternalIP", "address": node.address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    });
    let nodes = apiserver::resource::NODES;
    api.store.replace(nodes, Part::Status, &object, "kubelet")?;
    Ok(())
}
