//! Drivers that are gone, come, or are replaced while pods come and go.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    Scenario, Stage,
    manifest::{From::Template, pod},
};
use crate::{
    demo::steps::say,
    lab::{install::BOOT_ID, network},
    world::{check, place},
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "driver: deleted while pods run, and pods are force-deleted meanwhile; it comes back",
        play: |stage| Box::pin(deleted(stage)),
    },
    Scenario {
        name: "driver: absent when a pod comes; the pod heals once it is installed",
        play: |stage| Box::pin(absent(stage)),
    },
    Scenario {
        name: "driver: rolling update under churn, with its port taken by another; no pod fails",
        play: |stage| Box::pin(updated(stage)),
    },
    Scenario {
        name: "driver: rolled back to the version before under churn; no pod fails",
        play: |stage| Box::pin(rolled_back(stage)),
    },
];

/// Where dranet is scraped.
const TAKEN: u16 = 9177;

async fn deleted(stage: &Stage<'_>) -> Result<()> {
    let pods = stage
        .settle_on_workers(&["stays", "answers", "goes"])
        .await?;
    stage.send_drivers_away().await?;
    for node in Stage::WORKERS {
        let answers = stage.pod(&format!("{node}-answers")).await?;
        let address = stage.interface(&answers, "net1")?.address()?.to_string();
        stage
            .exec(&format!("{node}-stays"), &["ping", "-c", "3", &address])
            .await?;
    }
    let goes = Stage::WORKERS.map(|node| format!("{node}-goes"));
    stage
        .delete(&["pods", "--force", "--grace-period=0", &goes[0], &goes[1]])
        .await?;
    stage.call_drivers_back().await?;
    let left: Vec<_> = pods
        .into_iter()
        .filter(|pod| !pod.ends_with("goes"))
        .collect();
    stage.settled(&left).await?;
    for name in &left {
        let pod = stage.pod(name).await?;
        stage
            .until(
                &format!("every packet of {name} to be counted"),
                async || {
                    let counted = stage.metrics(&pod.node)?.totals(&pod.uid, "net1");
                    let counted = counted.context("it has no series")?;
                    let kernel = stage.interface(&pod, "net1")?;
                    ensure!(
                        check::agrees(counted, &kernel),
                        "counted {counted:?}, the kernel {kernel:?}"
                    );
                    Ok(())
                },
            )
            .await?;
    }
    Ok(())
}

async fn absent(stage: &Stage<'_>) -> Result<()> {
    stage.send_drivers_away().await?;
    let early = stage.apply_to_workers(&["early"]).await?;
    let said = early.iter().map(|pod| stage.said(pod, "is not registered"));
    try_join_all(said).await?;
    stage.lab.uninstall().await?;
    let late = stage.apply_to_workers(&["late"]).await?;
    try_join_all(late.iter().map(|pod| stage.said(pod, "FailedScheduling"))).await?;
    stage.lab.install(BOOT_ID).await?;
    stage.settled(&early).await?;
    stage.settled(&late).await
}

async fn updated(stage: &Stage<'_>) -> Result<()> {
    let before = stage.settle_on_workers(&["before"]).await?;
    let taken = Stage::WORKERS.map(|node| take_port(stage, node));
    let taken = taken.into_iter().collect::<Result<Vec<_>>>()?;
    let port = format!("driver.metricsPort={TAKEN}");
    let values = [BOOT_ID, &[port.as_str()]].concat();
    churn_during(stage, stage.lab.install(&values)).await?;
    drop(taken);
    churn_during(stage, stage.lab.install(BOOT_ID)).await?;
    stage.settled(&before).await
}

/// Holds the port as long as it is not dropped.
fn take_port(stage: &Stage<'_>, node: &str) -> Result<TcpListener> {
    let network = network::path(&stage.lab.name, node);
    place::visit(network, || {
        Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, TAKEN))?)
    })
}

async fn rolled_back(stage: &Stage<'_>) -> Result<()> {
    let before = stage.settle_on_workers(&["before"]).await?;
    let values = [BOOT_ID, &["driver.log=debug"]].concat();
    stage.lab.install(&values).await?;
    churn_during(stage, stage.lab.roll_back()).await?;
    stage.settled(&before).await
}

/// Pods come and go on both workers as long as the drivers are replaced, and once after it.
async fn churn_during(stage: &Stage<'_>, replaced: impl Future<Output = Result<()>>) -> Result<()> {
    let (told, ended) = watch::channel(false);
    let replaced = async {
        let replaced = replaced.await;
        told.send_replace(true);
        replaced
    };
    let churns = try_join_all(Stage::WORKERS.map(|node| churn(stage, node, &ended)));
    let ((), rounds) = tokio::try_join!(replaced, churns)?;
    say(&format!(
        "  pods that came and went on each worker: {rounds:?}"
    ))
}

/// How many came and went, each at the kubelet's first try.
async fn churn(stage: &Stage<'_>, node: &str, ended: &watch::Receiver<bool>) -> Result<usize> {
    for round in 1.. {
        let last = *ended.borrow();
        let name = format!("{node}-churn-{round}");
        stage.apply(&[strict(&name, node)]).await?;
        stage.ready(&[&name]).await?;
        stage.attached(&name, "net1").await?;
        let events = stage.events(&name).await?;
        let failed = events.iter().find(|event| event.starts_with("Failed"));
        ensure!(failed.is_none(), "{name} was tried again: {failed:?}");
        stage.delete(&["pod", &name]).await?;
        if last {
            return Ok(round);
        }
    }
    bail!("it ends when the drivers are replaced")
}

/// A pod that fails for good if its container starts without the interface.
fn strict(name: &str, node: &str) -> Value {
    let mut pod = pod(name, node, &[Template("net1")]);
    let look =
        "ip addr show dev net1 | grep -q 'inet ' || exit 1; trap exit TERM; sleep infinity & wait";
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["containers"][0]["command"] = json!(["/bin/sh", "-c", look]);
    pod
}
