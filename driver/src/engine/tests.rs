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
    inventory::Mode,
    reconcile::Found,
};

use super::*;
use crate::{host::Tried, journal::Opened};

const SOON: Duration = Duration::from_secs(5);

/// A node in memory. After `calls_left` verbs it never answers again, as a killed driver sees it.
#[derive(Debug)]
struct Node {
    interfaces: StdMutex<BTreeSet<Key>>,
    probes: StdMutex<BTreeSet<Key>>,
    calls_left: AtomicUsize,
    fails: StdMutex<BTreeSet<&'static str>>,
}

impl Node {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            interfaces: StdMutex::default(),
            probes: StdMutex::default(),
            calls_left: AtomicUsize::new(usize::MAX),
            fails: StdMutex::default(),
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
    async fn cni_add(&self, at: &Attachment, _: Instant) -> Tried<AddResult> {
        self.call(&self.interfaces, at, true).await;
        self.outcome("add", AddResult::default())
    }

    async fn cni_del(&self, at: &Attachment, _: Instant) -> Tried<()> {
        if self.fails.lock().unwrap().contains("del") {
            return self.outcome("del", ());
        }
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

    async fn probe_detach(&self, at: &Attachment) -> Option<Counters> {
        self.call(&self.probes, at, false).await;
        Some(counters(41))
    }

    async fn probe_lost(&self, at: &Attachment) -> Option<Failure> {
        (!self.probes.lock().unwrap().contains(&at.key)).then(|| failure("probe"))
    }

    async fn found(&self) -> Found {
        Found::default()
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
    let eth1 = serde_json::from_value(serde_json::json!({
        "name": "eth1", "link": "eth1", "mode": "shared", "state": "up",
        "max_virtual_devices": 64, "attributes": {},
    }))
    .unwrap();
    let inventory = Inventory {
        devices: BTreeMap::from([("eth1".parse().unwrap(), eth1)]),
    };
    let nri = NriState {
        connected: true,
        since: Timestamp(0),
        runtime: None,
    };
    Sources {
        client: kube::Client::new(server, "default"),
        inventory: watch::Sender::new(Arc::new(inventory)).subscribe(),
        nri: watch::Sender::new(nri).subscribe(),
    }
}

/// Starts a driver on what the folder and the node hold.
fn start(folder: &Path, node: &Arc<Node>) -> Arc<Engine<Arc<Node>>> {
    let Opened {
        journal, ledger, ..
    } = Journal::open(folder, "boot").unwrap();
    Engine::new(Arc::clone(node), journal, ledger, rules(), sources(None))
}

async fn prepared(folder: &Path, node: &Arc<Node>, interfaces: &[&str]) -> Arc<Engine<Arc<Node>>> {
    let engine = start(folder, node);
    engine.record(Fact::Prepared(claim(interfaces))).await;
    engine
}

fn soon() -> Instant {
    Instant::now() + SOON
}

/// Runs a verb on a node that dies after `calls` verbs, then starts the driver anew.
async fn killed_after(
    calls: usize,
    folder: &Path,
    node: &Arc<Node>,
    engine: &Arc<Engine<Arc<Node>>>,
    verb: impl AsyncFn(Arc<Engine<Arc<Node>>>),
) -> (bool, Arc<Engine<Arc<Node>>>) {
    node.calls_left.store(calls, Ordering::SeqCst);
    let done = tokio::time::timeout(Duration::from_millis(30), verb(Arc::clone(engine))).await;
    node.calls_left.store(usize::MAX, Ordering::SeqCst);
    (done.is_ok(), start(folder, node))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_verb_of_an_attach_nothing_leaks_and_the_next_sandbox_is_complete() {
    for calls in 0.. {
        let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
        let engine = prepared(folder.path(), &node, &["net1", "net2"]).await;
        let (done, engine) = killed_after(calls, folder.path(), &node, &engine, async |engine| {
            engine
                .attach(&sandbox("one"), soon(), Occasion::Start)
                .await
                .unwrap();
            engine.idle().await;
        })
        .await;
        engine.recover().await;
        engine.adopt().await;
        assert!(node.all_counted(), "after {calls} calls: {node:?}");
        engine
            .attach(&sandbox("two"), soon(), Occasion::Start)
            .await
            .unwrap();
        assert!(engine.ledger().is_complete(&sandbox("two")));
        assert_eq!(
            node.interfaces.lock().unwrap().len(),
            2,
            "after {calls} calls: {node:?}"
        );
        engine.detach(&sandbox("two"), soon()).await;
        assert!(node.is_empty(), "after {calls} calls: {node:?}");
        if done {
            assert_eq!(calls, 4);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_verb_of_a_detach_nothing_leaks() {
    for calls in 0.. {
        let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
        let engine = prepared(folder.path(), &node, &["net1", "net2"]).await;
        engine
            .attach(&sandbox("one"), soon(), Occasion::Start)
            .await
            .unwrap();
        engine.idle().await;
        let (done, engine) = killed_after(calls, folder.path(), &node, &engine, async |engine| {
            engine.detach(&sandbox("one"), Instant::now() + SOON).await;
        })
        .await;
        engine.recover().await;
        assert!(node.all_counted(), "after {calls} calls: {node:?}");
        engine.detach(&sandbox("one"), soon()).await;
        assert!(node.is_empty(), "after {calls} calls: {node:?}");
        if done {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_add_is_undone_and_said_and_the_next_try_heals() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1", "net2"]).await;
    node.fails.lock().unwrap().insert("add");
    let refused = engine
        .attach(&sandbox("one"), soon(), Occasion::Start)
        .await
        .unwrap_err();
    assert_eq!(refused, failure("add"));
    engine.detach(&sandbox("one"), soon()).await;
    assert!(node.is_empty(), "{node:?}");
    let (uid, name) = (claim(&[]).claim.uid, "net1".parse().unwrap());
    assert_eq!(
        engine.ledger().failure(&uid, &name).unwrap().failure,
        failure("add")
    );
    node.fails.lock().unwrap().clear();
    engine
        .attach(&sandbox("two"), soon(), Occasion::Start)
        .await
        .unwrap();
    assert_eq!(engine.ledger().failure(&uid, &name), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_out_is_kept_and_tried_again() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    engine
        .attach(&sandbox("one"), soon(), Occasion::Start)
        .await
        .unwrap();
    node.fails.lock().unwrap().insert("del");
    engine.detach(&sandbox("one"), soon()).await;
    let engine = start(folder.path(), &node);
    let leftover = engine.ledger().leftovers().next().cloned().unwrap();
    engine.clear(&leftover).await;
    assert_eq!(engine.ledger().leftovers().next().unwrap().attempts, 2);
    node.fails.lock().unwrap().clear();
    engine.clear(&leftover).await;
    assert_eq!(engine.ledger().leftovers().count(), 0);
    assert!(node.is_empty(), "{node:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_final_counters_are_what_passed_before_and_after_the_probe() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    engine
        .attach(&sandbox("one"), soon(), Occasion::Start)
        .await
        .unwrap();
    engine.detach(&sandbox("one"), soon()).await;
    let ledger = engine.ledger();
    assert_eq!(ledger.ended().next().unwrap().last, Some(counters(42)));
}

/// On one worker, so that whoever is ready has run once the test runs again.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn pods_that_start_together_get_slots_of_their_own() {
    const PODS: usize = 5;
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = start(folder.path(), &node);
    for pod in 0..PODS {
        engine.record(Fact::Prepared(claim_of(pod))).await;
    }
    let starting = Arc::clone(&engine);
    let slots = tokio::spawn(async move {
        let disk = starting.journal.lock().await;
        let attaches: Vec<_> = (0..PODS)
            .map(|pod| {
                let engine = Arc::clone(&starting);
                tokio::spawn(async move {
                    engine
                        .attach(&sandbox_of(pod), soon(), Occasion::Start)
                        .await
                })
            })
            .collect();
        // All have planned, and wait for the disk.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        drop(disk);
        for attach in attaches {
            attach.await.unwrap().unwrap();
        }
        starting.ledger().slots()
    });
    let expected = (0..PODS).map(|slot| Slot(u32::try_from(slot).unwrap()));
    assert_eq!(slots.await.unwrap(), expected.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_written_refuses_before_the_kernel_is_touched() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    engine.journal.lock().await.break_disk();
    let refused = engine
        .attach(&sandbox("one"), soon(), Occasion::Start)
        .await
        .unwrap_err();
    assert_eq!(refused.reason, "JournalNotWritable");
    assert!(node.is_empty(), "{node:?}");
    let ledger = engine.ledger();
    let said: Vec<_> = ledger
        .refused()
        .map(|refusal| &refusal.refused.failure)
        .collect();
    assert_eq!(said, [&refused], "the claim's status says it as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_vanished_is_undone_when_seen_twice() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    engine
        .attach(&sandbox("gone"), soon(), Occasion::Start)
        .await
        .unwrap();
    let unknown = engine.sweep(&BTreeSet::new()).await;
    assert!(unknown.is_empty(), "the runtime still knows it");
    engine.synchronize(vec![], &BTreeSet::new());
    let once = engine.sweep(&BTreeSet::new()).await;
    assert!(!node.is_empty());
    engine.sweep(&once).await;
    assert!(node.is_empty(), "{node:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_somebody_took_is_reported_put_back_and_reported_again() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    engine
        .attach(&sandbox("one"), soon(), Occasion::Start)
        .await
        .unwrap();
    engine.idle().await;
    node.probes.lock().unwrap().clear();
    engine.verify().await;
    assert!(matches!(probe_of(&engine), ProbeState::Missing { .. }));
    assert!(node.all_counted(), "put back at once");
    engine.verify().await;
    assert!(matches!(probe_of(&engine), ProbeState::Counting { .. }));
}

fn probe_of(engine: &Engine<Arc<Node>>) -> ProbeState {
    match &engine.ledger().attachments().next().unwrap().phase {
        Phase::Attached {
            probe: Some(probe), ..
        } => probe.clone(),
        other => panic!("{other:?}"),
    }
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

async fn prepare(
    folder: &Path,
    node: &Arc<Node>,
    object: Option<serde_json::Value>,
) -> (Arc<Engine<Arc<Node>>>, Result<Vec<Allocated>, Failure>) {
    let Opened {
        journal, ledger, ..
    } = Journal::open(folder, "boot").unwrap();
    let engine = Engine::new(Arc::clone(node), journal, ledger, rules(), sources(object));
    let prepared = engine.prepare(&claim(&[]).claim).await;
    (engine, prepared)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_promised_and_repeating_it_changes_nothing() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let (engine, first) = prepare(folder.path(), &node, Some(claim_object("net1"))).await;
    assert_eq!(first.unwrap().len(), 1);
    let generation = engine.ledger().generation();
    engine.prepare(&claim(&[]).claim).await.unwrap();
    assert_eq!(engine.ledger().generation(), generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_claim_is_remembered_with_its_pod_and_its_device() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let (engine, prepared) = prepare(folder.path(), &node, Some(claim_object("eth0"))).await;
    let failure = prepared.unwrap_err();
    let ledger = engine.ledger();
    let refused = &ledger.refusal(&claim(&[]).claim.uid).unwrap().refused;
    assert_eq!((&refused.failure, refused.devices.len()), (&failure, 1));
    assert_eq!(refused.pod.as_ref().unwrap(), &pod());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_stays_so_while_the_api_server_is_away() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let (_, away) = prepare(folder.path(), &node, None).await;
    assert_eq!(away.unwrap_err().reason, "APIServerUnreachable");
    let (_, first) = prepare(folder.path(), &node, Some(claim_object("net1"))).await;
    let (_, again) = prepare(folder.path(), &node, None).await;
    assert_eq!(again.unwrap(), first.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_changed_is_released_before_it_is_promised_anew() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let (engine, first) = prepare(folder.path(), &node, Some(claim_object("net1"))).await;
    first.unwrap();
    engine
        .attach(&sandbox("one"), soon(), Occasion::Start)
        .await
        .unwrap();
    drop(engine);
    let (engine, again) = prepare(folder.path(), &node, Some(claim_object("net7"))).await;
    again.unwrap();
    assert!(node.is_empty(), "{node:?}");
    engine
        .attach(&sandbox("one"), soon(), Occasion::Start)
        .await
        .unwrap();
    assert!(engine.ledger().is_complete(&sandbox("one")));
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_a_claim_back_takes_its_interfaces_out_and_may_be_repeated() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    engine
        .attach(&sandbox("one"), soon(), Occasion::Start)
        .await
        .unwrap();
    let uid = claim(&[]).claim.uid;
    engine.unprepare(&uid).await.unwrap();
    assert!(node.is_empty(), "{node:?}");
    let generation = engine.ledger().generation();
    engine.unprepare(&uid).await.unwrap();
    assert_eq!(engine.ledger().generation(), generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sandbox_that_the_runtime_still_lists_costs_the_live_one_nothing() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    engine
        .attach(&sandbox("live"), soon(), Occasion::Start)
        .await
        .unwrap();
    engine.idle().await;
    let generation = engine.ledger().generation();
    for dead in ["gone", "dead"] {
        engine.synchronize(vec![sandbox(dead), sandbox("live")], &BTreeSet::new());
        engine.idle().await;
    }
    assert_eq!(engine.ledger().generation(), generation);
    assert!(engine.ledger().is_complete(&sandbox("live")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_in_a_sandbox_is_cleared_before_the_next_add_and_never_after() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    node.fails.lock().unwrap().extend(["add", "del"]);
    let attach = async || {
        engine
            .attach(&sandbox("one"), soon(), Occasion::Start)
            .await
    };
    assert_eq!(attach().await.unwrap_err(), failure("add"));
    engine.idle().await;
    assert_eq!(engine.ledger().leftovers().count(), 1);
    assert_eq!(attach().await.unwrap_err(), failure("del"));
    let leftover = engine.ledger().leftovers().next().cloned().unwrap();
    node.fails.lock().unwrap().clear();
    attach().await.unwrap();
    assert_eq!(engine.ledger().leftovers().count(), 0);
    engine.clear(&leftover).await;
    assert_eq!(node.interfaces.lock().unwrap().len(), 1, "{node:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_hangs_the_answer_is_in_time() {
    for (calls, expected) in [(0, Err("PodBusy")), (1, Ok(()))] {
        let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
        let engine = prepared(folder.path(), &node, &["net1"]).await;
        node.calls_left.store(calls, Ordering::SeqCst);
        let asked = Instant::now();
        let until = asked + Duration::from_millis(50);
        let attached = engine.attach(&sandbox("one"), until, Occasion::Start).await;
        let reason = attached.as_ref().map_err(|failure| &*failure.reason);
        assert_eq!(reason.map(|&()| ()), expected, "{calls} calls");
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_never_counted_has_no_last_value() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    node.fails.lock().unwrap().insert("add");
    let attached = engine
        .attach(&sandbox("one"), soon(), Occasion::Start)
        .await;
    assert!(attached.is_err());
    engine.idle().await;
    assert_eq!(engine.ledger().ended().next().unwrap().last, None);
}
