//! Law 10: a ledger that is lost is made anew from what the API server and the node know.

use std::fs;

use anyhow::Result;
use netclaim_tests::world::Worker;
use netclaim_tests::world::driver::{self, Driver};
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::left::{ledger_folder, left};

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
        let before = left(&world)?;
        let pods = [pod(&world)?, pod(&world)?];
        for pod in &pods {
            start(&world, pod).await?;
        }
        is_whole(&world).await?;
        talk_to_each_other(&world).await?;
        is_whole(&world).await?;
        let with_pods = left(&world)?;

        lose(worker, driver).await?;
        talk_to_each_other(&world).await?;
        let _driver = Driver::start(worker, &driver::Options::default())?;
        nothing_left(&world, &with_pods).await?;
        talk_to_each_other(&world).await?;
        is_whole(&world).await?;

        for pod in &pods {
            delete(&world, pod).await?;
        }
        nothing_left(&world, &before).await
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
        let before = left(&world)?;
        let gone = pod(&world)?;
        start(&world, &gone).await?;
        is_whole(&world).await?;

        lose(worker, driver).await?;
        // The sandbox ends while nobody listens; the claim waits for a driver.
        let refused = world.delete_pod(&gone).await;
        anyhow::ensure!(refused.is_err(), "no driver gives the claim back");
        let _driver = Driver::start(worker, &driver::Options::default())?;
        delete(&world, &gone).await?;
        nothing_left(&world, &before).await?;
        is_whole(&world).await
    })
}
