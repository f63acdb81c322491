//! A driver that starts again on its node says what it said before.

use anyhow::{Result, ensure};
use netclaim_tests::world::apiserver::resource::{PODS, SLICES};
use netclaim_tests::world::apiserver::store::Key;
use netclaim_tests::world::driver::{self, Driver};
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::{Worker, World, traffic};
use serde_json::{Value, json};

use super::demo::until;
use crate::steps::{is_whole, pod, start, up};

/// The generation of the pool and its devices, once there are slices.
fn published(world: &World) -> (i64, Vec<Value>) {
    let slices = world.api.store.all(SLICES);
    let generation = |slice: &Value| slice["spec"]["pool"]["generation"].as_i64();
    let devices = |slice: &Value| slice["spec"]["devices"].as_array().cloned();
    (
        slices
            .iter()
            .filter_map(generation)
            .max()
            .unwrap_or_default(),
        slices.iter().filter_map(devices).flatten().collect(),
    )
}

/// Changes something that slices say, and waits until they do.
async fn change(world: &World, worker: &Worker, mtu: i64) -> Result<()> {
    worker
        .node
        .place
        .ip(&[&format!("link set eth1 mtu {mtu}")])?;
    until(&format!("the slices say mtu {mtu}"), || async {
        let (_, devices) = published(world);
        let said = |device: &Value| device["attributes"]["mtu"] == json!({"int": mtu});
        devices.iter().any(said)
    })
    .await
}

#[test]
fn slices_are_what_they_were() -> Result<()> {
    test(|| async {
        let (world, mut driver) = up().await?;
        let worker = &world.workers[0];
        let pod = pod(&world)?;
        start(&world, &pod).await?;
        is_whole(&world).await?;
        let (generation, devices) = published(&world);
        ensure!(devices.len() == 2, "{devices:?}");

        driver.kill().await?;
        let mut driver = Driver::start(worker, &driver::Options::default())?;
        is_whole(&world).await?;
        ensure!(
            published(&world) == (generation, devices),
            "{:?}",
            published(&world)
        );
        // Had it written anything, the generation would have risen more than once by then.
        change(&world, worker, 1_400).await?;
        let (after, devices) = published(&world);
        ensure!(after == generation + 1, "{generation} became {after}");

        // As the kubelet does when it has not heard of a driver for a while.
        driver.kill().await?;
        for slice in world.api.store.all(SLICES) {
            let name = slice["metadata"]["name"].as_str().unwrap_or_default();
            world
                .api
                .store
                .delete(SLICES, &Key::new(SLICES, "", name), true)?;
        }
        let _driver = Driver::start(worker, &driver::Options::default())?;
        until("there are slices", || async {
            !published(&world).1.is_empty()
        })
        .await?;
        ensure!(published(&world) == (1, devices), "{:?}", published(&world));
        is_whole(&world).await
    })
}

#[test]
fn the_talks_range_spares_the_address_that_the_node_has_in_it() -> Result<()> {
    test(|| async {
        let (world, _driver) = up().await?;
        let worker = &world.workers[0];
        let own = "10.10.1.2/24";
        worker
            .node
            .place
            .ip(&[&format!("addr add {own} dev eth1")])?;
        until("the slices say eth1's address", || async {
            let (_, devices) = published(&world);
            let said = |device: &Value| device["attributes"]["ipv4"] == json!({"string": own});
            devices.iter().any(said)
        })
        .await?;
        for _ in 0..2 {
            start(&world, &pod(&world)?).await?;
        }
        is_whole(&world).await?;
        let mut addresses = Vec::new();
        for pod in world.api.store.all(PODS) {
            let netns = worker.netns(&pod).await?;
            addresses.extend(traffic::interface(&worker.node, netns, "net1")?.ips);
        }
        addresses.retain(|address| address.starts_with("10.10.1."));
        addresses.sort();
        ensure!(
            addresses == ["10.10.1.3/24", "10.10.1.4/24"],
            "{addresses:?}"
        );
        Ok(())
    })
}
