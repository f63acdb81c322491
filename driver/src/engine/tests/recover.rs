use super::*;

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
