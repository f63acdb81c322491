//! What the API server and the kubelet do: absence, refusals, old versions, links that go down.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use netclaim_proto::health::v1::HealthStatus;
use netclaim_tests::world::apiserver::resource::{EVENTS, SLICES};
use netclaim_tests::world::apiserver::store::{Feature, Key};
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::kubelet::Version;
use netclaim_tests::world::{Options, controller, driver, scheduler};
use serde_json::Value;

use super::stage::{CLASS, LIMIT, Stage, play, until, value, within};

#[test]
fn an_api_server_that_is_away_holds_up_no_pod_that_is_prepared() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let one = stage.running("one").await?;
            let two = stage.usual("two")?;
            let two = scheduler::schedule(&stage.world.api.store, &two)?;
            stage.worker().kubelet.prepare_pod(&two).await?;
            stage.world.api.set_up(false);
            // Neither a start nor an end of a prepared pod needs the API server.
            stage.worker().kubelet.try_run_pod(&two).await?;
            stage.world.delete_pod(&one).await?;
            stage.left(1).await?;
            stage.world.api.set_up(true);
            stage.told("two", "Ready", "True/Attached").await
        })
    })
}

#[test]
fn rights_that_are_missing_are_said_once_and_counted() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            stage.world.api.deny("patch", "resourceclaims/status");
            stage.world.api.deny("create", "events");
            for name in ["one", "two"] {
                stage.running(name).await?;
                let refused = format!("no-{name}");
                stage.claim(&refused, CLASS, &Value::Null)?;
                let pod = stage.pod(&refused, &[&refused])?;
                stage.refused(&pod).await?;
            }
            for object in ["resourceclaims/status", "events"] {
                let series =
                    format!("netclaim_api_requests_total{{object=\"{object}\",code=\"denied\"}}");
                until(&format!("{series} is two at least"), async || {
                    Ok((value(&stage.scrape()?, &series) >= Some(2.0)).then_some(()))
                })
                .await?;
            }
            let log = stage.log()?;
            for said in ["claim status is not written: ", "Events are not written: "] {
                ensure!(log.matches(said).count() == 1, "{said:?} not once");
            }
            stage.world.api.allow_all();
            stage.told("one", "Ready", "True/Attached").await?;
            stage.told("no-one", "Ready", "False/NoConfig").await?;
            let events = stage.world.api.store.all(EVENTS);
            ensure!(events.is_empty(), "Events are not tried again: {events:?}");
            Ok(())
        })
    })
}

/// Deletes our slices, as an administrator might.
fn wipe(stage: &Stage) -> Result<()> {
    let store = &stage.world.api.store;
    for slice in store.all(SLICES) {
        let (_, name) = controller::place(&slice);
        store.delete(SLICES, &Key::new(SLICES, "", name), true)?;
    }
    Ok(())
}

#[test]
fn fields_that_the_server_drops_are_noticed() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let driver = stage.driver.take().context("a driver")?;
            driver.stop(LIMIT).await?;
            stage.world.api.disable(Feature::ConsumableCapacity);
            wipe(stage)?;
            stage.start().await?;
            let finding = until("a finding", async || {
                Ok(stage.snapshot().await?.findings.into_iter().next())
            })
            .await?;
            ensure!(
                finding.message.contains("DRAConsumableCapacity"),
                "{finding:?}"
            );
            ensure!(
                stage.log()?.contains(&finding.message),
                "the log says it as well"
            );
            let series = "netclaim_findings{rule=\"dropped_fields\"}";
            ensure!(value(&stage.scrape()?, series) == Some(1.0), "no {series}");
            // The device is not shared there, and still serves one pod.
            stage.running("alone").await?;
            Ok(())
        })
    })
}

#[test]
fn our_slices_come_back() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            wipe(stage)?;
            within(Duration::from_secs(2), "the slices are back", async || {
                Ok(stage.device("eth1").map(drop))
            })
            .await
        })
    })
}

#[test]
fn a_kubelet_that_restarts_finds_everything_as_it_was() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let one = stage.running("one").await?;
            let key = stage.interface(&one).await?.key;
            stage.worker().kubelet.restart().await?;
            stage.ready().await?;
            stage.worker().kubelet.prepare_pod(&one).await?;
            ensure!(
                stage.interface(&one).await?.key == key,
                "the interface is the same"
            );
            stage.running("two").await?;
            stage.world.delete_pod(&one).await?;
            stage.left(1).await
        })
    })
}

#[test]
fn a_kubelet_of_v1beta1() -> Result<()> {
    test(|| {
        let mut options = Options::default();
        options.kubelet.version = Version::V1beta1;
        play(options, &[], async |stage| {
            let one = stage.running("one").await?;
            stage.told("one", "Ready", "True/Attached").await?;
            stage.world.delete_pod(&one).await?;
            stage.left(0).await
        })
    })
}

/// Waits until the kubelet knows this of eth1, and the slice has this taint.
async fn known(stage: &Stage, health: HealthStatus, taint: Option<&str>) -> Result<()> {
    // A device changes at most once a minute.
    let limit = Duration::from_secs(75);
    within(limit, &format!("{health:?} and {taint:?}"), async || {
        let plugin = stage.worker().kubelet.plugins.get(driver::NAME)?;
        let told = plugin.health("kind-worker", "eth1");
        let device = stage.device("eth1").unwrap_or_default();
        let tainted = device["taints"][0]["value"].as_str();
        let same = told.is_some_and(|told| told.status == health) && tainted == taint;
        Ok(same.then_some(()))
    })
    .await
}

#[test]
fn a_link_goes_down_and_comes_back() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let node = &stage.worker().node;
            known(stage, HealthStatus::Healthy, None).await?;
            stage.world.switch.set_carrier(node, "eth1", false)?;
            known(stage, HealthStatus::Unhealthy, Some("down")).await?;
            stage.world.switch.set_carrier(node, "eth1", true)?;
            known(stage, HealthStatus::Healthy, None).await
        })
    })
}

#[test]
fn fifty_pods_change_no_slice() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let before = stage.world.api.store.all(SLICES);
            for round in 0..5 {
                let pods: Result<Vec<Value>> = (0..10)
                    .map(|pod| stage.usual(&format!("pod-{round}-{pod}")))
                    .collect();
                let pods = stage.world.run_pods(&pods?, LIMIT).await?;
                for pod in &pods {
                    stage.world.delete_pod(pod).await?;
                }
            }
            stage.left(0).await?;
            let after = stage.world.api.store.all(SLICES);
            ensure!(before == after, "{before:?}\nand then\n{after:?}");
            Ok(())
        })
    })
}
