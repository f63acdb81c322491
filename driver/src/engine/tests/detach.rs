use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_del_that_hangs_is_answered_in_time_and_ends_before_the_next_add() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let engine = prepared(folder.path(), &node, &["net1"]).await;
    attach(&engine, "one").await;
    hang(&node, true);
    in_brief(async |until| engine.detach(&sandbox("one"), until).await).await;
    let next = in_brief(async |until| {
        let two = sandbox("two");
        engine.attach(&two, until, Occasion::Start).await
    });
    assert_eq!(next.await.unwrap_err().reason, "PodBusy");
    assert_eq!(node.interfaces.lock().unwrap().len(), 1, "{node:?}");
    hang(&node, false);
    until(&engine, |ledger| ledger.attachments().next().is_none()).await;
    assert!(node.is_empty(), "{node:?}");
    attach(&engine, "two").await;
}
