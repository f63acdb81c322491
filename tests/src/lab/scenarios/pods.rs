//! Pods with a claim, undisturbed: what every other scenario takes for granted.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    Scenario, Stage,
    manifest::{From::Template, claim, macvlan, pod, template},
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "pods: on each runtime a pod gets its interface and reaches another",
        play: |stage| Box::pin(each_runtime(stage)),
    },
    Scenario {
        name: "pods: a chain of plugins does its work, each after the one before",
        play: |stage| Box::pin(chain(stage)),
    },
];

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

async fn chain(stage: &Stage<'_>) -> Result<()> {
    let mut network = macvlan("chain", "10.20.1.0/24");
    let plugins = network["plugins"].as_array_mut().context("no list")?;
    plugins.extend([
        json!({"type": "tuning", "mtu": 1400}),
        json!({"type": "sbr"}),
    ]);
    let net1 = template(&claim("net1", "eth1", "net1", &network));
    let pods = Stage::WORKERS.map(|node| pod(node, node, &[Template("net1")]));
    stage.apply(&[&[net1][..], &pods].concat()).await?;
    stage.all_ready().await?;
    for node in Stage::WORKERS {
        let address = stage.attached(node, "net1").await?;
        let link = stage.exec(node, &["ip", "link", "show", "net1"]).await?;
        ensure!(link.contains("mtu 1400"), "tuning left {link}");
        // By the address that the first plugin gave.
        let rules = stage.exec(node, &["ip", "rule"]).await?;
        ensure!(rules.contains(&address), "sbr left {rules}");
    }
    Ok(())
}
