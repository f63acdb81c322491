//! The driver's own life: killed, ended, doubled, on a disk or a boot that is another.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use netclaim_tests::world::apiserver::resource::SLICES;
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::{Options, driver, scheduler, traffic};
use serde_json::Value;
use tokio::sync::watch;

use super::stage::{Cause, LIMIT, Stage, play, until};

/// Sends from one pod to the other.
pub(super) async fn send(stage: &Stage, from: &Value, to: &Value, packets: usize) -> Result<()> {
    let worker = stage.worker();
    let address = stage.interface(to).await?.ips.remove(0);
    let address: IpAddr = address.split('/').next().unwrap_or_default().parse()?;
    let (from, to) = (worker.netns(from).await?, worker.netns(to).await?);
    traffic::send_udp(&worker.node, from, to, address, packets, 400)
}

/// Waits until what is counted of a pod's interface is what the kernel has, and returns its
/// packets.
pub(super) async fn exact(stage: &Stage, pod: &Value) -> Result<(u64, u64)> {
    until("the counters are the kernel's", async || {
        let counted = stage.interface(pod).await?.counters;
        let Some((rx, tx)) = counted.and_then(|counted| Some((counted.rx?, counted.tx?))) else {
            return Ok(None);
        };
        let worker = stage.worker();
        let kernel = traffic::interface(&worker.node, worker.netns(pod).await?, "net1")?.counters;
        let same = (rx.packets, tx.packets, tx.bytes)
            == (kernel.rx_packets, kernel.tx_packets, kernel.tx_bytes);
        Ok(same.then_some((rx.packets, tx.packets)))
    })
    .await
}

#[test]
fn totals_outlive_a_killed_driver() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let (one, two) = (stage.running("one").await?, stage.running("two").await?);
            send(stage, &one, &two, 30).await?;
            let before = exact(stage, &one).await?;
            stage.driver.take().context("a driver")?.kill().await?;
            // Nobody looks, the kernel counts on.
            let worker = stage.worker();
            let (from, to) = (worker.netns(&one).await?, worker.netns(&two).await?);
            let address = traffic::interface(&worker.node, to.clone(), "net1")?.address()?;
            traffic::send_udp(&worker.node, from, to, address, 40, 400)?;
            stage.start().await?;
            let after = exact(stage, &one).await?;
            ensure!(after.1 >= before.1 + 40, "{before:?} and then {after:?}");
            exact(stage, &two).await?;
            for pod in [&one, &two] {
                stage.world.delete_pod(pod).await?;
            }
            stage.left(0).await
        })
    })
}

#[test]
fn an_end_that_was_asked_for_leaves_sockets_to_none_and_pods_alone() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let (one, two) = (stage.running("one").await?, stage.running("two").await?);
            let slices = stage.world.api.store.all(SLICES);
            let ended = stage.driver.take().context("a driver")?.stop(LIMIT).await?;
            ensure!(ended.success(), "{ended}");
            let node = &stage.worker().node;
            for folder in ["/run/netclaim", "/var/lib/kubelet/plugins_registry"] {
                let left = node.list(folder)?;
                ensure!(left.is_empty(), "{folder} has {left:?}");
            }
            ensure!(
                stage.world.api.store.all(SLICES) == slices,
                "the slices stay as they are"
            );
            stage.start().await?;
            send(stage, &one, &two, 10).await?;
            exact(stage, &one).await?;
            stage.told("one", "Ready", "True/Attached").await?;
            stage.left(2).await
        })
    })
}

/// A second instance stands by, and takes over once the first has `end`ed.
async fn take_over(
    stage: &mut Stage,
    end: impl AsyncFnOnce(driver::Driver) -> Result<()>,
) -> Result<()> {
    let one = stage.running("one").await?;
    let health = "/run/netclaim/second.sock";
    let second = driver::Options {
        program: None,
        arguments: vec!["--health-socket".to_owned(), health.to_owned()],
    };
    let second = driver::Driver::start(stage.worker(), &second)?;
    until("the second stands by", async || {
        Ok(stage.log()?.contains("standing by").then_some(()))
    })
    .await?;
    let ask = format!("health --ready --health-socket {health}");
    let program = driver::beside_us("netclaim")?.display().to_string();
    until("the second is ready", async || {
        Ok(stage.worker().node.place.output(&program, &ask).ok())
    })
    .await?;
    stage.running("two").await?;
    end(stage.driver.take().context("the first")?).await?;
    stage.driver = Some(second);
    stage.ready().await?;
    let three = stage.running("three").await?;
    send(stage, &one, &three, 10).await?;
    exact(stage, &one).await?;
    stage.left(3).await
}

/// Where the first of two instances tells its health.
const FIRST: [&str; 2] = ["--health-socket", "/run/netclaim/first.sock"];

/// The first of two instances that are pods.
const FIRST_POD: [&str; 4] = ["--pod-uid", "first", FIRST[0], FIRST[1]];

#[test]
fn a_second_instance_takes_over_from_one_that_leaves() -> Result<()> {
    test(|| {
        play(Options::default(), &FIRST, async |stage| {
            take_over(stage, async |first| first.stop(LIMIT).await.map(drop)).await
        })
    })
}

#[test]
fn a_second_instance_takes_over_from_one_that_died() -> Result<()> {
    test(|| {
        play(Options::default(), &FIRST, async |stage| {
            take_over(stage, async |mut first| first.kill().await).await
        })
    })
}

#[test]
fn the_kubelet_has_somebody_to_ask_while_one_follows_another() -> Result<()> {
    test(|| {
        play(Options::default(), &FIRST_POD, async |stage| {
            let second = driver::Options {
                program: None,
                arguments: ["--pod-uid", "second"].map(str::to_owned).to_vec(),
            };
            let mut second = driver::Driver::start(stage.worker(), &second)?;
            until("the second stands by", async || {
                Ok(stage.log()?.contains("standing by").then_some(()))
            })
            .await?;
            let first = stage.driver.take().context("the first")?;
            let (told, gone) = watch::channel(false);
            let leave = async {
                let left = first.stop(LIMIT).await;
                told.send_replace(true);
                left
            };
            // One of them has a claim to prepare at any time, however slow this machine is.
            let claims = (0..ROWS_OF_PODS).map(|row| claims_until(stage, row, gone.clone()));
            let claims = futures::future::try_join_all(claims);
            let (_, asked) = tokio::try_join!(leave, claims)?;
            let asked: usize = asked.into_iter().sum();
            ensure!(asked > ROWS_OF_PODS, "the kubelet asked {asked} times only");
            ensure!(second.ended()?.is_none(), "the second has ended");
            stage.driver = Some(second);
            stage.ready().await?;
            stage.left(asked).await
        })
    })
}

/// Rows in which pods come at the same time.
const ROWS_OF_PODS: usize = 4;

/// Pods of a row come one after the other, and the kubelet's first try to prepare each succeeds; how
/// many.
async fn claims_until(stage: &Stage, row: usize, over: watch::Receiver<bool>) -> Result<usize> {
    for asked in 1.. {
        let last = *over.borrow();
        let pod = stage.usual(&format!("during-{row}-{asked}"))?;
        let pod = scheduler::schedule(&stage.world.api.store, &pod)?;
        let kubelet = &stage.worker().kubelet;
        kubelet.prepare_pod(&pod).await?;
        kubelet.run_pod(&pod, LIMIT).await?;
        if last {
            return Ok(asked);
        }
    }
    bail!("it ends with the first instance")
}

#[test]
fn a_full_disk_refuses_and_heals() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let node = &stage.worker().node;
            node.place.output("mount", "-o remount,size=4m /var/lib")?;
            // As much as fits.
            let fill = || fs::write("/var/lib/filler", vec![0; 8 << 20]);
            ensure!(node.place.run(fill)?.is_err(), "the disk is not full");
            // The journal's last page has room for some facts.
            let mut tries = 0;
            let (name, pod) = loop {
                let name = format!("full-{tries}");
                let pod = stage.usual(&name)?;
                let words = stage.refused(&pod).await?;
                if words.contains("journal.jsonl") {
                    break (name, pod);
                }
                tries += 1;
                ensure!(tries < 5, "the journal is written: {words}");
            };
            let cause = Cause {
                step: "journal",
                reason: "JournalNotWritable",
                code: "journal_not_writable",
            };
            stage.agreed(&pod, &name, cause).await?;
            let links = node.place.output("ip", "-br link show type macvlan")?;
            ensure!(links.is_empty(), "{links}");
            node.place.run(|| fs::remove_file("/var/lib/filler"))??;
            stage.world.run_pod(&pod, LIMIT).await?;
            stage.told(&name, "Ready", "True/Attached").await?;
            stage.left(1).await
        })
    })
}

#[test]
fn a_journal_of_a_newer_version_is_not_touched() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            stage.running("one").await?;
            stage.driver.take().context("a driver")?.stop(LIMIT).await?;
            let node = &stage.worker().node;
            let path = format!("/var/lib/netclaim/{}/ledger.json", driver::NAME);
            let newer = node
                .read(&path)?
                .replacen("\"format\":1", "\"format\":9", 1);
            node.write(&path, newer.clone())?;
            let before = stage.log()?.len();
            let mut driver = stage.spawn(&[])?;
            let ended = driver.wait().await?;
            ensure!(!ended.success(), "{ended}");
            let said = stage.log()?[before..].to_owned();
            ensure!(
                said.contains("has format 9 and this netclaim reads up to 1"),
                "{said}"
            );
            ensure!(node.read(&path)? == newer, "the file is as it was");
            Ok(())
        })
    })
}

#[test]
fn what_a_former_boot_had_is_undone() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let pod = stage.running("one").await?;
            stage.left(1).await?;
            stage.driver.take().context("a driver")?.kill().await?;
            let kubelet = &stage.worker().kubelet;
            let sandbox = kubelet.sandbox(&pod).await.context("a sandbox")?;
            let runtime = kubelet.runtime.read().await;
            runtime.stop_pod_sandbox(&sandbox).await?;
            runtime.remove_pod_sandbox(&sandbox).await?;
            drop(runtime);
            stage.worker().node.write("/run/world/boot", "another")?;
            stage.driver = Some(stage.spawn(&["--boot-id-file", "/run/world/boot"])?);
            stage.ready().await?;
            stage.left(0).await?;
            // The kubelet makes the pod's sandbox anew; its claim is prepared still.
            let kubelet = &stage.worker().kubelet;
            kubelet.lose_sandbox(&pod).await;
            kubelet.try_run_pod(&pod).await?;
            stage.told("one", "Ready", "True/Attached").await?;
            stage.left(1).await
        })
    })
}

#[test]
fn an_address_that_nobody_has_is_freed() -> Result<()> {
    test(|| {
        play(
            Options::default(),
            &["--lease-patience", "1"],
            async |stage| {
                stage.running("one").await?;
                stage.left(1).await?;
                let node = &stage.worker().node;
                let find = "/var/lib/netclaim -path */ns-default/* -name 10.*";
                let lease = node.place.output("find", find)?;
                let (folder, _) = lease.rsplit_once('/').context("a lease")?;
                let stray = format!("{folder}/10.10.1.99");
                node.write(&stray, "of-nobody\r\nnet1")?;
                until("it is shown", async || {
                    let findings = stage.snapshot().await?.findings.into_iter();
                    let mut about = findings.filter(|finding| finding.rule == "orphan_lease");
                    Ok(about.find(|finding| finding.message.contains("10.10.1.99")))
                })
                .await?;
                stage.left(1).await?;
                let kept = node.place.output("find", find)?;
                ensure!(kept == lease, "{kept} instead of {lease}");
                let log = stage.log()?;
                let freed = "address 10.10.1.99 of network net (ns-default) is kept for interface";
                ensure!(log.contains(freed) && log.contains("it is freed"), "{log}");
                Ok(())
            },
        )
    })
}
