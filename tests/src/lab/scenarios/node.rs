//! Nodes whose kubelet starts anew, that lose their power, or whose link goes down.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::{
    Scenario, Stage,
    manifest::{From::Template, claim, macvlan, pod, template},
};
use crate::lab::{network, program};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "node: a kubelet restarts and deletes our slices; a pod schedules within 5 s",
        play: |stage| Box::pin(kubelet_restarts(stage)),
    },
    Scenario {
        name: "node: it reboots; its pods come back with their interfaces",
        play: |stage| Box::pin(reboots(stage)),
    },
    Scenario {
        name: "node: a link goes down; new pods stay away until it is back",
        play: |stage| Box::pin(link_goes_down(stage)),
    },
];

/// From the slices' end to a scheduled pod: the driver has 2 s to publish, the scheduler retries at
/// once when a slice comes.
const SCHEDULED: Duration = Duration::from_secs(5);

async fn kubelet_restarts(stage: &Stage<'_>) -> Result<()> {
    let before = stage.settle_on_workers(&["before"]).await?;
    let old = slices(stage).await?;
    try_join_all(Stage::WORKERS.map(|node| stage.lab.restart(node, "kubelet"))).await?;
    stage
        .until("the kubelets to delete the slices", async || {
            let left: Vec<_> = slices(stage).await?.intersection(&old).cloned().collect();
            // That of the control plane, whose kubelet runs on.
            ensure!(left.len() == 1, "{left:?} are still there");
            Ok(())
        })
        .await?;
    let deleted = Instant::now();
    let after = stage.apply_to_workers(&["after"]).await?;
    let names: Vec<_> = after.iter().map(String::as_str).collect();
    let wait = [
        "wait",
        "--for=condition=PodScheduled",
        "--timeout=60s",
        "pods",
    ];
    stage.kubectl(&[&wait, &names[..]].concat()).await?;
    let took = deleted.elapsed();
    ensure!(took <= SCHEDULED, "the pods were scheduled after {took:?}");
    stage.settled(&after).await?;
    stage.settled(&before).await
}

/// The UIDs of all slices.
async fn slices(stage: &Stage<'_>) -> Result<BTreeSet<String>> {
    let slices = stage.lab.list(&["resourceslices"]).await?;
    let uids = slices
        .iter()
        .filter_map(|slice| slice["metadata"]["uid"].as_str());
    Ok(uids.map(str::to_owned).collect())
}

async fn reboots(stage: &Stage<'_>) -> Result<()> {
    let pods = stage.settle_on_workers(&["a", "b"]).await?;
    let topology = stage.lab.topology()?;
    let workers = topology
        .nodes
        .iter()
        .filter(|node| !node.is_control_plane());
    try_join_all(workers.map(|node| stage.lab.reboot(node))).await?;
    // The API server still has them as Running: what counts is what the kernel has.
    for pod in &pods {
        stage.attached(pod, "net1").await?;
    }
    stage.settled(&pods).await
}

async fn link_goes_down(stage: &Stage<'_>) -> Result<()> {
    let [node, other] = Stage::WORKERS;
    let network = macvlan("second", "10.20.2.0/24");
    let net1 = template(&claim("net1", "eth2", "net1", &network));
    let running = pod("running", node, &[Template("net1")]);
    stage.apply(&[net1, running]).await?;
    stage.settled(&["running".to_owned()]).await?;

    set_link(stage, node, "down").await?;
    stage
        .until("the taint", async || {
            let device = device(stage, node, "eth2").await?;
            let taint = &device["taints"][0];
            ensure!(
                taint["key"] == "netclaim.dev/link"
                    && taint["value"] == "down"
                    && taint["effect"] == "NoSchedule",
                "the slice has {device}"
            );
            Ok(())
        })
        .await?;
    health(stage, "running", "Unhealthy").await?;
    let stays_away = pod("stays-away", node, &[Template("net1")]);
    let free = pod("free", "", &[Template("net1")]);
    stage.apply(&[stays_away, free]).await?;
    stage.settled(&["free".to_owned()]).await?;
    let placed = stage.pod("free").await?.node;
    ensure!(
        placed == other,
        "it was placed on {placed}, whose eth2 is down"
    );
    stage.said("stays-away", "FailedScheduling").await?;

    set_link(stage, node, "up").await?;
    health(stage, "running", "Healthy").await?;
    stage
        .settled(&["stays-away".to_owned(), "running".to_owned()])
        .await
}

async fn set_link(stage: &Stage<'_>, node: &str, to: &str) -> Result<()> {
    let namespace = network::path(&stage.lab.name, node);
    let namespace = format!("--net={}", namespace.display());
    let set = [namespace.as_str(), "ip", "link", "set", "eth2", to];
    program::run("nsenter", set).await
}

/// A device as it is published.
async fn device(stage: &Stage<'_>, node: &str, name: &str) -> Result<Value> {
    let slices = stage.lab.list(&["resourceslices"]).await?;
    let of_node = slices
        .into_iter()
        .filter(|slice| slice["spec"]["nodeName"] == node);
    let devices = of_node.filter_map(|slice| slice["spec"]["devices"].as_array().cloned());
    let found = devices.flatten().find(|device| device["name"] == name);
    found.with_context(|| format!("{node} offers no {name}"))
}

/// Waits until the kubelet says this of a pod's device.
async fn health(stage: &Stage<'_>, pod: &str, health: &str) -> Result<()> {
    stage
        .until(
            &format!("{pod} to have a device that is {health}"),
            async || {
                let pod = stage.pod(pod).await?.object;
                let resources = &pod["status"]["containerStatuses"][0]["allocatedResourcesStatus"];
                let found = &resources[0]["resources"][0]["health"];
                ensure!(found == health, "its status has {resources}");
                Ok(())
            },
        )
        .await
}
