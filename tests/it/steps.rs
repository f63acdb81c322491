//! What tests do with pods of the talk's template, and what they wait for.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use netclaim_tests::world::apiserver::resource::PODS;
use netclaim_tests::world::controller::place;
use netclaim_tests::world::driver::{self, Driver};
use netclaim_tests::world::left::left;
use netclaim_tests::world::{Options, World, check, scheduler, talk, traffic};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long each step may take.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// A world with the talk's class and template, and a driver that is registered.
pub(crate) async fn up() -> Result<(World, Driver)> {
    let world = World::up(&Options::default())?;
    let worker = &world.workers[0];
    let driver = Driver::start(worker, &driver::Options::default())?;
    let plugins = &worker.kubelet.plugins;
    plugins.registered(driver::NAME, LIMIT).await?;
    talk::apply(&world.api.store, talk::CLASS)?;
    talk::apply(&world.api.store, talk::TEMPLATE)?;
    Ok((world, driver))
}

/// A pod with a claim of its own.
pub(crate) fn pod(world: &World) -> Result<Value> {
    let claim = json!({"name": "net", "resourceClaimTemplateName": "macvlan-eth1-attachment"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "pod-"},
        "spec": {"containers": [{"name": "main"}], "resourceClaims": [claim]}});
    talk::create(&world.api.store, pod)
}

/// Schedules a pod, again and again as the scheduler does, and starts it.
pub(crate) async fn start(world: &World, pod: &Value) -> Result<()> {
    let store = &world.api.store;
    until("the pod finds no node", || async {
        let scheduled = scheduler::schedule(store, pod);
        scheduled.err().map(|error| format!("{error:#}"))
    })
    .await?;
    let (namespace, name) = place(pod);
    let pod = store.get(PODS, namespace, name)?;
    world.worker_of(&pod)?.kubelet.run_pod(&pod, LIMIT).await
}

/// Deletes a pod, again and again as the kubelet does.
pub(crate) async fn delete(world: &World, pod: &Value) -> Result<()> {
    until("the pod cannot be deleted", || async {
        let deleted = world.delete_pod(pod).await;
        deleted.err().map(|error| format!("{error:#}"))
    })
    .await
}

/// Waits until each pod has its interface, as its claim's status says, and each interface its
/// probe, which has counted all that the kernel did.
pub(crate) async fn is_whole(world: &World) -> Result<()> {
    until("not whole", || async {
        let pods = world.api.store.all(PODS).len();
        let rows = match check::rows(world).await {
            Ok(rows) => rows,
            Err(error) => return Some(format!("{error:#}")),
        };
        let findings = check::findings(&rows, pods);
        (!findings.is_empty()).then(|| findings.join("; "))
    })
    .await
}

/// Sends something from each pod to each other.
pub(crate) async fn talk_to_each_other(world: &World) -> Result<()> {
    let worker = &world.workers[0];
    let mut ends = Vec::new();
    for pod in world.api.store.all(PODS) {
        let netns = worker.netns(&pod).await?;
        let interface = traffic::interface(&worker.node, netns.clone(), "net1")?;
        ends.push((netns, interface.address()?));
    }
    for (from, own) in &ends {
        for (to, other) in ends.iter().filter(|(_, other)| other != own) {
            traffic::send_udp(&worker.node, from.clone(), to.clone(), *other, 5, 100)?;
        }
    }
    Ok(())
}

/// Waits until nothing remains of the driver but what did before.
pub(crate) async fn nothing_left(world: &World, before: &BTreeSet<String>) -> Result<()> {
    until("something else remains", || async {
        let now = match left(world) {
            Ok(now) => now,
            Err(error) => return Some(format!("{error:#}")),
        };
        let changed: Vec<&String> = now.symmetric_difference(before).collect();
        (!changed.is_empty()).then(|| format!("{changed:?}"))
    })
    .await
}

/// Waits until nothing is `lacking`, or says what is.
async fn until(what: &str, lacking: impl AsyncFn() -> Option<String>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while let Some(lacking) = lacking().await {
        ensure!(
            Instant::now() < deadline,
            "{what} after {LIMIT:?}: {lacking}"
        );
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
