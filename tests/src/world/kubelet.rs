//! The kubelet: finds plugins, prepares claims, starts and stops pods.
//!
//! Owns the order prepare, sandbox, containers and the retries. It must never trust a plugin: what
//! the real one checks in an answer is checked, and a little more.

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

/// Between two attempts; the real kubelet takes seconds.
const RETRY: Duration = Duration::from_millis(100);

/// What kind of kubelet this is.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The newest version of the DRA protocol that it speaks.
    pub version: Version,
    /// How long a driver may be away until its slices are deleted.
    pub wipe_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: Version::V1,
            wipe_after: Duration::from_secs(30),
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
    state: Mutex<State>,
}

/// What the kubelet remembers.
#[derive(Debug, Default)]
struct State {
    /// By claim UID: its pods. A claim is unprepared when the last one is gone.
    prepared: BTreeMap<String, BTreeSet<String>>,
    /// By pod UID.
    sandboxes: BTreeMap<String, String>,
    next_address: u8,
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
            if Instant::now() + RETRY > deadline {
                return Err(error.context(format!("pod {name} does not start")));
            }
            sleep(RETRY).await;
        }
    }

    /// One attempt: prepare, then the sandbox if there is none, then the containers that do not
    /// run. A refused container is tried again in the same sandbox.
    pub async fn try_run_pod(&self, pod: &Value) -> Result<()> {
        let uid = text(&pod["metadata"]["uid"]);
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
        self.prepare(&claims, &text(&pod["metadata"]["uid"])).await
    }

    /// Makes a pod's sandbox, and no container yet.
    pub async fn make_sandbox(&self, pod: &Value) -> Result<()> {
        let uid = text(&pod["metadata"]["uid"]);
        self.run_sandbox(pod, &uid).await.map(drop)
    }

    /// Loses sight of a pod's sandbox, so that the next attempt makes another.
    pub async fn lose_sandbox(&self, pod: &Value) {
        let uid = text(&pod["metadata"]["uid"]);
        self.state.lock().await.sandboxes.remove(&uid);
    }

    /// Stops a pod, frees its claims on the node, and deletes the pod.
    pub async fn stop_pod(&self, pod: &Value) -> Result<()> {
        let uid = text(&pod["metadata"]["uid"]);
        if let Some(sandbox) = self.state.lock().await.sandboxes.remove(&uid) {
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

    /// Restarts: forgets which claims are prepared, so that Prepare comes again, and the slices.
    pub async fn restart(&self) -> Result<()> {
        wipe_slices(&self.store, &self.node.name, None)?;
        self.plugins.rediscover();
        self.state.lock().await.prepared.clear();
        Ok(())
    }

    /// The sandbox of a pod.
    pub async fn sandbox(&self, pod: &Value) -> Option<String> {
        let uid = text(&pod["metadata"]["uid"]);
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

    async fn prepare(&self, claims: &[Value], pod: &str) -> Result<()> {
        let mut state = self.state.lock().await;
        let unprepared: Vec<&Value> = claims
            .iter()
            .filter(|claim| {
                !state
                    .prepared
                    .contains_key(&text(&claim["metadata"]["uid"]))
            })
            .collect();
        for (driver, claims) in by_driver(&unprepared) {
            let plugin = self.plugins.get(&driver)?;
            plugin.prepare(&claims).await?;
        }
        for claim in claims {
            let uid = text(&claim["metadata"]["uid"]);
            state
                .prepared
                .entry(uid)
                .or_default()
                .insert(pod.to_owned());
        }
        Ok(())
    }

    async fn unprepare(&self, claims: &[Value], pod: &str) -> Result<()> {
        let mut state = self.state.lock().await;
        let mut last = Vec::new();
        for claim in claims {
            let pods = state.prepared.get_mut(&text(&claim["metadata"]["uid"]));
            if let Some(pods) = pods {
                pods.remove(pod);
                if pods.is_empty() {
                    last.push(claim);
                }
            }
        }
        for (driver, claims) in by_driver(&last) {
            let plugin = self.plugins.get(&driver)?;
            plugin.unprepare(&claims).await?;
        }
        for claim in last {
            state.prepared.remove(&text(&claim["metadata"]["uid"]));
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

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
