//! As many pods as a node takes, which come and go.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use netclaim_proto::observe::InterfaceState;
use serde_json::Value;

use super::{
    Scenario, Stage,
    manifest::{From::Template, claim, macvlan, pod, template},
};
use crate::{demo::steps::say, lab::wait};

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

/// The driver's command.
const DRIVER: &[&str] = &["netclaim", "run"];

/// How long pods took from their creation to their container's start: the API has whole seconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::lab) struct Starts {
    p50: i64,
    p99: i64,
    /// How many got another sandbox, because a plugin had not ended when the runtime's time was
    /// over.
    pub(in crate::lab) again: usize,
}

/// What a round of pods with claims came to.
#[derive(Clone, Copy, Debug)]
pub(in crate::lab) struct Round {
    pub(in crate::lab) starts: Starts,
    /// Resident memory of the node's driver with all of them attached, in KiB.
    pub(in crate::lab) full: u64,
    /// Of it what is the driver's own.
    pub(in crate::lab) own: u64,
    /// Resident memory once they are gone.
    empty: u64,
}

impl fmt::Display for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, again } = self;
        write!(f, "p50 {p50} s, p99 {p99} s, {again} got another sandbox")
    }
}

async fn three_rounds(stage: &Stage<'_>) -> Result<()> {
    // The node of the newer runtime.
    rounds(stage, Stage::WORKERS[1]).await.map(drop)
}

/// Lets as many pods as a node takes come and go: once without a claim, then three times with one.
/// Each gets its interface, and none fails.
pub(in crate::lab) async fn rounds(stage: &Stage<'_>, node: &str) -> Result<[Round; ROUNDS]> {
    let network = macvlan("churn", "10.20.0.0/16");
    let net1 = template(&claim("net1", "eth1", "net1", &network));
    stage.apply(&[net1]).await?;
    let bare = start(stage, node, "bare", false).await?;
    say(&format!("  {PODS} pods without a claim: {bare}"))?;
    end(stage).await?;
    let mut rounds = Vec::new();
    for number in 1..=ROUNDS {
        let name = format!("round-{number}");
        let round = round(stage, node, &name).await.context(name)?;
        say(&format!(
            "  {PODS} pods with a claim: {}; the driver holds {} KiB with them, {} of them its own, and {} \
             KiB without",
            round.starts, round.full, round.own, round.empty
        ))?;
        rounds.push(round);
    }
    rounds.try_into().ok().context("as many as were played")
}

async fn round(stage: &Stage<'_>, node: &str, name: &str) -> Result<Round> {
    let starts = start(stage, node, name, true).await?;
    attached(stage, node).await?;
    let full = stage.lab.memory(node, DRIVER, "VmRSS")?;
    let own = stage.lab.memory(node, DRIVER, "RssAnon")?;
    end(stage).await?;
    let empty = stage.lab.memory(node, DRIVER, "VmRSS")?;
    Ok(Round {
        starts,
        full,
        own,
        empty,
    })
}

/// Pods with or without a claim of their own; waits until all are Ready, and none has failed.
async fn start(stage: &Stage<'_>, node: &str, name: &str, claiming: bool) -> Result<Starts> {
    let claims: &[_] = if claiming { &[Template("net1")] } else { &[] };
    let pods = (0..PODS).map(|index| pod(&format!("{name}-{index}"), node, claims));
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
async fn attached(stage: &Stage<'_>, node: &str) -> Result<()> {
    stage
        .until("every interface to be shown", async || {
            let snapshot = stage.snapshot(node).await?;
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
