//! What a scenario acts on: its namespace, its pods, and the nodes' programs.
//!
//! Owns what was applied, and takes it away again. It looks from outside: at the API server, at the
//! kernel, at what the driver shows to everybody.

use std::{cell::RefCell, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use netclaim_proto::observe::Snapshot;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    lab::{
        Lab,
        install::NAMESPACE,
        network, program, programs,
        runtime::Runtime,
        scenarios::manifest::{self, From},
        wait,
    },
    world::{
        driver::{self, OBSERVE_SOCKET},
        place,
        scrape::Scrape,
        traffic::{self, Interface},
    },
};

/// For what happens by itself. The longest is a link that comes back: slices change at most once a
/// minute.
const LIMIT: Duration = Duration::from_mins(2);

/// A label that no node has.
const ABSENT: &str = "netclaim.dev/absent";

/// A scenario's handle on the cluster.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The cluster, for what the stage has no word for.
    pub lab: &'a Lab,
    /// The scenario's own; all that it applies goes there.
    pub namespace: String,
    /// To be deleted, newest last.
    applied: RefCell<Vec<String>>,
}

/// A pod as the API server has it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Where it was placed.
    pub node: String,
    /// All of it.
    pub object: Value,
}

impl<'a> Stage<'a> {
    /// The nodes with eth1 and eth2, one for each runtime.
    pub const WORKERS: [&'static str; 2] = ["kind-worker", "kind-worker2"];

    /// Where the API server runs; its driver offers eth0.
    pub const CONTROL_PLANE: &'static str = "kind-control-plane";

    /// A stage with a namespace of its own.
    pub async fn open(lab: &'a Lab, namespace: String) -> Result<Self> {
        lab.ask(&["create", "namespace", &namespace]).await?;
        let stage = Self {
            lab,
            namespace,
            applied: RefCell::default(),
        };
        let account = ["get", "serviceaccount", "default"];
        let exists = async || stage.kubectl(&account).await.map(drop);
        stage.until("the namespace's account", exists).await?;
        Ok(stage)
    }

    /// Takes everything away that was applied; the namespace goes in its own time.
    pub async fn close(&self) -> Result<()> {
        let all = "deployments,pods,resourceclaims,resourceclaimtemplates";
        self.kubectl(&["delete", all, "--all"]).await?;
        let applied = self.applied.take();
        for manifest in applied.iter().rev() {
            let delete = ["delete", "--ignore-not-found", "--filename=-"];
            self.feed(&delete, manifest).await?;
        }
        let delete = ["delete", "namespace", &self.namespace, "--wait=false"];
        self.lab.ask(&delete).await.map(drop)
    }

    /// Applies objects, in the namespace where they are of one.
    pub async fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        self.applied.borrow_mut().push(list.clone());
        self.feed(&["apply", "--filename=-"], &list).await
    }

    /// Applies a pod of each of these names to both workers, each with a claim of its own on eth1.
    /// Gives the pods' names: `kind-worker-a` and so on.
    pub async fn apply_to_workers(&self, names: &[&str]) -> Result<Vec<String>> {
        let network = manifest::macvlan("plain", "10.20.1.0/24");
        let net1 = manifest::claim("net1", "eth1", "net1", &network);
        let mut objects = vec![manifest::template(&net1)];
        let mut pods = Vec::new();
        for node in Self::WORKERS {
            for name in names {
                let name = format!("{node}-{name}");
                objects.push(manifest::pod(&name, node, &[From::Template("net1")]));
                pods.push(name);
            }
        }
        self.apply(&objects).await?;
        Ok(pods)
    }

    /// The same, and waits until each is Ready and attached.
    pub async fn settle_on_workers(&self, names: &[&str]) -> Result<Vec<String>> {
        let pods = self.apply_to_workers(names).await?;
        self.settled(&pods).await?;
        Ok(pods)
    }

    /// Waits until pods are Ready, and each has its net1 and a claim that says so.
    pub async fn settled(&self, pods: &[String]) -> Result<()> {
        let names: Vec<_> = pods.iter().map(String::as_str).collect();
        self.ready(&names).await?;
        let attached = names.iter().map(|pod| self.attached(pod, "net1"));
        try_join_all(attached).await.map(drop)
    }

    /// kubectl in the namespace; what it prints.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let namespace = format!("--namespace={}", self.namespace);
        self.lab.ask(&[&[namespace.as_str()], args].concat()).await
    }

    /// Deletes objects by kubectl's words for them, and waits until they are gone.
    pub async fn delete(&self, args: &[&str]) -> Result<()> {
        self.kubectl(&[&["delete"], args].concat()).await.map(drop)
    }

    /// Objects of the namespace, by kubectl's words for them.
    pub async fn list(&self, args: &[&str]) -> Result<Vec<Value>> {
        let namespace = format!("--namespace={}", self.namespace);
        self.lab.list(&[&[namespace.as_str()], args].concat()).await
    }

    /// Looks until there is no error any more, or for two minutes.
    pub async fn until<T>(&self, fact: &str, look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        wait::until(fact, LIMIT, look).await
    }

    /// Waits until every pod of the namespace is Ready.
    pub async fn all_ready(&self) -> Result<()> {
        self.ready(&["--all"]).await
    }

    /// Waits until pods are Ready, by their names.
    pub async fn ready(&self, pods: &[&str]) -> Result<()> {
        let timeout = format!("--timeout={}s", LIMIT.as_secs());
        let wait = ["wait", "pods", "--for=condition=Ready", &timeout];
        self.kubectl(&[&wait, pods].concat()).await.map(drop)
    }

    /// A pod by its name.
    pub async fn pod(&self, name: &str) -> Result<Pod> {
        let object = self.kubectl(&["get", "pod", name, "--output=json"]).await?;
        Pod::new(serde_json::from_str(&object)?)
    }

    /// The claim of a pod that was made for it or that it names; the first one where it has several.
    pub async fn claim_of(&self, pod: &str) -> Result<Value> {
        let pod = self.pod(pod).await?;
        let made = &pod.object["status"]["resourceClaimStatuses"][0]["resourceClaimName"];
        let named = &pod.object["spec"]["resourceClaims"][0]["resourceClaimName"];
        let name = made.as_str().or(named.as_str());
        let name = name.with_context(|| format!("{} has no claim yet", pod.name))?;
        self.claim(name).await
    }

    /// A claim by its name.
    pub async fn claim(&self, name: &str) -> Result<Value> {
        let claim = ["get", "resourceclaim", name, "--output=json"];
        Ok(serde_json::from_str(&self.kubectl(&claim).await?)?)
    }

    /// What was said about an object of the namespace, as `Reason: message`, oldest first.
    pub async fn events(&self, about: &str) -> Result<Vec<String>> {
        let about = format!("--field-selector=involvedObject.name={about}");
        let order = "--sort-by=.metadata.creationTimestamp";
        let events = self.list(&["events", &about, order]).await?;
        let text =
            |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let said = events
            .iter()
            .map(|event| (text(event, "reason"), text(event, "message")));
        Ok(said
            .map(|(reason, message)| format!("{reason}: {message}"))
            .collect())
    }

    /// Waits until something is said about an object.
    pub async fn said(&self, about: &str, words: &str) -> Result<()> {
        self.until(&format!("{words:?} about {about}"), async || {
            let events = self.events(about).await?;
            let found = events.iter().any(|event| event.contains(words));
            ensure!(found, "said was {events:?}");
            Ok(())
        })
        .await
    }

    /// Runs a command in a pod's container.
    pub async fn exec(&self, pod: &str, command: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", pod, "--"], command].concat())
            .await
    }

    /// A pod's interface as the kernel has it.
    pub fn interface(&self, pod: &Pod, name: &str) -> Result<Interface> {
        let wanted = name.to_owned();
        self.within(pod, move || traffic::here(&wanted))
            .with_context(|| format!("no {name:?} in {}", pod.name))
    }

    /// Runs a job in a pod's network namespace, from outside its container.
    pub fn within<T: Send + 'static>(
        &self,
        pod: &Pod,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let processes = self.lab.processes_of_pod(&pod.node, &pod.uid)?;
        let process = processes.first();
        let process = process.with_context(|| format!("no process of {} runs", pod.name))?;
        place::visit(PathBuf::from(format!("/proc/{process}/ns/net")), job)
    }

    /// Waits until a pod has its interface and its claim says so; gives the interface's address. Of
    /// several claims of the pod it is the first.
    pub async fn attached(&self, pod: &str, interface: &str) -> Result<String> {
        let fact = format!("{interface} of {pod} and its claim to agree");
        self.until(&fact, async || {
            self.agree(pod, interface, &self.claim_of(pod).await?).await
        })
        .await
    }

    /// The same, by a claim that the pod names.
    pub async fn attached_by(&self, pod: &str, claim: &str, interface: &str) -> Result<String> {
        let fact = format!("{interface} of {pod} and claim {claim} to agree");
        self.until(&fact, async || {
            self.agree(pod, interface, &self.claim(claim).await?).await
        })
        .await
    }

    async fn agree(&self, pod: &str, interface: &str, claim: &Value) -> Result<String> {
        let kernel = self.interface(&self.pod(pod).await?, interface)?;
        let devices = claim["status"]["devices"].as_array();
        let mut devices = devices.into_iter().flatten();
        let device = devices
            .find(|device| device["networkData"]["interfaceName"] == interface)
            .with_context(|| format!("the claim says {}", claim["status"]))?;
        ensure!(
            device["networkData"]["ips"] == json!(kernel.ips)
                && device["networkData"]["hardwareAddress"] == kernel.mac.as_str(),
            "the kernel has {kernel:?}, the claim says {}",
            device["networkData"]
        );
        ensure!(
            condition(device, "Ready")? == "True" && condition(device, "ProbeAttached")? == "True",
            "the claim says {}",
            device["conditions"]
        );
        Ok(kernel.address()?.to_string())
    }

    /// What the driver of a node shows to Prometheus.
    pub fn metrics(&self, node: &str) -> Result<Scrape> {
        place::visit(network::path(&self.lab.name, node), Scrape::here)
    }

    /// What the driver of a node shows to dra-top.
    pub async fn snapshot(&self, node: &str) -> Result<Snapshot> {
        driver::snapshot_at(self.lab.path_on(node, OBSERVE_SOCKET)?).await
    }

    /// Whether a node has the newer runtime, which knows more of NRI.
    pub fn runs_containerd_2(&self, node: &str) -> Result<bool> {
        let topology = self.lab.topology()?;
        let node = topology.node(node).map_err(anyhow::Error::msg)?;
        Ok(node.runtime == Runtime::Containerd2)
    }

    /// Runs a command on a node; what it prints.
    pub async fn on_node(&self, node: &str, command: &[&str]) -> Result<String> {
        program::finish(Command::from(self.lab.on_node(node, command)?), "").await
    }

    /// Takes the drivers from all nodes, and nothing else of what is installed.
    pub async fn send_drivers_away(&self) -> Result<()> {
        self.select_drivers(&json!({ABSENT: "true"})).await?;
        let nodes = self.lab.topology()?.nodes;
        self.until("the drivers to be gone", async || {
            for node in &nodes {
                let left = self.drivers(&node.name)?;
                ensure!(left.is_empty(), "{} has processes {left:?}", node.name);
            }
            Ok(())
        })
        .await
    }

    /// Gives every node its driver again; does not wait for them.
    pub async fn call_drivers_back(&self) -> Result<()> {
        self.select_drivers(&Value::Null).await
    }

    async fn select_drivers(&self, nodes: &Value) -> Result<()> {
        let spec = json!({"template": {"spec": {"nodeSelector": nodes}}});
        let patch = format!("--patch={}", json!({"spec": spec}));
        let of = [
            "patch",
            "daemonset/netclaim-driver",
            "--namespace",
            NAMESPACE,
        ];
        self.lab.ask(&[&of[..], &[&patch]].concat()).await.map(drop)
    }

    /// The processes of the drivers of a node: two during a rolling update.
    pub fn drivers(&self, node: &str) -> Result<Vec<u32>> {
        self.lab.processes(node, &["netclaim", "run"])
    }

    /// The process that keeps a pod's namespaces.
    pub fn pause(&self, pod: &Pod) -> Result<u32> {
        let mut processes = self.lab.processes_of_pod(&pod.node, &pod.uid)?.into_iter();
        let pause = processes.find(|pid| programs::begins_with(*pid, &["sleep", "2147483647"]));
        pause.with_context(|| format!("{} has no pause process", pod.name))
    }

    async fn feed(&self, args: &[&str], manifest: &str) -> Result<()> {
        let namespace = format!("--namespace={}", self.namespace);
        let args = [&[namespace.as_str()], args].concat();
        self.lab.feed(&args, manifest).await
    }
}

impl Pod {
    fn new(object: Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        Ok(Self {
            name: text(&metadata["name"]).context("a pod without a name")?,
            uid: text(&metadata["uid"]).context("a pod without a UID")?,
            node: text(&spec["nodeName"]).context("the pod is not placed")?,
            object,
        })
    }
}

/// A condition's status in a claim's device.
pub fn condition<'a>(device: &'a Value, kind: &str) -> Result<&'a str> {
    let conditions = device["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == kind);
    let status = found.and_then(|condition| condition["status"].as_str());
    status.with_context(|| format!("no condition {kind} in {}", device["conditions"]))
}
