use super::*;

async fn prepare(
    folder: &Path,
    node: &Arc<Node>,
    object: Option<serde_json::Value>,
) -> (Arc<Engine<Arc<Node>>>, Result<Vec<Allocated>, Failure>) {
    let engine = start_with(folder, node, sources(object));
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
    attach(&engine, "gone").await;
    engine.idle().await;
    drop(engine);
    let (engine, again) = prepare(folder.path(), &node, Some(claim_object("net7"))).await;
    again.unwrap();
    assert!(node.is_empty(), "{node:?}");
    attach(&engine, "one").await;
    assert!(engine.ledger().is_complete(&sandbox("one")));
}

/// Asks again on a node of which something has changed while a pod runs, and expects that the pod
/// keeps what it has; returns what is promised to the next sandbox, and what was to this one.
async fn ask_again(
    object: serde_json::Value,
    again: serde_json::Value,
    change: impl Fn(&mut Inventory),
) -> [PreparedClaim; 2] {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let (engine, first) = prepare(folder.path(), &node, Some(object)).await;
    let first = first.unwrap();
    attach(&engine, "one").await;
    engine.idle().await;
    let before = engine.ledger();
    drop(engine);

    let mut sources = sources(Some(again));
    let mut inventory = Inventory::clone(&sources.inventory.borrow());
    change(&mut inventory);
    sources.inventory = watch::Sender::new(Arc::new(inventory)).subscribe();
    let engine = start_with(folder.path(), &node, sources);
    assert_eq!(engine.prepare(&claim(&[]).claim).await.unwrap(), first);
    let now = engine.ledger();
    assert!(now.attachments().eq(before.attachments()), "{now:?}");
    assert_eq!(now.refused().next(), None);
    let uid = claim(&[]).claim.uid;
    [now, before].map(|ledger| ledger.claim(&uid).unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_changes_touches_no_pod_that_runs() {
    let [next, before] = ask_again(claim_object("net1"), claim_object("net1"), |inventory| {
        let eth1 = inventory.devices.values_mut().next().unwrap();
        (eth1.mode, eth1.link) = (Mode::Exclusive, "uplink".to_owned());
    })
    .await;
    assert_eq!(before.devices[0].link, "eth1");
    let device = &next.devices[0];
    assert_eq!((&*device.link, device.mode), ("uplink", Mode::Exclusive));
}

/// A claim with this IPAM.
fn claim_with(ipam: serde_json::Value) -> serde_json::Value {
    let mut object = claim_object("net1");
    let config = &mut object["status"]["allocation"]["devices"]["config"][0];
    config["opaque"]["parameters"]["config"]["plugins"][0]["ipam"] = ipam;
    object
}

/// The node gets another address.
fn vip(inventory: &mut Inventory) {
    inventory.node.own = [("10.10.1.7".parse().unwrap(), "eth1".to_owned())].into();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_comes_to_the_node_touches_no_pod_that_runs() {
    let range = serde_json::json!([[{"subnet": "10.10.1.0/24"}]]);
    let object = claim_with(serde_json::json!({"type": "host-local", "ranges": range}));
    let [next, before] = ask_again(object.clone(), object, vip).await;
    assert_ne!(next, before, "the next sandbox spares it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_by_now_stays_where_it_runs() {
    let addresses = serde_json::json!([{"address": "10.10.1.7/24"}]);
    let fixed = claim_with(serde_json::json!({"type": "static", "addresses": addresses}));
    let [next, before] = ask_again(fixed.clone(), fixed, vip).await;
    assert_eq!(next, before);
    let gone = |inventory: &mut Inventory| inventory.devices.clear();
    let [next, before] = ask_again(claim_object("net1"), claim_object("net1"), gone).await;
    assert_eq!(next, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allocation_that_changes_under_a_pod_takes_nothing_from_it() {
    let [next, before] = ask_again(claim_object("net1"), claim_object("net7"), |_| {}).await;
    assert_eq!(next, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_claims_that_were_given_back_nothing_is_kept() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = start(folder.path(), &node);
    for n in 0..3 {
        let mut object = claim_object("net1");
        object["metadata"]["uid"] = format!("claim-{n}").into();
        let object = serde_json::from_value(object).unwrap();
        let claim = claim_of(n).claim;
        engine.prepare_object(&claim, &object).await.unwrap();
        assert_eq!(engine.preparing.lock().await.0.len(), 1);
        engine.unprepare(&claim.uid).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepare_that_waits_ends_with_us() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let mut sources = sources(Some(claim_object("net1")));
    let away = NriState {
        connected: false,
        ..sources.nri.borrow().clone()
    };
    let nri = watch::Sender::new(away);
    sources.nri = nri.subscribe();
    let engine = start_with(folder.path(), &node, sources);
    let preparing = Arc::clone(&engine);
    let waits = tokio::spawn(async move { preparing.prepare(&claim(&[]).claim).await });
    engine.leave();
    let ended = tokio::time::timeout(SOON, waits).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().reason, "DriverStopping");
    assert_eq!(engine.ledger().refused().next(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_a_claim_back_takes_its_interfaces_out_and_may_be_repeated() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    attach(&engine, "one").await;
    let uid = claim(&[]).claim.uid;
    engine.unprepare(&uid).await.unwrap();
    assert!(node.is_empty(), "{node:?}");
    let generation = engine.ledger().generation();
    engine.unprepare(&uid).await.unwrap();
    assert_eq!(engine.ledger().generation(), generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_del_fails_is_given_back_and_leaves_something_behind() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    attach(&engine, "one").await;
    node.fails.lock().unwrap().insert("del");
    let uid = claim(&[]).claim.uid;
    engine.unprepare(&uid).await.unwrap();
    let ledger = engine.ledger();
    assert_eq!(ledger.claim(&uid), None);
    let leftover = ledger.leftovers().next().unwrap();
    assert_eq!(leftover.failure, failure("del"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_del_hangs_is_given_back_in_time_and_undone_afterwards() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    attach(&engine, "one").await;
    engine.idle().await;
    hang(&node, true);
    let uid = claim(&[]).claim.uid;
    let given_back = in_brief(async |until| engine.give_back(&uid, until).await);
    given_back.await.unwrap();
    let ledger = engine.ledger();
    assert_eq!(
        (ledger.claim(&uid), ledger.plan_recovery().len()),
        (None, 1)
    );
    hang(&node, false);
    until(&engine, |ledger| ledger.attachments().next().is_none()).await;
    assert!(node.is_empty(), "{node:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_a_pod_that_is_busy_stays_until_it_can_be_undone() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    attach(&engine, "one").await;
    let busy = engine.pods.wait(&pod().uid).await;
    let uid = claim(&[]).claim.uid;
    let refused = in_brief(async |until| engine.give_back(&uid, until).await);
    assert_eq!(refused.await.unwrap_err().reason, "PodBusy");
    assert!(engine.ledger().is_complete(&sandbox("one")));
    drop(busy);
    engine.unprepare(&uid).await.unwrap();
    assert!(node.is_empty(), "{node:?}");
}
