//! Pods with a claim, undisturbed: what every other scenario takes for granted.

use anyhow::{Result, ensure};

use super::{
    Scenario, Stage,
    manifest::{From::Template, claim, macvlan, pod, template},
};

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "pods: on each runtime a pod gets its interface and reaches another",
    play: |stage| Box::pin(each_runtime(stage)),
}];

async fn each_runtime(stage: &Stage<'_>) -> Result<()> {
    let net1 = claim("net1", "eth1", "net1", &macvlan("plain", "10.20.1.0/24"));
    let mut objects = vec![template(&net1)];
    for node in Stage::WORKERS {
        for place in ["a", "b"] {
            objects.push(pod(&format!("{node}-{place}"), node, &[Template("net1")]));
        }
    }
    stage.apply(&objects).await?;
    stage.all_ready().await?;
    for node in Stage::WORKERS {
        let (a, b) = (format!("{node}-a"), format!("{node}-b"));
        stage.attached(&a, "net1").await?;
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
