//! Traffic of pods: counted exactly, also at the end, and said where it is not counted.

use anyhow::{Context as _, Result, ensure};
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::{Options, driver};

use super::life::{exact, send};
use super::stage::{play, until, value};

#[test]
fn every_packet_is_counted_and_the_last_count_stays() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let (one, two) = (stage.running("one").await?, stage.running("two").await?);
            let before = exact(stage, &one).await?;
            send(stage, &one, &two, 100).await?;
            let after = exact(stage, &one).await?;
            ensure!(after.1 - before.1 >= 100, "{before:?} and then {after:?}");
            exact(stage, &two).await?;

            let uid = one["metadata"]["uid"].as_str().context("a UID")?;
            stage.world.delete_pod(&one).await?;
            let ended = stage.interface(&one).await?.counters;
            let last = ended.and_then(|last| last.tx).context("a last count")?;
            ensure!(last.packets >= after.1, "{last:?} after {after:?}");
            let scraped = stage.scrape()?;
            let family = "netclaim_interface_transmit_packets_total{";
            let series = scraped
                .lines()
                .find(|line| line.starts_with(family) && line.contains(uid));
            let series = series.context("the ended interface has no series")?;
            let says = series.ends_with(&format!(" {}", last.packets));
            ensure!(says, "{series} and {last:?}");
            Ok(())
        })
    })
}

#[test]
fn history_rises_with_the_traffic_and_outlives_the_interface() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let (one, two) = (stage.running("one").await?, stage.running("two").await?);
            let net1 = stage.interface(&one).await?;
            let sampled = async |least: u64| {
                until(&format!("a sample of {least} packets"), async || {
                    let packets = stage.packets_over_time(&net1).await?;
                    let enough = packets.last().is_some_and(|last| *last >= least);
                    Ok(enough.then_some(packets))
                })
                .await
            };
            let first = sampled(0).await?;
            send(stage, &one, &two, 100).await?;
            let then = sampled(first[0] + 100).await?;
            ensure!(
                then.starts_with(&first) && then.is_sorted(),
                "{first:?}, {then:?}"
            );
            stage.world.delete_pod(&one).await?;
            let last = sampled(then[then.len() - 1]).await?;
            ensure!(last.starts_with(&then), "{last:?} after {then:?}");
            Ok(())
        })
    })
}

#[test]
fn a_probe_that_somebody_takes_is_said_and_put_back() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let place = &stage.worker().node.place;
            if place.output("bpftool", "version").is_err() {
                println!("skipped: no bpftool, which detaches what is not its own");
                return Ok(());
            }
            let (one, two) = (stage.running("one").await?, stage.running("two").await?);
            send(stage, &one, &two, 10).await?;
            let folder = driver::NAME.replace('.', "_");
            let pin = format!("/sys/fs/bpf/netclaim/{folder}/v1/0/tx");
            place.output("bpftool", &format!("link detach pinned {pin}"))?;
            let probe = "ProbeAttached";
            stage.told("one", probe, "False/DetachedByOther").await?;
            let log = stage.log()?;
            ensure!(
                log.contains("another program detached the counters of net1"),
                "not logged"
            );
            let series = "netclaim_failures_total{step=\"probe\",code=\"detached_by_other\"}";
            ensure!(value(&stage.scrape()?, series) == Some(1.0), "no {series}");
            stage.told("one", probe, "True/Counting").await?;
            send(stage, &one, &two, 10).await?;
            exact(stage, &one).await?;
            Ok(())
        })
    })
}

#[test]
fn an_interface_without_a_slot_works_and_says_so() -> Result<()> {
    test(|| {
        play(
            Options::default(),
            &["--max-interfaces", "1"],
            async |stage| {
                let one = stage.running("one").await?;
                let two = stage.running("two").await?;
                stage.told("one", "ProbeAttached", "True/Counting").await?;
                stage.told("two", "Ready", "True/Attached").await?;
                stage.told("two", "ProbeAttached", "False/NoSlot").await?;
                send(stage, &one, &two, 10).await?;
                let uncounted = stage.interface(&two).await?;
                ensure!(
                    uncounted.counters.is_none(),
                    "unknown is not zero: {uncounted:?}"
                );
                let series = "netclaim_probe_attached{mode=\"none\"}";
                ensure!(value(&stage.scrape()?, series) == Some(1.0), "no {series}");
                stage.world.delete_pod(&one).await?;
                stage.running("three").await?;
                stage.told("three", "ProbeAttached", "True/Counting").await
            },
        )
    })
}
