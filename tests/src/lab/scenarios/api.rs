//! An API server that is not there.

use anyhow::Result;
use futures::future::try_join_all;
use nix::sys::signal::Signal;
use tokio::time::{Duration, Instant, sleep_until};

use super::{Scenario, Stage, runtime::has_another_sandbox};
use crate::lab::programs;

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "api: the API server is down for 30 s while pods start, stop and lose their sandbox",
    play: |stage| Box::pin(down(stage)),
}];

/// How long it is down.
const OUTAGE: Duration = Duration::from_secs(30);

const PROGRAM: &str = "kube-apiserver";

async fn down(stage: &Stage<'_>) -> Result<()> {
    let pods = stage.settle_on_workers(&["stays", "goes", "falls"]).await?;
    let of = |name: &str| Stage::WORKERS.map(|node| format!("{node}-{name}"));
    let (goes, falls) = (of("goes"), of("falls"));
    let mut sandboxes = Vec::new();
    for name in &falls {
        let pod = stage.pod(name).await?;
        let pause = stage.pause(&pod)?;
        sandboxes.push((pod, pause));
    }
    let starting = stage.apply_to_workers(&["starts"]).await?;
    stage
        .delete(&["pods", "--wait=false", &goes[0], &goes[1]])
        .await?;

    let gone = Instant::now();
    stage.lab.stop(Stage::CONTROL_PLANE, PROGRAM).await?;
    for (_, pause) in &sandboxes {
        programs::signal(*pause, Signal::SIGKILL)?;
    }
    sleep_until(gone + OUTAGE).await;
    stage.lab.resume(Stage::CONTROL_PLANE, PROGRAM)?;

    let answers = async || stage.lab.ask(&["get", "--raw=/readyz"]).await.map(drop);
    stage.until("the API server to answer", answers).await?;
    // The kubelet asks for the claim before it makes a sandbox, so that none can be made before.
    let remade = sandboxes
        .iter()
        .map(|(pod, pause)| has_another_sandbox(stage, pod, *pause));
    try_join_all(remade).await?;
    stage.settled(&starting).await?;
    let left: Vec<_> = pods
        .into_iter()
        .filter(|pod| !pod.ends_with("goes"))
        .collect();
    stage.settled(&left).await
}
