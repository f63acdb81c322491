//! What the demo checks does fail where something is wrong, and a driver with pods for tests.

use std::time::Duration;

use anyhow::{Context as _, Result};
use netclaim_tests::world::apiserver::resource::SLICES;
use netclaim_tests::world::driver::{self, Driver};
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::{Options, World, check, controller, talk, traffic};
use serde_json::Value;
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_mins(1);

/// A world with a driver and some of the talk's pods.
pub(crate) struct Town {
    pub(crate) world: World,
    pub(crate) pods: Vec<Value>,
    _driver: Driver,
}

impl Town {
    pub(crate) async fn up(pods: usize) -> Result<Self> {
        let world = World::up(&Options::default())?;
        let worker = &world.workers[0];
        let driver = Driver::start(worker, &driver::Options::default())?;
        let plugins = &worker.kubelet.plugins;
        plugins.registered(driver::NAME, LIMIT).await?;
        let listed = || async {
            let slices = world.api.store.all(SLICES);
            slices
                .iter()
                .any(|slice| slice.to_string().contains("eth1"))
        };
        until("eth1 is in a slice", listed).await?;
        let store = &world.api.store;
        talk::apply(store, talk::CLASS)?;
        talk::apply(store, talk::TEMPLATE)?;
        let mut deployment: Value = serde_saphyr::from_str(talk::DEPLOYMENT)?;
        deployment["spec"]["replicas"] = pods.into();
        let deployment = talk::create(store, deployment)?;
        let made = controller::expand(store, &deployment)?;
        let pods = world.run_pods(&made, LIMIT).await?;
        let addressed = || async { pods.iter().all(|pod| check::address(&world, pod).is_some()) };
        until("every claim has an address", addressed).await?;
        Ok(Self {
            world,
            pods,
            _driver: driver,
        })
    }
}

pub(crate) async fn until(what: &str, fact: impl AsyncFn() -> bool) -> Result<()> {
    let wait = async {
        while !fact().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, wait).await.with_context(|| what.to_owned())
}

#[test]
fn a_probe_that_is_taken_off_is_named() -> Result<()> {
    test(|| async {
        let Town { world, pods, .. } = &Town::up(2).await?;
        let worker = &world.workers[0];
        let well = || async {
            let rows = check::rows(world).await;
            rows.is_ok_and(|rows| check::findings(&rows, 2).is_empty())
        };
        until("nothing is wrong before", well).await?;
        let send = async |from: usize, to: usize| -> Result<()> {
            let address = check::address(world, &pods[to]).context("an address")?;
            let (from, to) = (
                worker.netns(&pods[from]).await?,
                worker.netns(&pods[to]).await?,
            );
            traffic::send_udp(&worker.node, from, to, address, 3, 100)
        };
        // The kernel takes a link off in its own time, after its pin, and the driver may have put it
        // back by then.
        let named = || async {
            let unpin = || std::fs::remove_file(driver::pins().join("0/rx"));
            let _gone = worker.node.place.run(unpin);
            let passed = send(0, 1).await.and(send(1, 0).await);
            let rows = check::rows(world).await;
            let findings = rows
                .map(|rows| check::findings(&rows, 2))
                .unwrap_or_default();
            passed.is_ok() && findings.iter().any(|finding| finding.contains("counted"))
        };
        until("what is not counted is named", named).await?;
        Ok(())
    })
}
