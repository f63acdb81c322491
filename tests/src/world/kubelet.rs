//! The kubelet: finds plugins, prepares claims, starts and stops pods.
//!
//! Owns the order prepare, sandbox, containers and the retries. It must never trust a plugin: what
//! the real one checks in an answer is checked, and a little more.

pub mod dial;
mod plugin;
mod registration;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::sync::{Mutex, RwLock};
use tokio::time::{Instant, sleep};

use super::apiserver::resource::{CLAIMS, PODS, SLICES};
use super::apiserver::store::{Key, Part, Store};
use super::controller::place;
use super::node::Node;
use super::runtime::{Pod, Runtime};

pub use plugin::{Health, Plugin, Version};
pub use registration::Plugins;

const BY: &str = "kubelet";

/// What kind of kubelet this is.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The newest version of the DRA protocol that it speaks.
    pub version: Version,
    /// How long a driver may be away until its slices are deleted.
    pub wipe_after: Duration,
    /// Until a socket that failed for the first time is tried again.
    pub first_retry: Duration,
    /// Between two attempts at a pod: nothing of it is tried but all in order. The real kubelet
    /// takes 10 s.
    pub resync: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: Version::V1,
            wipe_after: Duration::from_secs(30),
            first_retry: Duration::from_millis(500),
            resync: Duration::from_millis(100),
        }
    }
}

/// The kubelet of one node.
#[derive(Debug)]
pub struct Kubelet {
    node: Arc<Node>,
    store: Arc<Store>,
    /// The runtime, which a test may stop and start.
    pub runtime: Arc<RwLock<Runtime>>,
    /// The plugins that registered.
    pub plugins: Plugins,
    resync: Duration,
    state: Mutex<State>,
}

/// What the kubelet remembers.
#[derive(Debug, Default)]
struct State {
    /// By UID.
    claims: BTreeMap<String, Held>,
    /// By pod UID.
    sandboxes: BTreeMap<String, String>,
    /// By pod UID: stopped, and kept for the containers that ran in them.
    dead: BTreeMap<String, Vec<String>>,
    next_address: u8,
}

/// A claim of pods of this node. It is unprepared when the last of them is gone, whatever came of
/// Prepare, and prepared once: also a further pod finds it prepared.
#[derive(Debug, Default)]
struct Held {
    pods: BTreeSet<String>,
    prepared: bool,
}

impl Kubelet {
    /// Starts on `node`. Slices of this node from before are deleted, as the real one does: their
    /// drivers publish them again.
    pub fn start(
        node: Arc<Node>,
        store: Arc<Store>,
        runtime: Runtime,
        options: Options,
    ) -> Result<Self> {
        wipe_slices(&store, &node.name, None)?;
        let plugins = Plugins::watch(Arc::clone(&node), Arc::clone(&store), options);
        Ok(Self {
            node,
            store,
            runtime: Arc::new(RwLock::new(runtime)),
            plugins,
            resync: options.resync,
            state: Mutex::new(State {
                next_address: 2,
                ..State::default()
            }),
        })
    }

    /// Starts a pod that is bound to this node, with retries, until it runs or `limit` is over.
    pub async fn run_pod(&self, pod: &Value, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let error = match self.try_run_pod(pod).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let (_, name) = place(pod);
            tracing::debug!("pod {name} does not start yet: {error:#}");
            if Instant::now() + self.resync > deadline {
                return Err(error.context(format!("pod {name} does not start")));
            }
            sleep(self.resync).await;
        }
    }

    /// One attempt: prepare, then the sandbox if there is none, then the containers that do not
    /// run. A refused container is tried again in the same sandbox.
    pub async fn try_run_pod(&self, pod: &Value) -> Result<()> {
        let uid = uid_of(pod);
        let claims = self.claims_of(pod)?;
        self.prepare(&claims, &uid).await?;
        let sandbox = self.state.lock().await.sandboxes.get(&uid).cloned();
        let (sandbox, address) = match sandbox {
            Some(sandbox) => (sandbox, None),
            None => self.run_sandbox(pod, &uid).await?,
        };
        let runtime = self.runtime.read().await;
        if !runtime.is_running(&sandbox) {
            for container in list(&pod["spec"]["containers"]) {
                let name = text(&container["name"]);
                let run = runtime.run_container(&sandbox, &name).await;
                run.with_context(|| format!("cannot create container {name}"))?;
            }
        }
        drop(runtime);
        self.report(pod, address)
    }

    /// Prepares a pod's claims, and makes no sandbox yet.
    pub async fn prepare_pod(&self, pod: &Value) -> Result<()> {
        let claims = self.claims_of(pod)?;
        self.prepare(&claims, &uid_of(pod)).await
    }

    /// Makes a pod's sandbox, and no container yet.
    pub async fn make_sandbox(&self, pod: &Value) -> Result<()> {
        let uid = uid_of(pod);
        self.run_sandbox(pod, &uid).await.map(drop)
    }

    /// Loses sight of a pod's sandbox, so that the next attempt makes another.
    pub async fn lose_sandbox(&self, pod: &Value) {
        let uid = uid_of(pod);
        self.state.lock().await.sandboxes.remove(&uid);
    }

    /// The pod's sandbox died: it is stopped, and the next attempt makes another. The runtime lists
    /// it as long as it holds a container, although that has exited.
    pub async fn end_sandbox(&self, pod: &Value) -> Result<()> {
        let uid = uid_of(pod);
        let sandbox = self.state.lock().await.sandboxes.remove(&uid);
        let sandbox = sandbox.context("the pod has no sandbox")?;
        let runtime = self.runtime.read().await;
        runtime.stop_pod_sandbox(&sandbox).await?;
        if !runtime.holds_container(&sandbox) {
            return runtime.remove_pod_sandbox(&sandbox).await;
        }
        let mut state = self.state.lock().await;
        state.dead.entry(uid).or_default().push(sandbox);
        Ok(())
    }

    /// Stops a pod, frees its claims on the node, and deletes the pod.
    pub async fn stop_pod(&self, pod: &Value) -> Result<()> {
        let uid = uid_of(pod);
        let sandboxes = {
            let mut state = self.state.lock().await;
            let dead = state.dead.remove(&uid).unwrap_or_default();
            state.sandboxes.remove(&uid).into_iter().chain(dead)
        };
        for sandbox in sandboxes {
            let runtime = self.runtime.read().await;
            runtime.stop_pod_sandbox(&sandbox).await?;
            runtime.remove_pod_sandbox(&sandbox).await?;
        }
        let claims = self.claims_of(pod)?;
        self.unprepare(&claims, &uid).await?;
        let (namespace, name) = place(pod);
        self.store
            .delete(PODS, &Key::new(PODS, namespace, name), true)?;
        Ok(())
    }

    /// Restarts: forgets that claims are prepared, so that Prepare comes again, but not whose they
    /// are; and deletes the slices.
    pub async fn restart(&self) -> Result<()> {
        wipe_slices(&self.store, &self.node.name, None)?;
        self.plugins.rediscover();
        let mut state = self.state.lock().await;
        let claims = state.claims.values_mut();
        claims.for_each(|claim| claim.prepared = false);
        Ok(())
    }

    /// The sandbox of a pod.
    pub async fn sandbox(&self, pod: &Value) -> Option<String> {
        let uid = uid_of(pod);
        self.state.lock().await.sandboxes.get(&uid).cloned()
    }

    async fn run_sandbox(&self, pod: &Value, uid: &str) -> Result<(String, Option<String>)> {
        let host_network = pod["spec"]["hostNetwork"] == true;
        let address = if host_network {
            self.node.address.clone()
        } else {
            self.next_address().await
        };
        let (namespace, name) = place(pod);
        let sandbox = Pod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            host_network,
            runtime_handler: text(&pod["spec"]["runtimeClassName"]),
            ip: Some(address.clone()),
        };
        let id = self.runtime.read().await.run_pod_sandbox(&sandbox).await?;
        let mut state = self.state.lock().await;
        state.sandboxes.insert(uid.to_owned(), id.clone());
        Ok((id, Some(address)))
    }

    async fn next_address(&self) -> String {
        let mut state = self.state.lock().await;
        let address = self.node.pod_address(state.next_address);
        state.next_address = state.next_address.checked_add(1).unwrap_or(2);
        address
    }

    /// The pod's claims, if they are allocated and reserved for it.
    fn claims_of(&self, pod: &Value) -> Result<Vec<Value>> {
        let (namespace, name) = place(pod);
        let pod = self.store.get(PODS, namespace, name)?;
        let mut claims = Vec::new();
        for status in list(&pod["status"]["resourceClaimStatuses"]) {
            let name = text(&status["resourceClaimName"]);
            let claim = self.store.get(CLAIMS, namespace, &name)?;
            let reserved = list(&claim["status"]["reservedFor"])
                .iter()
                .any(|consumer| consumer["uid"] == pod["metadata"]["uid"]);
            ensure!(reserved, "ResourceClaim {name} is not reserved for the pod");
            claims.push(claim);
        }
        Ok(claims)
    }

    /// Pods are prepared side by side: nothing is locked while a plugin works.
    async fn prepare(&self, claims: &[Value], pod: &str) -> Result<()> {
        let unprepared = self.state.lock().await.hold(claims, pod);
        for (driver, claims) in by_driver(&unprepared) {
            let plugin = self.plugins.get(&driver)?;
            plugin.prepare(&claims).await?;
        }
        let mut state = self.state.lock().await;
        for claim in unprepared {
            if let Some(held) = state.claims.get_mut(&uid_of(claim)) {
                held.prepared = true;
            }
        }
        Ok(())
    }

    async fn unprepare(&self, claims: &[Value], pod: &str) -> Result<()> {
        let last = self.state.lock().await.leave(claims, pod);
        for (driver, claims) in by_driver(&last) {
            let plugin = self.plugins.get(&driver)?;
            plugin.unprepare(&claims).await?;
        }
        let mut state = self.state.lock().await;
        for claim in last {
            state.claims.remove(&uid_of(claim));
        }
        Ok(())
    }

    fn report(&self, pod: &Value, address: Option<String>) -> Result<()> {
        let (namespace, name) = place(pod);
        let edit = |pod: &mut Value| {
            pod["status"]["phase"] = "Running".into();
            if let Some(address) = address {
                pod["status"]["podIP"] = address.as_str().into();
                pod["status"]["hostIP"] = self.node.address.as_str().into();
                pod["status"]["podIPs"] = json!([{"ip": address}]);
            }
        };
        self.store
            .edit(PODS, namespace, name, Part::Status, BY, edit)?;
        Ok(())
    }
}

impl State {
    /// Notes the pod as one of each claim; returns the claims that are not prepared.
    fn hold<'a>(&mut self, claims: &'a [Value], pod: &str) -> Vec<&'a Value> {
        let mut unprepared = Vec::new();
        for claim in claims {
            let held = self.claims.entry(uid_of(claim)).or_default();
            held.pods.insert(pod.to_owned());
            if !held.prepared {
                unprepared.push(claim);
            }
        }
        unprepared
    }

    /// Takes the pod from each claim; returns the claims that have no other.
    fn leave<'a>(&mut self, claims: &'a [Value], pod: &str) -> Vec<&'a Value> {
        let mut last = Vec::new();
        for claim in claims {
            if let Some(held) = self.claims.get_mut(&uid_of(claim)) {
                held.pods.remove(pod);
                if held.pods.is_empty() {
                    last.push(claim);
                }
            }
        }
        last
    }
}

/// Deletes the slices of a node, of one driver or all.
fn wipe_slices(store: &Store, node: &str, driver: Option<&str>) -> Result<()> {
    for slice in store.all(SLICES) {
        let spec = &slice["spec"];
        if spec["nodeName"] == node && driver.is_none_or(|driver| spec["driver"] == driver) {
            let (_, name) = place(&slice);
            store.delete(SLICES, &Key::new(SLICES, "", name), true)?;
        }
    }
    Ok(())
}

/// The claims of each driver that allocated something to them.
fn by_driver<'a>(claims: &[&'a Value]) -> BTreeMap<String, Vec<&'a Value>> {
    let mut drivers: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for claim in claims {
        let results = list(&claim["status"]["allocation"]["devices"]["results"]);
        let names: BTreeSet<String> = results
            .iter()
            .map(|result| text(&result["driver"]))
            .collect();
        for name in names {
            drivers.entry(name).or_default().push(claim);
        }
    }
    drivers
}

fn uid_of(object: &Value) -> String {
    text(&object["metadata"]["uid"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
