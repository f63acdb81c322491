//! Pods with a claim, undisturbed: what every other scenario takes for granted.

use anyhow::{Result, ensure};

use super::{Scenario, Stage};

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "pods: on each runtime a pod gets its interface and reaches another",
    play: |stage| Box::pin(each_runtime(stage)),
}];

async fn each_runtime(stage: &Stage<'_>) -> Result<()> {
    stage.settle_on_workers(&["a", "b"]).await?;
    for node in Stage::WORKERS {
        let (a, b) = (format!("{node}-a"), format!("{node}-b"));
        let address = stage.attached(&b, "net1").await?;
        stage.exec(&a, &["ping", "-c", "1", &address]).await?;
        let uid = stage.pod(&a).await?.uid;
        let counted = stage.metrics(node)?.totals(&uid, "net1");
        ensure!(
            counted.is_some_and(|totals| totals.tx_packets > 0),
            "{a} sent a ping, and its metrics are {counted:?}"
        );
    }
    Ok(())
}
