use serde_json::json;

use super::*;
use crate::api::fake::{Answer, Fake};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_out_is_kept_and_tried_again() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    attach(&engine, "one").await;
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
async fn a_sandbox_that_vanished_is_undone_when_seen_twice() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    attach(&engine, "gone").await;
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
    attach(&engine, "one").await;
    engine.idle().await;
    node.probes.lock().unwrap().clear();
    engine.verify().await;
    assert!(matches!(probe_of(&engine), ProbeState::Missing { .. }));
    assert!(node.all_counted(), "put back at once");
    let counted = BTreeMap::from([(Slot(0), counters(41))]);
    let ledger = engine.ledger();
    let held = ledger.attachments().next().unwrap();
    assert_eq!(
        held.counters(&counted),
        Some(counters(42)),
        "its sums go on"
    );
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

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sandbox_that_the_runtime_still_lists_costs_the_live_one_nothing() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    attach(&engine, "live").await;
    engine.idle().await;
    let generation = engine.ledger().generation();
    for dead in ["gone", "dead"] {
        engine.synchronize(vec![sandbox(dead), sandbox("live")], &BTreeSet::new());
        engine.idle().await;
    }
    assert_eq!(engine.ledger().generation(), generation);
    assert!(engine.ledger().is_complete(&sandbox("live")));
}

/// Attaches in this many pods, and dies while it takes all out again.
async fn half_detached(folder: &Path, node: &Arc<Node>, pods: usize) {
    let engine = start(folder, node);
    for pod in 0..pods {
        engine.record(Fact::Prepared(claim_of(pod))).await;
        let sandbox = sandbox_of(pod);
        let attached = engine.attach(&sandbox, soon(), Occasion::Start).await;
        attached.unwrap();
    }
    engine.idle().await;
    let keys: Vec<Key> = node.interfaces.lock().unwrap().iter().cloned().collect();
    for key in keys {
        engine.record(Fact::Detaching { key }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_del_that_hangs_at_the_start_holds_up_its_own_pod_only() {
    const PODS: usize = 30;
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    half_detached(folder.path(), &node, PODS).await;
    node.hangs.send_replace([sandbox_of(0).id].into());
    let engine = start(folder.path(), &node);
    engine.adopt().await;
    let recovering = Arc::clone(&engine);
    let recovering = tokio::spawn(async move { recovering.recover().await });
    until(&engine, |ledger| ledger.attachments().count() == 1).await;
    let attached = engine.attach(&sandbox_of(1), soon(), Occasion::Start).await;
    attached.unwrap();
    let hung =
        in_brief(async |until| engine.attach(&sandbox_of(0), until, Occasion::Start).await).await;
    assert_eq!(hung.unwrap_err().reason, "PodBusy");
    recovering.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_was_being_taken_off_is_not_put_on_again() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    half_detached(folder.path(), &node, 1).await;
    node.probes.lock().unwrap().clear();
    start(folder.path(), &node).adopt().await;
    assert!(node.probes.lock().unwrap().is_empty(), "{node:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_attached_anew_before_its_recovery_stays() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    half_detached(folder.path(), &node, 2).await;
    let engine = start(folder.path(), &node);
    for pod in 0..2 {
        let attached = engine
            .attach(&sandbox_of(pod), soon(), Occasion::Start)
            .await;
        attached.unwrap();
    }
    engine.recover().await;
    engine.idle().await;
    assert_eq!(node.interfaces.lock().unwrap().len(), 2, "{node:?}");
    assert!(node.all_counted(), "{node:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_boot_had_is_undone_whoever_dies_meanwhile_and_before_its_pod_starts_anew() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = start(folder.path(), &node);
    for pod in 0..2 {
        engine.record(Fact::Prepared(claim_of(pod))).await;
        let attached = engine
            .attach(&sandbox_of(pod), soon(), Occasion::Start)
            .await;
        attached.unwrap();
    }
    engine.idle().await;
    // The first life after the boot ends before it has done anything.
    drop(Journal::open(folder.path(), "next boot").unwrap());
    let Opened {
        journal, ledger, ..
    } = Journal::open(folder.path(), "next boot").unwrap();
    let engine = Engine::new(Arc::clone(&node), journal, ledger, rules(), sources(None));
    let mut anew = sandbox_of(0);
    anew.id = "anew".parse().unwrap();
    let attached = engine.attach(&anew, soon(), Occasion::Start).await;
    attached.unwrap();
    engine.recover().await;
    engine.idle().await;
    let left: Vec<Key> = node.interfaces.lock().unwrap().iter().cloned().collect();
    assert_eq!(left.len(), 1, "{node:?}");
    assert_eq!(left[0].sandbox, anew.id);
    let ended = engine
        .ledger()
        .ended()
        .map(|ended| ended.last)
        .collect::<Vec<_>>();
    assert_eq!(ended, [None, None], "what was counted went with the pins");
}

/// An API server that knows one pod of this node, with its claim.
fn cluster() -> Sources {
    cluster_of(claim_object("net1"))
}

fn cluster_of(claim: serde_json::Value) -> Sources {
    let fake = Fake::new(move |asked| match &*asked.path {
        "/api/v1/pods" => Answer::Json(
            200,
            json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [{
                "metadata": {"namespace": "default", "name": "pod", "uid": "pod-uid"},
                "spec": {"containers": [], "resourceClaims": [
                    {"name": "c", "resourceClaimName": "claim"}
                ]}
            }]}),
        ),
        _ => Answer::Json(200, claim.clone()),
    });
    sources_of(fake.client())
}

/// What ADD left of the interface of that pod, and of another of which nobody knows.
fn found() -> Found {
    let cached = |id: &str| CachedAttachment {
        key: Key {
            sandbox: id.parse().unwrap(),
            if_name: "net1".parse().unwrap(),
        },
        netns: Some(format!("/run/netns/{id}")),
        network: (*device("net1").network).clone(),
        runtime_config: serde_json::Map::new(),
        pod: PodRef {
            uid: if id == "one" {
                pod().uid
            } else {
                "other-uid".parse().unwrap()
            },
            ..pod()
        },
        result: AddResult::default(),
    };
    Found {
        cached: vec![cached("one"), cached("gone")],
        slots: BTreeSet::from([Slot(0), Slot(1)]),
        leases: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_moved_into_a_pod_is_taken_over_though_the_node_misses_it() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    for (sandbox_id, taken) in [("one", true), ("gone", false)] {
        let mut found = found();
        found.cached[0].netns = Some(format!("/run/netns/{sandbox_id}"));
        *node.found.lock().unwrap() = found;
        let mut sources = cluster();
        let mut inventory = Inventory::clone(&sources.inventory.borrow());
        for device in inventory.devices.values_mut() {
            device.state = LinkState::Gone;
        }
        sources.inventory = watch::Sender::new(Arc::new(inventory)).subscribe();
        let folder = folder.path().join(sandbox_id);
        let Opened {
            journal, ledger, ..
        } = Journal::open(&folder, "boot").unwrap();
        let engine = Engine::new(Arc::clone(&node), journal, ledger, rules(), sources);
        engine.rebuild(&"kind-worker".parse().unwrap()).await;
        let ledger = engine.ledger();
        let claim = ledger.claim(&claim(&[]).claim.uid).is_some();
        let held = ledger.attachments().next().is_some();
        assert_eq!((claim, held), (taken, taken), "{sandbox_id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_moved_is_taken_over_beside_one_that_did_not() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let mut found = found();
    let mut second = found.cached[0].clone();
    second.key.if_name = "net0".parse().unwrap();
    found.cached[0].key.if_name = "net1".parse().unwrap();
    found.cached.push(second);
    *node.found.lock().unwrap() = found;
    let mut object = claim_object("net%d");
    let results = &mut object["status"]["allocation"]["devices"]["results"];
    let mut other = results[0].clone();
    other["device"] = json!("eth2");
    results.as_array_mut().unwrap().push(other);
    let mut sources = cluster_of(object);
    let mut inventory = Inventory::clone(&sources.inventory.borrow());
    let mut eth2 = inventory.devices.values().next().unwrap().clone();
    (eth2.name, eth2.link) = ("eth2".parse().unwrap(), "eth2".to_owned());
    eth2.state = LinkState::Gone;
    inventory.devices.insert(eth2.name.clone(), eth2);
    sources.inventory = watch::Sender::new(Arc::new(inventory)).subscribe();
    let Opened {
        journal, ledger, ..
    } = Journal::open(folder.path(), "boot").unwrap();
    let engine = Engine::new(Arc::clone(&node), journal, ledger, rules(), sources);
    engine.rebuild(&"kind-worker".parse().unwrap()).await;
    assert!(engine.ledger().is_complete(&sandbox("one")));
    assert_eq!(engine.ledger().attachments().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_slot_is_released_while_an_interface_that_nobody_knows_lives() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = start(folder.path(), &node);
    *node.found.lock().unwrap() = found();
    let one = sandbox("one");
    engine.synchronize(vec![one.clone()], &BTreeSet::new());
    let orphans = engine.sweep_orphans(&Orphans::default()).await;
    assert_eq!(orphans.slots, BTreeSet::new());
    let mut found = found();
    found.cached.retain(|cached| cached.key.sandbox != one.id);
    *node.found.lock().unwrap() = found;
    let orphans = engine.sweep_orphans(&Orphans::default()).await;
    assert_eq!(orphans.slots, BTreeSet::from([Slot(0), Slot(1)]));
}

fn lease(sandbox: &str) -> Lease {
    Lease {
        owner: "ns-default".to_owned(),
        network: "net".to_owned(),
        address: "10.10.1.2".parse().unwrap(),
        key: Key {
            sandbox: sandbox.parse().unwrap(),
            if_name: "net1".parse().unwrap(),
        },
        written: Timestamp(1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_nobody_is_freed_while_the_runtime_tells_its_sandboxes() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let (nri, told) = watch::channel(NriState {
        connected: false,
        since: Timestamp(0),
        runtime: None,
    });
    let sources = Sources {
        nri: told,
        ..sources(None)
    };
    let engine = start_with(folder.path(), &node, sources);
    engine.synchronize(vec![sandbox("two")], &BTreeSet::new());
    node.found.lock().unwrap().leases = ["two", "three"].map(lease).into();
    // As if looked at a minute ago.
    let before = Orphans {
        leases: ["two", "three"]
            .map(|sandbox| (lease(sandbox), Timestamp(1)))
            .into(),
        ..Orphans::default()
    };
    let orphans = engine.sweep_orphans(&before).await;
    assert_eq!(orphans, Orphans::default(), "the runtime is away");
    nri.send_modify(|nri| nri.connected = true);
    let orphans = engine.sweep_orphans(&Orphans::default()).await;
    assert_eq!(orphans.leases.keys().collect::<Vec<_>>(), [&lease("three")]);
    assert_eq!(node.found.lock().unwrap().leases.len(), 2, "not yet");
    let orphans = engine.sweep_orphans(&before).await;
    assert_eq!(orphans, Orphans::default(), "freed");
    assert_eq!(node.found.lock().unwrap().leases, [lease("two")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_is_made_anew_before_anything_is_deleted() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    *node.found.lock().unwrap() = found();
    let open = || {
        let Opened {
            journal, ledger, ..
        } = Journal::open(folder.path(), "boot").unwrap();
        Engine::new(Arc::clone(&node), journal, ledger, rules(), cluster())
    };
    // A life that ends before it has looked forgets nothing.
    drop(open());
    let engine = open();
    assert!(engine.ledger().is_lost());
    let node_name = "kind-worker".parse().unwrap();
    engine.rebuild(&node_name).await;
    assert!(!engine.ledger().is_lost());
    assert!(engine.ledger().is_complete(&sandbox("one")));
    assert!(matches!(probe_of(&engine), ProbeState::Counting { .. }));

    let absent = |engine: Arc<Engine<Arc<Node>>>| async move {
        (
            engine.sweep(&BTreeSet::new()).await,
            engine.sweep_orphans(&<_>::default()).await,
        )
    };
    let (gone, orphans) = absent(Arc::clone(&engine)).await;
    assert!(
        gone.is_empty() && orphans == <_>::default(),
        "nothing was told yet: {orphans:?}"
    );
    engine.synchronize(vec![sandbox("one")], &BTreeSet::new());
    let (_, orphans) = absent(Arc::clone(&engine)).await;
    assert_eq!(orphans.cached.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_promised_once_the_runtime_has_told_its_sandboxes() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let Opened {
        journal, ledger, ..
    } = Journal::open(folder.path(), "boot").unwrap();
    let sources = sources(Some(claim_object("net1")));
    let engine = Engine::new(Arc::clone(&node), journal, ledger, rules(), sources);
    let preparing = Arc::clone(&engine);
    let mut prepared =
        tokio::spawn(async move { preparing.prepare(&claim(&[]).claim).await.map(drop) });
    let early = tokio::time::timeout(Duration::from_millis(50), &mut prepared).await;
    assert!(early.is_err(), "{early:?}");
    engine.synchronize(vec![], &BTreeSet::new());
    prepared.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_that_comes_after_a_container_is_late() {
    for ran in [false, true] {
        let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
        let engine = prepared(folder.path(), &node, &["net1"]).await;
        let one = sandbox("one");
        let running = ran.then(|| one.id.clone()).into_iter().collect();
        engine.synchronize(vec![one.clone()], &running);
        until(&engine, |ledger| ledger.is_complete(&one)).await;
        let ledger = engine.ledger();
        let phase = &ledger.attachments().next().unwrap().phase;
        assert!(
            matches!(phase, Phase::Attached { late, .. } if *late == ran),
            "{phase:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sandboxes_of_a_node_are_taken_in_while_the_disk_hangs() {
    const PODS: usize = 500;
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = start(folder.path(), &node);
    engine.record(Fact::Prepared(claim_of(0))).await;
    let disk = engine.journal.lock().await;
    let synchronizing = Arc::clone(&engine);
    let all = (0..PODS).map(sandbox_of).collect();
    let told = tokio::task::spawn_blocking(move || {
        synchronizing.synchronize(all, &BTreeSet::new());
    });
    tokio::time::timeout(PROMPT, told).await.unwrap().unwrap();
    assert_eq!(engine.with_sandboxes(|known| known.len()), PODS);
    drop(disk);
    until(&engine, |ledger| ledger.is_complete(&sandbox_of(0))).await;
}
