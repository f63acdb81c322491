//! As many pods as a node takes, which come and go.

use std::{collections::BTreeMap, fmt, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use netclaim_proto::observe::InterfaceState;
use serde_json::Value;

use super::{
    Scenario, Stage,
    manifest::{From::Template, claim, macvlan, pod, template},
};
use crate::lab::wait;

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "churn: 100 pods come and go three times on one node; each gets its interface",
    play: |stage| Box::pin(three_rounds(stage)),
}];

/// A kubelet takes 110, and the driver and the relay are there already.
const PODS: usize = 100;

const ROUNDS: usize = 3;

/// All of them at once, on two busy cores.
const PATIENCE: Duration = Duration::from_mins(3);

/// What is said where a plugin is slower than the runtime waits, and of a pod that comes again before
/// that is undone. On a busy machine it happens; the kubelet makes another sandbox, and no pod starts
/// bare.
const LATE: &[&str] = &[
    "it did not end within",
    "is still busy with an earlier attach or detach",
];

/// The node of the newer runtime.
const NODE: &str = Stage::WORKERS[1];

/// How long pods took from their creation to their container's start: the API has whole seconds.
#[derive(Clone, Copy, Debug)]
struct Starts {
    p50: i64,
    p99: i64,
    /// How many got another sandbox, because a plugin had not ended when the runtime's time was
    /// over.
    again: usize,
}

impl fmt::Display for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, again } = self;
        write!(f, "p50 {p50} s, p99 {p99} s, {again} got another sandbox")
    }
}

async fn three_rounds(stage: &Stage<'_>) -> Result<()> {
    let network = macvlan("churn", "10.20.0.0/16");
    let net1 = template(&claim("net1", "eth1", "net1", &network));
    stage.apply(&[net1]).await?;
    let bare = start(stage, "bare", false).await?;
    tracing::info!("{PODS} pods without a claim: {bare}");
    end(stage).await?;
    for round in 1..=ROUNDS {
        let starts = start(stage, &format!("round-{round}"), true).await?;
        attached(stage)
            .await
            .with_context(|| format!("round {round}"))?;
        let full = resident(stage)?;
        end(stage).await?;
        let empty = resident(stage)?;
        tracing::info!(
            "round {round}: {PODS} pods with a claim: {starts}; the driver holds {full} KiB \
             with them and {empty} KiB without"
        );
    }
    Ok(())
}

/// Pods with or without a claim of their own; waits until all are Ready, and none has failed.
async fn start(stage: &Stage<'_>, name: &str, claiming: bool) -> Result<Starts> {
    let claims: &[_] = if claiming { &[Template("net1")] } else { &[] };
    let pods = (0..PODS).map(|index| pod(&format!("{name}-{index}"), NODE, claims));
    stage.apply(&pods.collect::<Vec<_>>()).await?;
    wait::until("all pods to be Ready", PATIENCE, async || {
        stage.all_ready().await
    })
    .await?;
    let about_pods = [
        "events",
        "--field-selector=involvedObject.kind=Pod,type=Warning",
    ];
    let events = stage.list(&about_pods).await?;
    let failed = |event: &&Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (pod, reason) = (
            text(&event["involvedObject"]["name"]),
            text(&event["reason"]),
        );
        // Until the claim is made and its device is allocated.
        let early = reason == "FailedScheduling";
        pod.starts_with(name) && reason.starts_with("Failed") && !early
    };
    let failed: Vec<_> = events.iter().filter(failed).collect();
    let in_time = |event: &&&Value| {
        let said = event["message"].as_str().unwrap_or_default();
        !LATE.iter().any(|late| said.contains(late))
    };
    let other = failed.iter().find(in_time);
    ensure!(other.is_none(), "{name}: {other:?}");
    let pods = stage.list(&["pods"]).await?;
    starts(&pods, failed.len())
}

/// Waits until every pod has its interface, and each its own address.
async fn attached(stage: &Stage<'_>) -> Result<()> {
    stage
        .until("every interface to be shown", async || {
            let snapshot = stage.snapshot(NODE).await?;
            let attached = snapshot
                .interfaces
                .iter()
                .filter(|row| row.state() == InterfaceState::Attached);
            let owners: BTreeMap<_, _> = attached
                .filter_map(|row| Some((&row.ips, &row.pod.as_ref()?.uid)))
                .collect();
            ensure!(owners.len() == PODS, "{} have an address", owners.len());
            Ok(())
        })
        .await
}

/// Deletes all pods, and waits until they and their claims are gone.
async fn end(stage: &Stage<'_>) -> Result<()> {
    stage.delete(&["pods", "--all"]).await?;
    stage
        .until("the claims to be gone", async || {
            let left = stage.list(&["resourceclaims"]).await?;
            ensure!(left.is_empty(), "{} are left", left.len());
            Ok(())
        })
        .await
}

/// Memory of the node's driver, in KiB.
fn resident(stage: &Stage<'_>) -> Result<u64> {
    let driver = stage.drivers(NODE)?;
    let driver = driver.first().context("no driver runs")?;
    let status = fs::read_to_string(format!("/proc/{driver}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.split_whitespace().next());
    Ok(size.context("no VmRSS")?.parse()?)
}

fn starts(pods: &[Value], again: usize) -> Result<Starts> {
    ensure!(pods.len() == PODS, "{} pods are there", pods.len());
    let took = |pod: &Value| -> Result<i64> {
        let state = &pod["status"]["containerStatuses"][0]["state"];
        let created = seconds(&pod["metadata"]["creationTimestamp"])?;
        Ok(seconds(&state["running"]["startedAt"])? - created)
    };
    let mut took = pods.iter().map(took).collect::<Result<Vec<_>>>()?;
    took.sort_unstable();
    let at = |share: usize| took[(PODS * share).div_ceil(100) - 1];
    Ok(Starts {
        p50: at(50),
        p99: at(99),
        again,
    })
}

fn seconds(time: &Value) -> Result<i64> {
    let time: Timestamp = time.as_str().context("no time")?.parse()?;
    Ok(time.as_second())
}
