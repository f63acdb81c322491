//! What the real Prometheus makes of the drivers: its figures beside the pods' own, and the queries
//! of docs/metrics.md as they stand there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use futures::future::try_join_all;
use serde_json::json;

use super::{
    Pod, Scenario, Stage,
    manifest::{From::Template, pod},
};
use crate::{
    lab::{
        install::NAMESPACE,
        prometheus::{Prometheus, Told},
        topology::Node,
        wait,
    },
    world::{check, traffic::Totals},
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "prometheus: it has the pods' own bytes, and a brief pod's last ones, until they end",
        play: |stage| Box::pin(counted(stage)),
    },
    Scenario {
        name: "prometheus: series go on over an update of the drivers, and no node has two",
        play: |stage| Box::pin(updated(stage)),
    },
];

/// The page with the queries.
const PAGE: &str = include_str!("../../../../docs/metrics.md");

/// What the kernel itself may send after the last look at a pod that ends, in bytes.
const FAREWELL: u64 = 1_000;

/// Series stay for two minutes after their interface.
const ENDED: Duration = Duration::from_mins(3);

async fn counted(stage: &Stage<'_>) -> Result<()> {
    let prometheus = Prometheus::start(stage.lab, Told::ByOperator).await?;
    finds_each_driver(stage, &prometheus).await?;
    let pods = stay(stage, &prometheus).await?;
    let brief = try_join_all(Stage::WORKERS.map(|node| live_briefly(stage, node))).await?;
    let last = brief
        .iter()
        .map(|(pod, sent)| has_the_last(stage, &prometheus, pod, *sent));
    let last = try_join_all(last).await?;
    ping_on_workers(stage).await?;
    let [by_claim, by_pod, last_hour] = queries()?;
    for pod in &pods {
        let own = has_its_own(stage, &prometheus, pod).await?;
        let claim = stage.claim_of(&pod.name).await?;
        let claim = claim["metadata"]["name"].as_str().unwrap_or_default();
        let of_claim = [("namespace", stage.namespace.as_str()), ("claim", claim)];
        let of_pod = [&of_claim[..], &[("pod", &pod.name), ("node", &pod.node)]].concat();
        let joined = prometheus.ask(by_pod).await?.whole("", &of_pod);
        ensure!(
            joined == Some(own.rx_bytes),
            "{} has {own:?}, and {joined:?} by {by_pod}",
            pod.name
        );
        let rate = prometheus.ask(by_claim).await?.value("", &of_claim);
        ensure!(
            rate > Some(0.0),
            "{} took part in pings, and received {rate:?} by {by_claim}",
            pod.name
        );
    }
    for ((pod, _), last) in brief.iter().zip(last) {
        ends(&prometheus, pod).await?;
        let labels = [("namespace", stage.namespace.as_str()), ("pod", &pod.name)];
        let joined = prometheus.ask(last_hour).await?.whole("", &labels);
        ensure!(
            joined == Some(last.rx_bytes),
            "{} had {last:?}, and {joined:?} by {last_hour}",
            pod.name
        );
    }
    // What lives has not ended with them.
    has_its_own(stage, &prometheus, &pods[0]).await?;
    prometheus.stop().await
}

async fn updated(stage: &Stage<'_>) -> Result<()> {
    let prometheus = Prometheus::start(stage.lab, Told::Plainly).await?;
    finds_each_driver(stage, &prometheus).await?;
    prometheus.stop().await?;
    let prometheus = Prometheus::start(stage.lab, Told::ByOperator).await?;
    finds_each_driver(stage, &prometheus).await?;
    let pods = stay(stage, &prometheus).await?;
    let drivers = ["daemonset/netclaim-driver", "--namespace", NAMESPACE];
    let lab = stage.lab;
    lab.ask(&[&["rollout", "restart"], &drivers[..]].concat())
        .await?;
    let ended = ["rollout", "status", "--timeout=2m"];
    lab.ask(&[&ended[..], &drivers[..]].concat()).await?;
    ping_on_workers(stage).await?;
    for pod in &pods {
        has_its_own(stage, &prometheus, pod).await?;
        let sent = "netclaim_interface_transmit_bytes_total";
        let resets = format!("resets({sent}{{pod_uid=\"{}\"}}[10m])", pod.uid);
        let resets = prometheus.ask(&resets).await?;
        let once = resets.value("", &[]);
        ensure!(
            once == Some(0.0),
            "{} has, before and after: {resets:?}",
            pod.name
        );
    }
    let most = "max_over_time(count by (node) (up)[5m:1s])";
    let most = prometheus.ask(most).await?;
    for node in &lab.topology()?.nodes {
        let most = most.value("", &[("node", &node.name)]);
        ensure!(
            most == Some(1.0),
            "{} was scraped {most:?} times at once",
            node.name
        );
    }
    prometheus.stop().await
}

/// Waits until every driver is scraped, and nothing besides.
async fn finds_each_driver(stage: &Stage<'_>, prometheus: &Prometheus) -> Result<()> {
    let nodes = stage.lab.topology()?.nodes;
    let target = |node: &Node| {
        let labels = [
            ("job", "netclaim-driver".to_owned()),
            ("instance", format!("{}:10476", node.address())),
            ("namespace", NAMESPACE.to_owned()),
            ("node", node.name.clone()),
        ];
        BTreeMap::from(labels.map(|(label, value)| (label.to_owned(), value)))
    };
    let expected: BTreeSet<_> = nodes.iter().map(target).collect();
    stage
        .until("every driver to be scraped", async || {
            let up = prometheus.ask("up == 1").await?;
            let found = up.all("up", &[]).map(|sample| sample.labels.clone());
            let found: BTreeSet<_> = found.collect();
            ensure!(found == expected, "it scrapes {found:?}");
            Ok(())
        })
        .await
}

/// Two pods on each worker, which Prometheus knows.
async fn stay(stage: &Stage<'_>, prometheus: &Prometheus) -> Result<Vec<Pod>> {
    let names = stage.settle_on_workers(&["a", "b"]).await?;
    let pods = try_join_all(names.iter().map(|name| stage.pod(name))).await?;
    for pod in &pods {
        has_its_own(stage, prometheus, pod).await?;
    }
    Ok(pods)
}

/// On each worker one of those pods pings the other.
async fn ping_on_workers(stage: &Stage<'_>) -> Result<()> {
    for node in Stage::WORKERS {
        let b = stage.attached(&format!("{node}-b"), "net1").await?;
        stage
            .exec(&format!("{node}-a"), &["ping", "-c", "3", &b])
            .await?;
    }
    Ok(())
}

/// A pod that sends for five seconds and ends; with the bytes that it was seen to have sent last.
async fn live_briefly(stage: &Stage<'_>, node: &str) -> Result<(Pod, u64)> {
    let partner = stage.attached(&format!("{node}-b"), "net1").await?;
    let name = format!("{node}-brief");
    let mut brief = pod(&name, node, &[Template("net1")]);
    brief["spec"]["restartPolicy"] = json!("Never");
    let ping = json!(["ping", "-c", "5", "-s", "1000", partner]);
    brief["spec"]["containers"][0]["command"] = ping;
    stage.apply(&[brief]).await?;
    let (pod, mut seen) = stage
        .until(&format!("{name} to have net1"), async || {
            let pod = stage.pod(&name).await?;
            let seen = stage.interface(&pod, "net1")?;
            Ok((pod, seen))
        })
        .await?;
    stage
        .until(&format!("{name} to end"), async || {
            let Ok(still) = stage.interface(&pod, "net1") else {
                return Ok(());
            };
            seen = still;
            bail!("it has sent {:?}", seen.counters);
        })
        .await?;
    ensure!(
        seen.counters.tx_bytes > 5_000,
        "{name} sent {:?}",
        seen.counters
    );
    Ok((pod, seen.counters.tx_bytes))
}

/// Waits until Prometheus has what a pod that ended had at last.
async fn has_the_last(
    stage: &Stage<'_>,
    prometheus: &Prometheus,
    pod: &Pod,
    sent: u64,
) -> Result<Totals> {
    let fact = format!("the last of {} to be scraped", pod.name);
    let last = stage
        .until(&fact, async || {
            let snapshot = stage.snapshot(&pod.node).await?;
            let counted = check::counted(&snapshot, &pod.uid, "net1");
            let counted = counted.context("its driver does not show it")?;
            let scraped = totals(prometheus, pod).await?;
            ensure!(
                scraped == counted,
                "scraped {scraped:?}, its driver has {counted:?}"
            );
            Ok(scraped)
        })
        .await?;
    let expected = sent..=sent + FAREWELL;
    ensure!(
        expected.contains(&last.tx_bytes),
        "{} was seen to have sent {sent}, and its last were {last:?}",
        pod.name
    );
    Ok(last)
}

/// Waits until Prometheus has what the kernel says in a pod.
async fn has_its_own(stage: &Stage<'_>, prometheus: &Prometheus, pod: &Pod) -> Result<Totals> {
    let fact = format!("Prometheus to have what {} has", pod.name);
    stage
        .until(&fact, async || {
            let scraped = totals(prometheus, pod).await?;
            let kernel = stage.interface(pod, "net1")?;
            ensure!(
                check::agrees(scraped, &kernel),
                "scraped {scraped:?}, the kernel has {kernel:?}"
            );
            Ok(scraped)
        })
        .await
}

/// Waits until Prometheus has no series of a pod any more.
async fn ends(prometheus: &Prometheus, pod: &Pod) -> Result<()> {
    let fact = format!("the series of {} to end", pod.name);
    wait::until(&fact, ENDED, async || {
        let left = prometheus.ask(&of(pod)).await?;
        ensure!(left.names().is_empty(), "there is {left:?}");
        Ok(())
    })
    .await
}

async fn totals(prometheus: &Prometheus, pod: &Pod) -> Result<Totals> {
    let answer = prometheus.ask(&of(pod)).await?;
    let totals = answer.totals(&pod.uid, "net1");
    totals.with_context(|| format!("of {} it has {answer:?}", pod.name))
}

/// All series of a pod.
fn of(pod: &Pod) -> String {
    format!("{{pod_uid=\"{}\"}}", pod.uid)
}

/// The queries of the page, in its order.
fn queries() -> Result<[&'static str; 3]> {
    let blocks = PAGE.split("```promql\n").skip(1);
    let queries = blocks.filter_map(|block| block.split("```").next());
    let queries: Vec<_> = queries.collect();
    let found = queries.len();
    queries
        .try_into()
        .map_err(|_| anyhow!("docs/metrics.md has {found} queries instead of 3"))
}
