//! The demo without a terminal: what was done, a table, and each claim of it checked.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Duration, LIMIT, Stage, say, until};
use crate::world::check::{self, Row};
use crate::world::driver::{self, Driver};
use crate::world::left::left;
use crate::world::traffic::flow::Flow;
use crate::world::{Worker, World, golden};

/// A packet between two readings makes a difference that is gone when all is quiet.
const QUIET: Duration = Duration::from_secs(8);

/// Runs it.
pub(super) async fn check(stage: &mut Stage) -> Result<()> {
    let (_, pods) = stage.set_up().await?;
    roll_out(stage, &pods).await?;
    let addressed = |(): &()| format!("{} claims say an address", pods.len());
    let waits = "each claim's status has an address";
    stage
        .steps
        .step(waits, stage.addressed(&pods), addressed)
        .await?;
    let reached = |(): &()| "each pod reached the next over net1, by UDP and TCP".to_owned();
    let waits = "each pod has reached the next";
    stage
        .steps
        .step(waits, stage.exchange(&pods), reached)
        .await?;
    survive(stage, &pods).await?;
    let rows = settled(&stage.world, pods.len()).await?;
    say(&format!("\n{}", check::table(&rows)))?;
    let agreed = "counted by gRPC = scraped from /metrics = `ip -s link`, for each of them";
    stage.steps.done(agreed)?;
    let distinct = format!(
        "{0} interfaces with {0} addresses and {0} MACs in {0} namespaces; statuses as in the talk",
        rows.len()
    );
    stage.steps.done(&distinct)?;
    take_away(stage, &pods).await
}

/// Starts the pods, and kills the driver while it attaches them.
async fn roll_out(stage: &mut Stage, pods: &[Value]) -> Result<()> {
    let some = pods.len() / 3;
    let Stage { driver, world, .. } = stage;
    let crash = async {
        let begun = || async { Ok(attached(&world.workers[0]).await.filter(|n| *n >= some)) };
        let attached = until("no third of the pods is attached", begun).await?;
        driver.kill().await?;
        *driver = Driver::start(&world.workers[0], &driver::Options::default())?;
        Ok(attached)
    };
    let all = async {
        let (bound, attached) = tokio::try_join!(world.run_pods(pods, LIMIT), crash)?;
        ensure!(bound.len() == pods.len(), "{} pods are bound", bound.len());
        Ok(attached)
    };
    let waits = "15 pods run, with a driver that is killed while it attaches them";
    let killed = |attached: &usize| {
        format!(
            "driver killed (SIGKILL) while it attached pods, {attached} of {} were; started again",
            pods.len()
        )
    };
    stage.steps.step(waits, all, killed).await?;
    stage.registered().await?;
    let running = stage.running();
    ensure!(
        running == pods.len(),
        "{running} of {} pods run",
        pods.len()
    );
    stage
        .steps
        .done(&format!("{running} pods run, each with a claim of its own"))
}

/// How many interfaces are in pods, if the driver answers.
async fn attached(worker: &Worker) -> Option<usize> {
    let snapshot = driver::snapshot(worker).await.ok()?;
    let counted = snapshot.interfaces.iter();
    Some(
        counted
            .filter(|interface| interface.counters.is_some())
            .count(),
    )
}

/// Kills the driver while traffic passes: its totals must go on as if nothing had been.
async fn survive(stage: &mut Stage, pods: &[Value]) -> Result<()> {
    let flow = Flow::start();
    ring(stage, &flow, pods).await?;
    let worker = &stage.world.workers[0];
    let moved = async {
        let before = packets(worker).await?;
        let more = || async { Ok(packets(worker).await.ok().filter(|now| *now > before)) };
        until("no traffic passes", more).await
    };
    let before = moved.await?;
    stage.driver.kill().await?;
    let passed = passed(worker, pods).await?;
    until("no packet passes without the driver", || async {
        Ok((self::passed(worker, pods).await? > passed).then_some(()))
    })
    .await?;
    stage.driver = Driver::start(worker, &driver::Options::default())?;
    let waits = "the driver is back and has adopted its probes";
    let back = async {
        stage.registered().await?;
        packets(stage.worker()).await
    };
    let words = |after: &u64| {
        format!(
            "driver killed while traffic passed, {before} packets were counted; started again: \
             {after}, none lost"
        )
    };
    let after = stage.steps.step(waits, back, words).await?;
    ensure!(after > before, "{after} packets after {before}");
    Ok(())
}

async fn ring(stage: &Stage, flow: &Flow, pods: &[Value]) -> Result<()> {
    for (index, pod) in (0..).zip(pods) {
        let next = &pods[(index as usize + 1) % pods.len()];
        stage.stream(flow, pod, next, index).await?;
    }
    Ok(())
}

/// Packets that the driver counted, of all interfaces.
async fn packets(worker: &Worker) -> Result<u64> {
    let snapshot = driver::snapshot(worker).await?;
    let counters = snapshot.interfaces.iter().filter_map(|row| row.counters);
    let directions = counters.flat_map(|counters| [counters.rx, counters.tx]);
    Ok(directions.flatten().map(|traffic| traffic.packets).sum())
}

/// Packets that the kernel saw come into the first pod.
async fn passed(worker: &Worker, pods: &[Value]) -> Result<u64> {
    let pod = pods.first().context("no pods")?;
    let interface =
        crate::world::traffic::interface(&worker.node, worker.netns(pod).await?, "net1");
    Ok(interface?.counters.rx_packets)
}

/// The rows once nothing is wrong with them; an error that names what stays wrong.
async fn settled(world: &World, pods: usize) -> Result<Vec<Row>> {
    let deadline = Instant::now() + QUIET;
    loop {
        let rows = check::rows(world).await?;
        let findings = check::findings(&rows, pods);
        if findings.is_empty() {
            return Ok(rows);
        }
        if Instant::now() > deadline {
            say(&check::table(&rows))?;
            anyhow::bail!("{}", findings.join("\n"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Deletes the pods, and checks that nothing of them is left.
async fn take_away(stage: &Stage, pods: &[Value]) -> Result<()> {
    let late = check::rows(&stage.world).await?;
    let late = late
        .iter()
        .filter(|row| golden::is_late(&row.status))
        .count();
    if late > 0 {
        let words = "interfaces came after their container, the driver being away, and say so";
        stage.steps.done(&format!("{late} {words}"))?;
    }
    let all = async {
        for pod in pods {
            stage.world.delete_pod(pod).await?;
        }
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = left(&stage.world)?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "left: {left:?}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    let words = |(): &()| {
        "all deleted: no interface, namespace, lease, pin, CNI result or claim is left".to_owned()
    };
    stage.steps.step("the pods are gone", all, words).await
}
