//! Every promised metric name, from the running driver.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use netclaim_tests::world::apiserver::resource::PODS;
use netclaim_tests::world::apiserver::store::Part;
use netclaim_tests::world::check;
use netclaim_tests::world::controller::place;
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::scrape::Scrape;
use netclaim_tests::world::traffic;
use serde_json::Value;

use super::demo::{Town, until};

const NAMES: [&str; 26] = [
    "netclaim_api_requests_total",
    "netclaim_attach_duration_seconds_bucket",
    "netclaim_attach_step_duration_seconds_bucket",
    "netclaim_build_info",
    "netclaim_claim_interface_info",
    "netclaim_cni_plugin_usable",
    "netclaim_devices",
    "netclaim_drops_counted",
    "netclaim_drops_lost_total",
    "netclaim_dra_request_duration_seconds_bucket",
    "netclaim_dra_requests_total",
    "netclaim_events_dropped_total",
    "netclaim_failures_total",
    "netclaim_findings",
    "netclaim_interface_drops_total",
    "netclaim_interface_mtu_bytes",
    "netclaim_interface_peak_bytes_per_second",
    "netclaim_interface_receive_bytes_total",
    "netclaim_interface_receive_packets_total",
    "netclaim_interface_receive_segments_total",
    "netclaim_interface_transmit_bytes_total",
    "netclaim_interface_transmit_packets_total",
    "netclaim_interface_transmit_segments_total",
    "netclaim_interface_up",
    "netclaim_nri_connected",
    "netclaim_probe_attached",
];

#[test]
fn every_name_is_there_and_says_what_is() -> Result<()> {
    test(|| async {
        let town = Town::up(2).await?;
        let worker = &town.world.workers[0];
        let scrape = || Scrape::of(&worker.node);
        let is = |name: &str, labels: &[(&str, &str)], value: f64| {
            scrape().is_ok_and(|scrape| scrape.value(name, labels) == Some(value))
        };
        for (name, labels, value) in [
            ("netclaim_nri_connected", &[][..], 1.0),
            ("netclaim_probe_attached", &[("mode", "tcx")], 2.0),
            ("netclaim_devices", &[("state", "allocated")], 1.0),
            ("netclaim_devices", &[("state", "free")], 1.0),
            (
                "netclaim_cni_plugin_usable",
                &[("type", "macvlan"), ("reason", "")],
                1.0,
            ),
            (
                "netclaim_dra_requests_total",
                &[("method", "prepare"), ("code", "ok")],
                2.0,
            ),
            ("netclaim_events_dropped_total", &[], 0.0),
        ] {
            let what = format!("{name}{labels:?} is {value}");
            until(&what, || async { is(name, labels, value) }).await?;
        }
        let requests = |object| {
            let found = scrape()?;
            let labels = [("object", object), ("code", "ok")];
            anyhow::Ok(found.value("netclaim_api_requests_total", &labels))
        };
        for object in ["resourceslices", "resourceclaims/status"] {
            let count = requests(object)?;
            ensure!(
                count.is_some_and(|count| count > 0.0),
                "{object}: {count:?}"
            );
        }
        // What nobody listens to is dropped.
        let [one, two] = town.pods.as_slice() else {
            bail!("{} pods instead of two", town.pods.len());
        };
        let address = check::address(&town.world, two).context("an address")?;
        traffic::knock(&worker.node, worker.netns(one).await?, address, 1)?;
        let has = |name: &str| scrape().is_ok_and(|scrape| scrape.names().contains(name));
        let dropped = || async { has("netclaim_interface_drops_total") };
        until("a drop is told", dropped).await?;
        // A pod that is refused is counted by its cause.
        let host = crate::steps::pod(&town.world)?;
        let (namespace, name) = place(&host);
        let edit = |pod: &mut Value| pod["spec"]["hostNetwork"] = true.into();
        let store = &town.world.api.store;
        let host = store.edit(PODS, namespace, name, Part::Main, "test", edit)?;
        let refused = town.world.run_pod(&host, Duration::ZERO).await;
        ensure!(refused.is_err(), "a pod in the node's network starts");
        let cause = [("step", "plan"), ("code", "host_network")];
        let counted = || async { is("netclaim_failures_total", &cause, 1.0) };
        until("the refusal is counted", counted).await?;
        // The runtime goes: that is said, by name.
        worker.kubelet.runtime.write().await.stop().await?;
        let rule = [("rule", "nri_disconnected")];
        let said = || async { is("netclaim_findings", &rule, 1.0) };
        until("a finding says that NRI is disconnected", said).await?;
        ensure!(is("netclaim_nri_connected", &[], 0.0), "it is connected");
        let found = scrape()?;
        let names = found.names();
        let missing: Vec<_> = NAMES
            .iter()
            .filter(|name| !names.contains(**name))
            .collect();
        ensure!(missing.is_empty(), "{missing:?} of {names:?}");
        Ok(())
    })
}
