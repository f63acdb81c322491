use nri_client::{Plugin as _, api};

use super::*;
use crate::nri::Pods;

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
            attach(&engine, "one").await;
            engine.idle().await;
        })
        .await;
        engine.recover().await;
        engine.adopt().await;
        assert!(node.all_counted(), "after {calls} calls: {node:?}");
        attach(&engine, "two").await;
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
        attach(&engine, "one").await;
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
    attach(&engine, "two").await;
    assert_eq!(engine.ledger().failure(&uid, &name), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_final_counters_are_what_passed_before_and_after_the_probe() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    attach(&engine, "one").await;
    engine.detach(&sandbox("one"), soon()).await;
    let ledger = engine.ledger();
    let ended = ledger.ended().next().unwrap();
    assert_eq!(ended.last, Some(counters(42)));
    assert_eq!(ended.drops.as_ref().map(Drops::total), Some(3));
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
    assert_eq!(told(&engine), [refused], "the claim's status says it");
}

/// What the claims' status says of why nothing was tried.
fn told(engine: &Arc<Engine<Arc<Node>>>) -> Vec<Failure> {
    let ledger = engine.ledger();
    let refused = ledger.refused();
    refused.map(|row| row.refused.failure.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_busy_is_said_until_it_has_its_interfaces() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    let one = sandbox("one");
    let busy = engine.pods.wait(&one.pod.uid).await;
    let attached = engine.attach(&one, Instant::now(), Occasion::Start).await;
    let failure = attached.unwrap_err();
    let mut ledger = engine.watch_ledger();
    let said = ledger.wait_for(|ledger| ledger.refused().next().is_some());
    drop(tokio::time::timeout(SOON, said).await.unwrap());
    assert_eq!(told(&engine).first(), Some(&failure));
    drop(busy);
    let attached = engine.attach(&one, soon(), Occasion::Start).await;
    attached.unwrap();
    assert_eq!(told(&engine), []);
    engine.idle().await;
    let generation = engine.ledger().generation();
    engine.refuse(&one, failure).await;
    assert_eq!(engine.ledger().generation(), generation, "it has them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_was_refused_its_start_is_forgotten() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    node.fails.lock().unwrap().insert("add");
    let pods = Pods::new();
    pods.activate(&engine);
    let named = |name: &str| name.to_owned();
    let namespace = api::LinuxNamespace {
        r#type: named("network"),
        path: named("/run/netns/one"),
    };
    let pod = api::PodSandbox {
        id: named("one"),
        namespace: named("default"),
        name: named("pod"),
        uid: named("pod-uid"),
        linux: Some(api::LinuxPodSandbox {
            namespaces: vec![namespace],
            ..api::LinuxPodSandbox::default()
        }),
        ..api::PodSandbox::default()
    };
    pods.run_pod_sandbox(pod.clone()).await.unwrap_err();
    assert_eq!(engine.with_sandboxes(|known| known.len()), 0);
    let container = api::Container::default();
    pods.create_container(pod, container).await.unwrap_err();
    assert_eq!(engine.with_sandboxes(|known| known.len()), 1);
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
    assert_eq!(told(&engine), [failure("del")]);
    let leftover = engine.ledger().leftovers().next().cloned().unwrap();
    node.fails.lock().unwrap().clear();
    attach().await.unwrap();
    assert_eq!(engine.ledger().leftovers().count(), 0);
    engine.clear(&leftover).await;
    assert_eq!(node.interfaces.lock().unwrap().len(), 1, "{node:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_hangs_the_answer_is_in_time() {
    for (calls, time, expected) in [(0, BRIEF, Err("PodBusy")), (1, SOON, Ok(()))] {
        let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
        let engine = prepared(folder.path(), &node, &["net1"]).await;
        node.calls_left.store(calls, Ordering::SeqCst);
        let (one, until) = (sandbox("one"), Instant::now() + time);
        let attach = engine.attach(&one, until, Occasion::Start);
        let attached = tokio::time::timeout(time.max(PROMPT), attach).await;
        let attached = attached.expect("in time");
        let reason = attached.as_ref().map_err(|failure| &*failure.reason);
        assert_eq!(reason.map(|&()| ()), expected, "{calls} calls");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_an_answer_is_for_all_claims_of_the_pod() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    let mut second = claim(&["net2"]);
    second.claim.uid = "claim-2".parse().unwrap();
    engine.record(Fact::Prepared(second)).await;
    // Each for itself would be in time, with what is kept to answer.
    let time = Duration::from_millis(500);
    *node.slow.lock().unwrap() = time / 2;
    let (one, until) = (sandbox("one"), Instant::now() + time);
    let attach = engine.attach(&one, until, Occasion::Start);
    let refused = tokio::time::timeout(time, attach).await.unwrap();
    assert_eq!(refused.unwrap_err(), failure("slow"));
    engine.idle().await;
    assert!(node.is_empty(), "{node:?}");
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
