//! Container runtimes that start anew, lose a sandbox, or have no NRI.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep_until};

use super::{
    Pod, Scenario, Stage,
    manifest::{From::Claim, From::Template, claim, macvlan, pod, template},
};
use crate::{lab::programs, world::driver::NAME};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "runtime: containerd restarts while pods run; one goes, one gets another sandbox",
        play: |stage| Box::pin(restarts(stage)),
    },
    Scenario {
        name: "runtime: its NRI is gone for 20 s while pods are created; none starts bare",
        play: |stage| Box::pin(loses_nri(stage)),
    },
    Scenario {
        name: "runtime: a pod that requires us by annotation is refused without us, and heals",
        play: |stage| Box::pin(requires_us(stage)),
    },
];

/// How long NRI is off.
const OUTAGE: Duration = Duration::from_secs(20);

/// Where containerd 2 validates what plugins did.
const VALIDATES: &str = "kind-worker2";

async fn restarts(stage: &Stage<'_>) -> Result<()> {
    let pods = stage.settle_on_workers(&["goes", "stays", "falls"]).await?;
    let network = macvlan("single", "10.20.3.0/24");
    let served = |node, name| {
        let claim = format!("{node}-claim");
        pod(&format!("{node}-{name}"), node, &[Claim(&claim)])
    };
    let mut objects = Vec::new();
    for node in Stage::WORKERS {
        objects.push(claim(&format!("{node}-claim"), "eth1", "net1", &network));
        objects.push(served(node, "first"));
    }
    stage.apply(&objects).await?;
    stage
        .settled(&Stage::WORKERS.map(|node| format!("{node}-first")))
        .await?;

    try_join_all(Stage::WORKERS.map(|node| stage.lab.restart(node, "containerd"))).await?;
    let of = |name: &str| Stage::WORKERS.map(|node| format!("{node}-{name}"));
    stage
        .delete(&["pods", &of("goes")[0], &of("goes")[1]])
        .await?;
    let falls = of("falls");
    try_join_all(falls.iter().map(|name| loses_its_sandbox(stage, name))).await?;

    stage
        .delete(&["pods", "--wait=false", &of("first")[0], &of("first")[1]])
        .await?;
    stage
        .apply(&Stage::WORKERS.map(|node| served(node, "second")))
        .await?;
    stage.settled(&of("second")).await?;
    let left: Vec<_> = pods
        .into_iter()
        .filter(|pod| !pod.ends_with("goes"))
        .collect();
    stage.settled(&left).await
}

/// Its pause process is killed, and it gets its interface in the sandbox that is made anew.
pub(super) async fn loses_its_sandbox(stage: &Stage<'_>, name: &str) -> Result<()> {
    let pod = stage.pod(name).await?;
    let old = stage.pause(&pod)?;
    programs::signal(old, Signal::SIGKILL)?;
    has_another_sandbox(stage, &pod, old).await
}

/// Waits until a pod has another sandbox with its interface; asks the kernel only.
pub(super) async fn has_another_sandbox(stage: &Stage<'_>, pod: &Pod, old: u32) -> Result<()> {
    stage
        .until(&format!("another sandbox of {}", pod.name), async || {
            let pause = stage.pause(pod)?;
            ensure!(pause != old, "the old one is still there");
            let net1 = stage.interface(pod, "net1")?;
            ensure!(!net1.ips.is_empty(), "net1 has no address: {net1:?}");
            Ok(())
        })
        .await
}

async fn loses_nri(stage: &Stage<'_>) -> Result<()> {
    let before = stage.settle_on_workers(&["before"]).await?;
    let gone = Instant::now();
    try_join_all(Stage::WORKERS.map(|node| set_nri(stage, node, false))).await?;
    let meanwhile = stage.apply_to_workers(&["one", "two"]).await?;
    let words = "not connected to the container runtime's NRI";
    try_join_all(meanwhile.iter().map(|pod| stage.said(pod, words))).await?;
    for pod in &meanwhile {
        let processes = stage.pod(pod).await?;
        let processes = stage
            .lab
            .processes_of_pod(&processes.node, &processes.uid)?;
        ensure!(
            processes.is_empty(),
            "{pod} runs, and its interface is made by nobody"
        );
    }
    sleep_until(gone + OUTAGE).await;
    try_join_all(Stage::WORKERS.map(|node| set_nri(stage, node, true))).await?;
    stage.settled(&meanwhile).await?;
    stage.settled(&before).await
}

/// Turns NRI on or off, as an administrator does: in the file, and by a restart.
async fn set_nri(stage: &Stage<'_>, node: &str, on: bool) -> Result<()> {
    let said = |on: bool| format!("disable = {}", !on);
    let change = format!("s/^{}$/{}/", said(!on), said(on));
    let file = "/etc/containerd/config.toml";
    stage.on_node(node, &["sed", "-i", &change, file]).await?;
    stage.lab.restart(node, "containerd").await
}

async fn requires_us(stage: &Stage<'_>) -> Result<()> {
    if !stage.runs_containerd_2(VALIDATES)? {
        return Err(super::skip(
            "containerd 1.7 does not look at the annotation",
        ));
    }
    let network = macvlan("plain", "10.20.1.0/24");
    let net1 = template(&claim("net1", "eth1", "net1", &network));
    let requiring = |name, claims: &[_]| {
        let mut pod = pod(name, VALIDATES, claims);
        let annotation = json!({"required-plugins.noderesource.dev": format!("[\"{NAME}\"]")});
        pod["metadata"]["annotations"] = annotation;
        pod
    };
    stage
        .apply(&[net1, requiring("with-us", &[Template("net1")])])
        .await?;
    stage.settled(&["with-us".to_owned()]).await?;

    stage.send_drivers_away().await?;
    // Without a claim, so that nobody but the runtime can refuse it.
    stage.apply(&[requiring("without-us", &[])]).await?;
    stage.said("without-us", "required plugin").await?;
    stage.call_drivers_back().await?;
    stage.ready(&["without-us"]).await
}
