//! What the container runtime does: two generations, other orders, absence, and events that never
//! come.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use netclaim_proto::observe::InterfaceState;
use netclaim_tests::world::Options;
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::runtime::nri::Generation;
use netclaim_tests::world::scheduler;
use serde_json::Value;

use super::stage::{
    Cause, LIMIT, OWN_PLUGINS, Stage, macvlan_then, parameters, play, until, within,
};

/// Some pods come, survive a restart of the runtime, and go.
async fn live(stage: &mut Stage) -> Result<()> {
    let mut pods = Vec::new();
    for name in ["one", "two", "three"] {
        pods.push(stage.running(name).await?);
    }
    for name in ["one", "two", "three"] {
        stage.told(name, "Ready", "True/Attached").await?;
        stage.told(name, "ProbeAttached", "True/Counting").await?;
    }
    stage.left(3).await?;
    let runtime = &stage.worker().kubelet.runtime;
    runtime.write().await.restart().await?;
    stage.on_nri().await?;
    // A stop may come twice.
    let kubelet = &stage.worker().kubelet;
    let sandbox = kubelet.sandbox(&pods[0]).await.unwrap();
    kubelet
        .runtime
        .read()
        .await
        .stop_pod_sandbox(&sandbox)
        .await?;
    for pod in &pods {
        stage.world.delete_pod(pod).await?;
    }
    stage.left(0).await
}

#[test]
fn the_runtime_of_today() -> Result<()> {
    test(|| play(Options::default(), &[], live))
}

#[test]
fn the_runtime_before_it_with_synchronize_in_parts() -> Result<()> {
    test(|| {
        let mut options = Options::default();
        options.runtime.generation = Generation::StateChange;
        options.runtime.pods_per_message = 1;
        play(options, &[], live)
    })
}

#[test]
fn a_runtime_that_removes_the_namespace_first() -> Result<()> {
    test(|| {
        let mut options = Options::default();
        options.runtime.removes_netns_first = true;
        play(options, &[], live)
    })
}

#[test]
fn no_pod_starts_while_the_runtime_is_not_followed() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let pod = stage.usual("early")?;
            let runtime = &stage.worker().kubelet.runtime;
            runtime.write().await.stop().await?;
            until("the driver notices", async || {
                Ok(stage
                    .scrape()?
                    .contains("netclaim_nri_connected 0")
                    .then_some(()))
            })
            .await?;
            until("the driver is not ready, and says why", async || {
                let ready = stage.get("/readyz")?;
                let says = ready.contains(" 503 ") && ready.contains("[-] container runtime");
                Ok(says.then_some(()))
            })
            .await?;
            stage.refused(&pod).await?;
            let cause = Cause {
                step: "prepare",
                reason: "RuntimeDisconnected",
                code: "runtime_disconnected",
            };
            stage.agreed(&pod, "early", cause).await?;
            runtime.write().await.restart().await?;
            stage.world.run_pod(&pod, LIMIT).await?;
            stage.told("early", "Ready", "True/Attached").await?;
            stage.left(1).await
        })
    })
}

#[test]
fn a_runtime_that_comes_back_is_followed_within_a_second() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let runtime = &stage.worker().kubelet.runtime;
            runtime.write().await.stop().await?;
            until("the driver notices", async || {
                let scraped = stage.scrape()?;
                Ok(scraped.contains("netclaim_nri_connected 0").then_some(()))
            })
            .await?;
            runtime.write().await.restart().await?;
            within(Duration::from_secs(1), "a session", async || {
                let plugins = runtime.read().await.plugins().await;
                Ok((!plugins.is_empty()).then_some(()))
            })
            .await
        })
    })
}

#[test]
fn a_stop_is_answered_in_time_though_the_del_hangs() -> Result<()> {
    test(|| {
        let mut options = Options::default();
        options.runtime.request_timeout = Duration::from_secs(2);
        play(options, &OWN_PLUGINS, async |stage| {
            let script = "case $CNI_COMMAND in
ADD) cat >/dev/null; echo '{\"cniVersion\":\"1.0.0\"}' ;;
DEL) until [ -e /run/world/go-on ]; do sleep 0.1; done ;;
esac";
            stage.script("hangs", script)?;
            stage.class("hangs", &parameters("net1", &macvlan_then("hangs")))?;
            stage.claim("hangs", "hangs", &Value::Null)?;
            let pod = stage.pod("hangs", &["hangs"])?;
            let pod = stage.world.run_pod(&pod, LIMIT).await?;
            let kubelet = &stage.worker().kubelet;
            let sandbox = kubelet.sandbox(&pod).await.unwrap();
            let runtime = kubelet.runtime.read().await;
            let asked = Instant::now();
            runtime.stop_pod_sandbox(&sandbox).await?;
            ensure!(
                asked.elapsed() < Duration::from_secs(2),
                "{:?}",
                asked.elapsed()
            );
            ensure!(!runtime.plugins().await.is_empty(), "the driver is dropped");
            drop(runtime);
            let shown = stage.interface(&pod).await?.state();
            ensure!(shown == InterfaceState::Detaching, "{shown:?}");
            stage.worker().node.write("/run/world/go-on", "")?;
            stage.world.delete_pod(&pod).await?;
            stage.left(0).await
        })
    })
}

#[test]
fn a_container_waits_for_a_sandbox_that_was_missed() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            // Prepared while we follow the runtime, its sandbox made while we do not.
            let pod = stage.usual("missed")?;
            let pod = scheduler::schedule(&stage.world.api.store, &pod)?;
            stage.worker().kubelet.prepare_pod(&pod).await?;
            let runtime = &stage.worker().kubelet.runtime;
            runtime.write().await.stop().await?;
            stage.worker().kubelet.make_sandbox(&pod).await?;
            runtime.write().await.restart().await?;
            stage.on_nri().await?;
            stage.worker().kubelet.try_run_pod(&pod).await?;
            stage.told("missed", "Ready", "True/Attached").await?;
            ensure!(!stage.interface(&pod).await?.late, "no container had run");
            stage.left(1).await
        })
    })
}

#[test]
fn a_sandbox_made_anew_has_the_interface_and_the_old_one_is_undone() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let pod = stage.running("again").await?;
            let before = stage.interface(&pod).await?.key;
            stage.worker().kubelet.lose_sandbox(&pod).await;
            stage.worker().kubelet.try_run_pod(&pod).await?;
            let after = stage.interface(&pod).await?.key;
            ensure!(before != after, "the sandbox is another one");
            stage.told("again", "Ready", "True/Attached").await?;
            stage.left(1).await
        })
    })
}

#[test]
fn a_dead_sandbox_that_is_still_listed_costs_the_live_one_nothing() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let pod = stage.running("again").await?;
            let kubelet = &stage.worker().kubelet;
            kubelet.end_sandbox(&pod).await?;
            kubelet.try_run_pod(&pod).await?;
            let live = stage.interface(&pod).await?.key;
            // Synchronize tells of both.
            kubelet.runtime.write().await.restart().await?;
            stage.on_nri().await?;
            // What it set off in the background has begun by the time that this is done.
            stage.running("next").await?;
            stage.left(2).await?;
            ensure!(
                stage.interface(&pod).await?.key == live,
                "the interface is another one"
            );
            let scraped = stage.scrape()?;
            ensure!(!scraped.contains("netclaim_failures_total{"), "{scraped}");
            stage.world.delete_pod(&pod).await?;
            stage.left(1).await
        })
    })
}

#[test]
fn an_interface_that_comes_after_a_container_says_so() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let pod = stage.usual("late")?;
            let pod = scheduler::schedule(&stage.world.api.store, &pod)?;
            let kubelet = &stage.worker().kubelet;
            kubelet.prepare_pod(&pod).await?;
            kubelet.runtime.write().await.stop().await?;
            kubelet.try_run_pod(&pod).await?;
            kubelet.runtime.write().await.restart().await?;
            stage.told("late", "Ready", "True/AttachedLate").await?;
            ensure!(stage.interface(&pod).await?.late, "gRPC does not say it");
            stage.left(1).await
        })
    })
}

#[test]
fn a_sandbox_whose_end_nobody_told_is_swept() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let pod = stage.running("vanished").await?;
            let runtime = &stage.worker().kubelet.runtime;
            let sandbox = stage.worker().kubelet.sandbox(&pod).await.unwrap();
            runtime.write().await.stop().await?;
            let gone = runtime.read().await;
            gone.stop_pod_sandbox(&sandbox).await?;
            gone.remove_pod_sandbox(&sandbox).await?;
            drop(gone);
            runtime.write().await.restart().await?;
            stage.on_nri().await?;
            stage.left(0).await
        })
    })
}
