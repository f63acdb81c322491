use super::*;

/// A claim of which only net1 asks for flows.
fn asking() -> PreparedClaim {
    let mut claim = claim(&["net1", "net2"]);
    claim.devices[0].observe_flows = true;
    claim
}

fn recorded(node: &Node) -> Vec<String> {
    let flows = node.flows.lock().unwrap();
    flows.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_of_those_who_ask_are_recorded_again_by_each_driver_until_their_end() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = start(folder.path(), &node);
    engine.record(Fact::Prepared(asking())).await;
    attach(&engine, "one").await;
    engine.idle().await;
    assert_eq!(recorded(&node), ["one/net1"]);
    // What was recorded went with the driver that recorded it.
    node.flows.lock().unwrap().clear();
    let engine = start(folder.path(), &node);
    engine.adopt().await;
    engine.keep_flows().await;
    assert_eq!(recorded(&node), ["one/net1"]);
    engine.detach(&sandbox("one"), soon()).await;
    engine.keep_flows().await;
    assert_eq!(recorded(&node), [""; 0]);
}
