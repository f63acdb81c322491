//! What the kernel drops on pods' interfaces: told by its reason, or said to be unknown.

use anyhow::{Context as _, Result, ensure};
use netclaim_proto::observe::drops_state::State;
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::{Options, traffic};
use serde_json::Value;

use super::life::{exact, send};
use super::stage::{LIMIT, Stage, play, until, value};

const NO_SOCKET: &str = "NO_SOCKET";

/// Sends datagrams from one pod to a port of the other that nobody listens on.
async fn knock(stage: &Stage, from: &Value, to: &Value, count: usize) -> Result<()> {
    let worker = stage.worker();
    let (from, to) = (worker.netns(from).await?, worker.netns(to).await?);
    let address = traffic::interface(&worker.node, to, "net1")?.address()?;
    traffic::knock(&worker.node, from, address, count)
}

/// What gRPC says that a pod's interface dropped since nobody listened; nothing if it does not say.
async fn dropped(stage: &Stage, pod: &Value) -> Result<Option<u64>> {
    let drops = stage.interface(pod).await?.drops;
    Ok(drops.map(|drops| drops.packets_by_reason.get(NO_SOCKET).copied().unwrap_or(0)))
}

async fn until_dropped(stage: &Stage, pod: &Value, count: u64) -> Result<()> {
    until(&format!("{count} drops are told"), async || {
        Ok((dropped(stage, pod).await? == Some(count)).then_some(()))
    })
    .await
}

/// The series of a pod.
fn series(pod: &Value) -> String {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    format!("pod_uid=\"{uid}\",interface=\"net1\",reason=\"{NO_SOCKET}\"}}")
}

fn scraped(stage: &Stage, pod: &Value) -> Result<Option<f64>> {
    let (text, series) = (stage.scrape()?, series(pod));
    let mut lines = text.lines();
    let line = lines
        .find(|line| line.starts_with("netclaim_interface_drops_total{") && line.contains(&series));
    let number = line.and_then(|line| line.rsplit(' ').next());
    Ok(number.map(str::parse).transpose()?)
}

#[test]
fn drops_are_told_by_reason_and_outlive_driver_and_interface() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            if value(&stage.scrape()?, "netclaim_drops_counted") != Some(1.0) {
                println!("skipped: the kernel has no reasons for drops");
                return Ok(());
            }
            let (one, two) = (stage.running("one").await?, stage.running("two").await?);
            send(stage, &one, &two, 10).await?;
            until_dropped(stage, &two, 0).await?;
            knock(stage, &one, &two, 200).await?;
            until_dropped(stage, &two, 200).await?;
            ensure!(scraped(stage, &two)? == Some(200.0), "{}", stage.scrape()?);
            ensure!(dropped(stage, &one).await? == Some(0), "one dropped some");
            ensure!(scraped(stage, &one)?.is_none(), "one has a series");

            stage.driver.take().context("a driver")?.kill().await?;
            // Nobody looks, the kernel counts on.
            knock(stage, &one, &two, 50).await?;
            stage.start().await?;
            until_dropped(stage, &two, 250).await?;
            knock(stage, &one, &two, 5).await?;
            until_dropped(stage, &two, 255).await?;

            stage.world.delete_pod(&two).await?;
            ensure!(dropped(stage, &two).await? == Some(255), "not the last");
            ensure!(scraped(stage, &two)? == Some(255.0), "{}", stage.scrape()?);
            // Whoever has its slot next begins anew.
            let three = stage.running("three").await?;
            until_dropped(stage, &three, 0).await
        })
    })
}

#[test]
fn a_kernel_that_gives_no_reasons_costs_the_drops_alone() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let ended = stage.driver.take().context("a driver")?.stop(LIMIT).await?;
            ensure!(ended.success(), "{ended}");
            let place = &stage.worker().node.place;
            place.output("mount", "--bind /dev/null /sys/kernel/btf/vmlinux")?;
            stage.start().await?;
            let (one, two) = (stage.running("one").await?, stage.running("two").await?);
            knock(stage, &one, &two, 20).await?;
            send(stage, &one, &two, 10).await?;
            exact(stage, &two).await?;
            let interface = stage.interface(&two).await?;
            ensure!(
                interface.drops.is_none(),
                "unknown is not zero: {interface:?}"
            );
            let text = stage.scrape()?;
            ensure!(
                value(&text, "netclaim_drops_counted") == Some(0.0),
                "{text}"
            );
            ensure!(!text.contains("netclaim_interface_drops_total{"), "{text}");
            let state = stage.snapshot().await?.drops.and_then(|drops| drops.state);
            let Some(State::Missing(why)) = state else {
                anyhow::bail!("gRPC does not say why: {state:?}");
            };
            ensure!(why.reason == "KernelNotSupported", "{why:?}");
            let said = format!("drops are not counted, all else is: {}", why.message);
            ensure!(
                stage.log()?.contains(&said),
                "the log does not say {said:?}"
            );
            Ok(())
        })
    })
}
