use std::{
    collections::BTreeSet,
    future,
    path::Path,
    sync::{
        Mutex as StdMutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use netclaim_core::{
    attachment::{Attachment, Key, Phase, ProbeMode, ProbeState, Slot},
    claim::{Allocated, ClaimRef, PodRef, PreparedClaim, PreparedDevice},
    cni::{AddResult, CachedAttachment},
    counters::{Counters, Traffic},
    drops::Drops,
    inventory::{LinkState, Mode},
    reconcile::{Found, Lease, Orphans},
};

use super::*;
use crate::{
    host::{Last, Tried},
    journal::Opened,
};

mod attach;
mod consumers;
mod detach;
mod flows;
mod prepare;
mod recover;

const SOON: Duration = Duration::from_secs(5);

/// A time to answer in.
const BRIEF: Duration = Duration::from_millis(50);

/// When an answer in a brief time has to be here: what is kept of a runtime's two seconds.
const PROMPT: Duration = Duration::from_millis(500);

/// A node in memory. After `calls_left` verbs it never answers again, as a killed driver sees it.
#[derive(Debug)]
struct Node {
    interfaces: StdMutex<BTreeSet<Key>>,
    probes: StdMutex<BTreeSet<Key>>,
    flows: StdMutex<BTreeSet<Key>>,
    calls_left: AtomicUsize,
    fails: StdMutex<BTreeSet<&'static str>>,
    /// Sandboxes of which a DEL does not end.
    hangs: watch::Sender<BTreeSet<SandboxId>>,
    /// How long an ADD takes.
    slow: StdMutex<Duration>,
    found: StdMutex<Found>,
}

impl Node {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            interfaces: StdMutex::default(),
            probes: StdMutex::default(),
            flows: StdMutex::default(),
            calls_left: AtomicUsize::new(usize::MAX),
            fails: StdMutex::default(),
            hangs: watch::Sender::default(),
            slow: StdMutex::default(),
            found: StdMutex::default(),
        })
    }

    async fn call(&self, set: &StdMutex<BTreeSet<Key>>, at: &Attachment, insert: bool) {
        let one_less = |left: usize| left.checked_sub(1);
        if self
            .calls_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_err()
        {
            future::pending::<()>().await;
        }
        if insert {
            set.lock().unwrap().insert(at.key.clone());
        } else {
            set.lock().unwrap().remove(&at.key);
        }
    }

    fn outcome<T>(&self, verb: &'static str, value: T) -> Tried<T> {
        let outcome = if self.fails.lock().unwrap().contains(verb) {
            Err(failure(verb))
        } else {
            Ok(value)
        };
        Tried {
            outcome,
            timings: vec![],
        }
    }

    fn is_empty(&self) -> bool {
        self.interfaces.lock().unwrap().is_empty() && self.probes.lock().unwrap().is_empty()
    }

    fn all_counted(&self) -> bool {
        *self.interfaces.lock().unwrap() == *self.probes.lock().unwrap()
    }
}

impl Host for Arc<Node> {
    async fn cni_add(&self, at: &Attachment, until: Instant) -> Tried<AddResult> {
        let slow = *self.slow.lock().unwrap();
        let left = until.saturating_duration_since(Instant::now());
        tokio::time::sleep(slow.min(left)).await;
        if slow > left {
            return Tried {
                outcome: Err(failure("slow")),
                timings: vec![],
            };
        }
        self.call(&self.interfaces, at, true).await;
        self.outcome("add", AddResult::default())
    }

    async fn cni_del(&self, at: &Attachment, _: Instant) -> Tried<()> {
        if self.fails.lock().unwrap().contains("del") {
            return self.outcome("del", ());
        }
        let mut hangs = self.hangs.subscribe();
        let ended = hangs.wait_for(|hangs| !hangs.contains(&at.key.sandbox));
        drop(ended.await.unwrap());
        self.call(&self.interfaces, at, false).await;
        self.outcome("del", ())
    }

    async fn probe_attach(&self, at: &Attachment) -> ProbeState {
        self.call(&self.probes, at, true).await;
        ProbeState::Counting {
            mode: ProbeMode::Tcx,
            base: counters(1),
            uncertain_packets: 0,
        }
    }

    async fn flows_attach(&self, at: &Attachment) {
        self.flows.lock().unwrap().insert(at.key.clone());
    }

    async fn probe_detach(&self, at: &Attachment) -> Option<Last> {
        self.flows.lock().unwrap().remove(&at.key);
        self.call(&self.probes, at, false).await;
        Some(Last {
            counters: counters(41),
            drops: Some(Drops::from_iter([("NO_SOCKET".into(), 3)])),
        })
    }

    async fn probe_lost(&self, at: &Attachment) -> Option<Failure> {
        (!self.probes.lock().unwrap().contains(&at.key)).then(|| failure("probe"))
    }

    async fn found(&self) -> Found {
        self.found.lock().unwrap().clone()
    }

    async fn lease_free(&self, lease: &Lease) -> Result<bool, Failure> {
        let mut found = self.found.lock().unwrap();
        let before = found.leases.len();
        found.leases.retain(|other| other != lease);
        Ok(found.leases.len() < before)
    }

    async fn cni_del_cached(&self, _: &CachedAttachment, _: Instant) -> Tried<()> {
        self.outcome("del", ())
    }

    async fn probe_slot(&self, _: &Attachment, _: &BTreeSet<Slot>) -> Option<Slot> {
        None
    }

    async fn probe_release(&self, _: Slot) {}

    fn counters(&self, _: &BTreeSet<Slot>) -> BTreeMap<Slot, Counters> {
        BTreeMap::new()
    }

    fn has_netns(&self, path: &str) -> bool {
        !path.ends_with("gone")
    }
}

fn counters(packets: u64) -> Counters {
    Counters {
        rx: Traffic {
            packets,
            ..Traffic::default()
        },
        tx: Traffic::default(),
    }
}

fn failure(verb: &'static str) -> Failure {
    Failure {
        step: Step::CniAdd,
        reason: "Failed".into(),
        code: verb.into(),
        message: format!("{verb} failed"),
    }
}

fn claim(interfaces: &[&str]) -> PreparedClaim {
    PreparedClaim {
        claim: ClaimRef {
            namespace: "default".parse().unwrap(),
            name: "claim".parse().unwrap(),
            uid: "claim-uid".parse().unwrap(),
        },
        pod: pod(),
        owned: false,
        devices: interfaces.iter().map(|name| device(name)).collect(),
    }
}

fn pod() -> PodRef {
    PodRef {
        namespace: "default".parse().unwrap(),
        name: "pod".parse().unwrap(),
        uid: "pod-uid".parse().unwrap(),
    }
}

/// The claim of one of several pods.
fn claim_of(pod: usize) -> PreparedClaim {
    let mut claim = claim(&["net1"]);
    claim.claim.uid = format!("claim-{pod}").parse().unwrap();
    claim.pod.uid = format!("pod-{pod}").parse().unwrap();
    claim
}

fn sandbox_of(pod: usize) -> PodSandbox {
    let mut sandbox = sandbox(&format!("sandbox-{pod}"));
    sandbox.pod.uid = format!("pod-{pod}").parse().unwrap();
    sandbox
}

fn device(if_name: &str) -> PreparedDevice {
    PreparedDevice {
        allocated: Allocated {
            request: "nic".parse().unwrap(),
            pool: "kind-worker".parse().unwrap(),
            device: "eth1".parse().unwrap(),
            share_id: None,
            admin_access: false,
        },
        link: "eth1".to_owned(),
        mode: Mode::Shared,
        if_name: if_name.parse().unwrap(),
        network: serde_json::from_value(serde_json::json!({
            "cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "macvlan"}]
        }))
        .unwrap(),
        runtime_config: serde_json::Map::new(),
        observe_flows: false,
    }
}

fn sandbox(id: &str) -> PodSandbox {
    PodSandbox {
        id: id.parse().unwrap(),
        pod: pod(),
        netns: Some(format!("/run/netns/{id}")),
        runtime_handler: String::new(),
    }
}

fn rules() -> Rules {
    Rules {
        driver: "cni.dra.networking.x-k8s.io".parse().unwrap(),
        policy: Policy::default(),
        refused_handlers: vec![],
        max_interfaces: 8,
        lease_patience: Duration::from_mins(1),
    }
}

/// An API server that has one claim, or that nobody reaches.
fn sources(object: Option<serde_json::Value>) -> Sources {
    let server = tower::service_fn(move |_: http::Request<kube::client::Body>| {
        let object = object.clone();
        async move {
            let object = object.ok_or_else(|| std::io::Error::other("no route to host"))?;
            Ok::<_, std::io::Error>(http::Response::new(kube::client::Body::from(
                serde_json::to_vec(&object).unwrap(),
            )))
        }
    });
    sources_of(kube::Client::new(server, "default"))
}

/// What an engine asks, on a node with eth1 whose runtime is connected.
fn sources_of(client: kube::Client) -> Sources {
    let eth1 = serde_json::from_value(serde_json::json!({
        "name": "eth1", "link": "eth1", "mode": "shared", "state": "up",
        "max_virtual_devices": 64, "attributes": {},
    }))
    .unwrap();
    let inventory = Inventory {
        devices: BTreeMap::from([("eth1".parse().unwrap(), eth1)]),
        ..Inventory::default()
    };
    let nri = NriState {
        connected: true,
        since: Timestamp(0),
        runtime: None,
    };
    Sources {
        client,
        inventory: watch::Sender::new(Arc::new(inventory)).subscribe(),
        nri: watch::Sender::new(nri).subscribe(),
        metrics: Arc::new(Metrics::new(crate::api::ApiCounters::new())),
    }
}

/// Starts a driver on what the folder and the node hold.
fn start(folder: &Path, node: &Arc<Node>) -> Arc<Engine<Arc<Node>>> {
    start_with(folder, node, sources(None))
}

fn start_with(folder: &Path, node: &Arc<Node>, sources: Sources) -> Arc<Engine<Arc<Node>>> {
    let Opened {
        mut journal,
        mut ledger,
        ..
    } = Journal::open(folder, "boot").unwrap();
    if ledger.is_lost() {
        ledger.apply(Timestamp(0), &Fact::Rebuilt);
        let written = journal.append(Timestamp(0), &Fact::Rebuilt, &ledger);
        written.unwrap();
    }
    let engine = Engine::new(Arc::clone(node), journal, ledger, rules(), sources);
    engine.synchronize(vec![], &BTreeSet::new());
    engine
}

async fn prepared(folder: &Path, node: &Arc<Node>, interfaces: &[&str]) -> Arc<Engine<Arc<Node>>> {
    let engine = start(folder, node);
    engine.record(Fact::Prepared(claim(interfaces))).await;
    engine
}

/// The runtime starts a sandbox of the pod, and gets it.
async fn attach(engine: &Arc<Engine<Arc<Node>>>, id: &str) {
    engine
        .attach(&sandbox(id), soon(), Occasion::Start)
        .await
        .unwrap();
}

fn soon() -> Instant {
    Instant::now() + SOON
}

/// What has to be answered in a brief time, if it is.
async fn in_brief<T>(answer: impl AsyncFnOnce(Instant) -> T) -> T {
    let answer = answer(Instant::now() + BRIEF);
    tokio::time::timeout(PROMPT, answer).await.unwrap()
}

/// A DEL in the usual sandbox does not end until `hang` is over.
fn hang(node: &Node, hangs: bool) {
    let one = hangs.then(|| sandbox("one").id);
    node.hangs.send_replace(one.into_iter().collect());
}

async fn until(engine: &Engine<Arc<Node>>, holds: impl Fn(&Ledger) -> bool) {
    let mut ledger = engine.watch_ledger();
    let held = ledger.wait_for(|ledger| holds(ledger));
    drop(tokio::time::timeout(SOON, held).await.unwrap().unwrap());
}

#[test]
fn a_pod_that_is_busy_is_said_with_its_name() {
    let busy = busy(&pod());
    assert_eq!(
        format!("{} ({}): {}", busy.reason, busy.code, busy.message),
        "PodBusy (pod_busy): pod default/pod is still busy with an earlier attach or detach; the \
         kubelet tries again, and the timeline in dra-top shows which CNI plugin is slow"
    );
}

fn claim_object(if_name: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"namespace": "default", "name": "claim", "uid": "claim-uid"},
        "status": {
            "reservedFor": [{"resource": "pods", "name": "pod", "uid": "pod-uid"}],
            "allocation": {"devices": {
                "results": [{
                    "request": "nic", "driver": "cni.dra.networking.x-k8s.io",
                    "pool": "kind-worker", "device": "eth1"
                }],
                "config": [{"source": "FromClaim", "requests": [], "opaque": {
                    "driver": "cni.dra.networking.x-k8s.io",
                    "parameters": {
                        "apiVersion": "cni.networking.x-k8s.io/v1alpha1", "kind": "CNI",
                        "ifName": if_name,
                        "config": {"cniVersion": "1.0.0", "name": "net", "plugins": [
                            {"type": "macvlan", "mode": "bridge"}
                        ]}
                    }
                }}]
            }}
        }
    })
}
