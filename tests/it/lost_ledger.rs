//! Law 10: a ledger that is lost is made anew from what the API server and the node know.

use std::fs;

use anyhow::Result;
use netclaim_tests::world::Worker;
use netclaim_tests::world::driver::{self, Driver};
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::remains::{ledger_folder, remains};

use crate::steps::{delete, is_whole, nothing_left, pod, start, talk_to_each_other, up};

/// Ends the driver and takes its ledger away.
async fn lose(worker: &Worker, mut driver: Driver) -> Result<()> {
    driver.kill().await?;
    let lose = || {
        let files = ["ledger.json", "journal.jsonl"].map(|file| ledger_folder().join(file));
        files.iter().try_for_each(fs::remove_file)
    };
    Ok(worker.node.place.run(lose)??)
}

#[test]
fn running_pods_keep_their_interfaces_and_totals() -> Result<()> {
    test(|| async {
        let (world, driver) = up().await?;
        let worker = &world.workers[0];
        let before = remains(worker)?;
        let pods = [pod(&world)?, pod(&world)?];
        for pod in &pods {
            start(&world, pod).await?;
        }
        is_whole(&world).await?;
        talk_to_each_other(&world).await?;
        is_whole(&world).await?;
        let with_pods = remains(worker)?;

        lose(worker, driver).await?;
        talk_to_each_other(&world).await?;
        let _driver = Driver::start(worker, &driver::Options::default())?;
        nothing_left(worker, &with_pods).await?;
        talk_to_each_other(&world).await?;
        is_whole(&world).await?;

        for pod in &pods {
            delete(&world, pod).await?;
        }
        let counters: Vec<String> = remains(worker)?.difference(&before).cloned().collect();
        let of_ipam = |name: &String| name.ends_with("lock") || name.contains("last_reserved_ip");
        anyhow::ensure!(
            counters.iter().all(|name| of_ipam(name) || is_folder(name)),
            "left: {counters:?}"
        );
        Ok(())
    })
}

#[test]
fn what_nobody_answers_for_is_taken_away() -> Result<()> {
    test(|| async {
        let (world, driver) = up().await?;
        let worker = &world.workers[0];
        let steady = pod(&world)?;
        start(&world, &steady).await?;
        is_whole(&world).await?;
        let before = remains(worker)?;
        let gone = pod(&world)?;
        start(&world, &gone).await?;
        is_whole(&world).await?;

        lose(worker, driver).await?;
        // The sandbox ends while nobody listens; the claim waits for a driver.
        let refused = world.delete_pod(&gone).await;
        anyhow::ensure!(refused.is_err(), "no driver gives the claim back");
        let _driver = Driver::start(worker, &driver::Options::default())?;
        delete(&world, &gone).await?;
        nothing_left(worker, &before).await?;
        is_whole(&world).await
    })
}

/// The folders that host-local and the result cache keep.
fn is_folder(name: &str) -> bool {
    ["ipam", "ns-default", "macvlan-eth1", "cni", "results"]
        .iter()
        .any(|folder| name.ends_with(&format!("/{folder}")))
}
