//! What the API server and the kubelet do: absence, refusals, old versions, links that go down.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use netclaim_proto::health::v1::HealthStatus;
use netclaim_tests::world::apiserver::resource::{EVENTS, SLICES};
use netclaim_tests::world::apiserver::store::{Feature, Key};
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::kubelet::{Health, Version};
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
            denied_twice(stage, "resourceclaims/status").await?;
            denied_twice(stage, "events").await?;
            said_once(stage, "claim status is not written: ")?;
            said_once(stage, "Events are not written: ")?;
            stage.world.api.allow_all();
            stage.told("one", "Ready", "True/Attached").await?;
            stage.told("no-one", "Ready", "False/NoConfig").await?;
            let events = stage.world.api.store.all(EVENTS);
            ensure!(events.is_empty(), "Events are not tried again: {events:?}");
            Ok(())
        })
    })
}

/// Waits until requests about `object` were denied twice at least.
async fn denied_twice(stage: &Stage, object: &str) -> Result<()> {
    let series = format!("netclaim_api_requests_total{{object=\"{object}\",code=\"denied\"}}");
    until(&format!("{series} is two at least"), async || {
        // A driver that starts is not scraped yet.
        let scraped = stage.scrape().unwrap_or_default();
        Ok((value(&scraped, &series) >= Some(2.0)).then_some(()))
    })
    .await
}

fn said_once(stage: &Stage, words: &str) -> Result<()> {
    let said = stage.log()?.matches(words).count();
    ensure!(said == 1, "{words:?} is said {said} times");
    Ok(())
}

#[test]
fn slices_that_may_not_be_written_are_said_once_and_counted() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let driver = stage.driver.take().context("a driver")?;
            driver.stop(LIMIT).await?;
            wipe(stage)?;
            stage.world.api.deny("create", "resourceslices");
            stage.driver = Some(stage.spawn(&[])?);
            denied_twice(stage, "resourceslices").await?;
            said_once(stage, "ResourceSlices are not published: ")?;
            stage.world.api.allow_all();
            stage.ready().await
        })
    })
}

#[test]
fn the_right_to_a_drivers_devices_is_asked_for_by_name() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let (verb, resource) = ("associated-node:patch", "resourceclaims/driver");
            stage.world.api.deny(verb, resource);
            stage.running("one").await?;
            stage.running("two").await?;
            denied_twice(stage, "resourceclaims/status").await?;
            said_once(stage, "claim status is not written: ")?;
            let advice = format!("{verb} on {resource}");
            ensure!(stage.log()?.contains(&advice), "the log lacks {advice}");
            stage.world.api.allow_all();
            stage.told("one", "Ready", "True/Attached").await?;
            stage.told("two", "Ready", "True/Attached").await
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

/// Waits until a finding, the log and a metric say that the fields of `feature` are dropped.
async fn dropped(stage: &Stage, feature: &str) -> Result<()> {
    let finding = until(&format!("a finding about {feature}"), async || {
        let mut findings = stage.snapshot().await?.findings.into_iter();
        Ok(findings.find(|finding| finding.message.contains(feature)))
    })
    .await?;
    ensure!(
        stage.log()?.contains(&finding.message),
        "the log does not say it"
    );
    let series = "netclaim_findings{rule=\"dropped_fields\"}";
    ensure!(value(&stage.scrape()?, series) == Some(1.0), "no {series}");
    Ok(())
}

#[test]
fn taints_that_the_server_drops_are_noticed() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            stage.world.api.disable(Feature::DeviceTaints);
            stage.worker().node.place.ip(&["link del eth1"])?;
            dropped(stage, "DRADeviceTaints").await?;
            // What a server without taints cannot be told, the kubelet is.
            until("eth1 is unhealthy", async || {
                let plugin = stage.worker().kubelet.plugins.get(driver::NAME)?;
                let told = plugin.health("kind-worker", "eth1");
                let unhealthy = |told: Health| told.status == HealthStatus::Unhealthy;
                Ok(told.is_some_and(unhealthy).then_some(()))
            })
            .await
        })
    })
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
            dropped(stage, "DRAConsumableCapacity").await?;
            // The device is not shared there, and still serves one pod.
            stage.running("alone").await?;
            Ok(())
        })
    })
}

#[test]
fn statuses_that_the_server_drops_are_noticed() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            stage.world.api.disable(Feature::DeviceStatus);
            stage.running("alone").await?;
            dropped(stage, "DRAResourceClaimDeviceStatus").await
        })
    })
}

/// Waits until eth1 is offered again. Our law says 2 s, the machine may be busy; only the watch of
/// our slices is as fast, everything is compared once a minute.
async fn offered_again(stage: &Stage) -> Result<()> {
    until("the slices are back", async || {
        Ok(stage.device("eth1").map(drop))
    })
    .await
}

#[test]
fn our_slices_come_back() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            wipe(stage)?;
            offered_again(stage).await?;
            // A kubelet deletes them when it starts.
            stage.worker().kubelet.restart().await?;
            ensure!(stage.device("eth1").is_none(), "they are deleted");
            offered_again(stage).await
        })
    })
}

#[test]
fn the_slices_of_a_driver_that_stays_away_are_deleted_until_it_is_back() -> Result<()> {
    test(|| {
        let mut options = Options::default();
        options.kubelet.wipe_after = Duration::from_secs(1);
        play(options, &[], async |stage| {
            let driver = stage.driver.take().context("a driver")?;
            driver.stop(LIMIT).await?;
            ensure!(stage.device("eth1").is_some(), "the driver deletes none");
            until("the kubelet deletes them", async || {
                let slices = stage.world.api.store.all(SLICES);
                Ok(slices.is_empty().then_some(()))
            })
            .await?;
            stage.start().await
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
fn health_is_told_in_whole_lists_at_once_and_all_the_time() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            // Twice: a kubelet that starts connects anew.
            for _ in 0..2 {
                let plugins = &stage.worker().kubelet.plugins;
                let plugin = plugins.registered(driver::NAME, LIMIT).await?;
                until("both devices are told", async || {
                    Ok((plugin.told().1 == 2).then_some(()))
                })
                .await?;
                let (before, _) = plugin.told();
                // Nothing changes, and after 10 s they are told again.
                within(Duration::from_secs(30), "another list", async || {
                    Ok((plugin.told().0 > before).then_some(()))
                })
                .await?;
                ensure!(plugin.told().1 == 2, "the list is not whole");
                stage.worker().kubelet.restart().await?;
            }
            Ok(())
        })
    })
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
