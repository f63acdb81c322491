use std::{collections::BTreeMap, sync::Arc, time::Duration};

use netclaim_core::{
    attachment::{ProbeMode, ProbeState},
    claim::{Allocated, ClaimRef, PodRef},
    counters::{Counters, Traffic},
    drops::{Drops, DropsState},
    failure::{Step as FailureStep, Timing},
    inventory::{Device, LinkState, Mode},
    snapshot::{DeviceUse, Finding, Interface, InterfaceState, NriState, Role, Severity, Snapshot},
    time::Timestamp,
};

use super::*;

#[test]
fn a_whole_scrape() {
    insta::assert_snapshot!("scrape", scrape(snapshot()));
}

#[test]
fn a_whole_scrape_in_the_older_format() {
    insta::assert_snapshot!("scrape_plain", plain(&scrape(snapshot())));
}

#[test]
fn every_promised_name_is_there() {
    let text = scrape(snapshot());
    for name in [
        "netclaim_interface_receive_bytes_total",
        "netclaim_interface_transmit_bytes_total",
        "netclaim_interface_receive_packets_total",
        "netclaim_interface_transmit_packets_total",
        "netclaim_interface_receive_segments_total",
        "netclaim_interface_transmit_segments_total",
        "netclaim_interface_drops_total",
        "netclaim_interface_peak_bytes_per_second",
        "netclaim_interface_up",
        "netclaim_interface_mtu_bytes",
        "netclaim_claim_interface_info",
        "netclaim_dra_requests_total",
        "netclaim_dra_request_duration_seconds_bucket",
        "netclaim_attach_step_duration_seconds_bucket",
        "netclaim_attach_duration_seconds_bucket",
        "netclaim_devices",
        "netclaim_drops_counted",
        "netclaim_drops_lost_total",
        "netclaim_probe_attached",
        "netclaim_failures_total",
        "netclaim_cni_plugin_usable",
        "netclaim_nri_connected",
        "netclaim_api_requests_total",
        "netclaim_events_dropped_total",
        "netclaim_findings",
        "netclaim_build_info",
    ] {
        let sample = |line: &str| line.split(['{', ' ']).next() == Some(name);
        assert!(text.lines().any(sample), "{name} in\n{text}");
    }
}

#[test]
fn both_formats_are_well_formed() {
    let text = scrape(snapshot());
    assert!(text.ends_with("# EOF\n"));
    well_formed(&text, |name, kind| match kind {
        "counter" => vec![format!("{name}_total")],
        "info" => vec![format!("{name}_info")],
        "histogram" => histogram(name),
        _ => vec![name.to_owned()],
    });
    well_formed(&plain(&text), |name, kind| match kind {
        "histogram" => histogram(name),
        "counter" | "gauge" => vec![name.to_owned()],
        kind => panic!("{kind} is no type of text 0.0.4"),
    });
}

fn histogram(name: &str) -> Vec<String> {
    ["_bucket", "_sum", "_count"]
        .map(|suffix| format!("{name}{suffix}"))
        .to_vec()
}

/// Every sample follows the description of its family, no family comes twice, no series comes
/// twice, every value is a number.
fn well_formed(text: &str, samples: impl Fn(&str, &str) -> Vec<String>) {
    let mut families = std::collections::BTreeSet::new();
    let mut series = std::collections::BTreeSet::new();
    let mut allowed = Vec::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "twice: {name}");
            allowed = samples(name, kind);
        } else if !line.starts_with('#') {
            let (labelled, value) = line.rsplit_once(' ').unwrap();
            let name = labelled.split('{').next().unwrap().to_owned();
            assert!(allowed.contains(&name), "{line} is not of {allowed:?}");
            assert!(series.insert(labelled.to_owned()), "twice: {labelled}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(series.len() > 20, "{text}");
}

#[test]
fn what_is_not_counted_has_no_series() {
    let mut uncounted = snapshot();
    uncounted.interfaces.truncate(1);
    uncounted.interfaces[0].counters = None;
    let text = scrape(uncounted);
    assert!(!text.contains("bytes_total{"), "{text}");
    assert!(text.contains("netclaim_claim_interface_info{"), "{text}");
}

#[test]
fn drops_that_are_not_counted_have_no_series() {
    let failure = Failure {
        step: FailureStep::Probe,
        reason: "KernelNotSupported".into(),
        code: "kernel_not_supported".into(),
        message: String::new(),
    };
    let mut undropped = snapshot();
    undropped.drops = Some(DropsState::Missing { failure });
    for row in &mut undropped.interfaces {
        row.drops = None;
    }
    let text = scrape(undropped);
    let series: Vec<_> = text
        .lines()
        .filter(|line| line.contains("drops") && !line.starts_with('#'))
        .collect();
    assert_eq!(series, ["netclaim_drops_counted 0"]);
}

#[test]
fn a_pods_new_interface_hides_its_old_one() {
    let mut remade = snapshot();
    let mut old = remade.interfaces[0].clone();
    old.state = InterfaceState::Ended;
    old.counters = Some(Counters::default());
    remade.interfaces.push(old);
    assert_eq!(scrape(remade), scrape(snapshot()));
}

#[test]
fn plugins_are_as_they_were_found_last() {
    let metrics = Metrics::new(ApiCounters::new());
    metrics.cni_plugins([("macvlan", Some("not_found"))]);
    metrics.cni_plugins([("macvlan", None)]);
    let text = metrics.scrape(snapshot()).unwrap();
    let found: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("netclaim_cni"))
        .collect();
    assert_eq!(
        found,
        ["netclaim_cni_plugin_usable{type=\"macvlan\",reason=\"\"} 1"]
    );
}

/// Without one of the two parts of an attach: which of them comes first is chance.
fn in_order(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines
        .filter(|line| !line.contains("part=\"plugins\""))
        .collect()
}

fn scrape(snapshot: Snapshot) -> String {
    let metrics = Metrics::new(ApiCounters::new());
    metrics.dra_request(
        DraMethod::Prepare,
        Some("wrong_claim"),
        Duration::from_millis(3),
    );
    metrics.step(&Timing {
        step: FailureStep::CniAdd,
        plugin: Some("macvlan".to_owned()),
        micros: 12_000,
        ok: true,
    });
    metrics.attached(Duration::from_millis(12), Duration::from_millis(2));
    metrics.failure(&Failure {
        step: FailureStep::Plan,
        reason: "HostNetwork".into(),
        code: "host_network".into(),
        message: String::new(),
    });
    metrics.cni_plugins([("macvlan", None)]);
    in_order(&metrics.scrape(snapshot).unwrap())
}

pub(crate) fn snapshot() -> Snapshot {
    let waiting = Interface {
        state: InterfaceState::Waiting,
        mtu: None,
        probe: None,
        counters: None,
        drops: None,
        ..interface(2)
    };
    let eth1 = Device {
        name: "eth1".parse().unwrap(),
        link: "eth1".to_owned(),
        mode: Mode::Shared,
        state: LinkState::Up,
        max_virtual_devices: 64,
        held_by_node: false,
        attributes: BTreeMap::new(),
    };
    let finding = Finding {
        rule: "link-down".to_owned(),
        severity: Severity::Fault,
        subject: "device/eth1".to_owned(),
        message: "link eth1 is down".to_owned(),
    };
    Snapshot {
        node: "worker-1".parse().unwrap(),
        driver: "cni.dra.networking.x-k8s.io".parse().unwrap(),
        version: "0.1.0".to_owned(),
        started: Timestamp(0),
        taken: Timestamp(1_000),
        generation: 1,
        role: Role::Active,
        nri: NriState {
            connected: true,
            since: Timestamp(0),
            runtime: None,
        },
        devices: vec![DeviceUse {
            device: eth1,
            used: 2,
        }],
        claims: vec![],
        interfaces: vec![interface(1), waiting],
        leftovers: vec![],
        findings: vec![finding],
        drops: Some(DropsState::Counting { lost: 2 }),
    }
}

fn interface(n: u64) -> Interface {
    let traffic = |n| Traffic {
        packets: n,
        segments: n * 2,
        bytes: n * 1_000,
        peak_bytes_per_second: n * 10,
    };
    let counters = Counters {
        rx: traffic(n),
        tx: traffic(n + 100),
    };
    Interface {
        key: None,
        if_name: "net1".parse().unwrap(),
        claim: ClaimRef {
            namespace: "default".parse().unwrap(),
            name: format!("claim-{n}").parse().unwrap(),
            uid: format!("claim-uid-{n}").parse().unwrap(),
        },
        pod: PodRef {
            namespace: "default".parse().unwrap(),
            name: format!("pod-{n}").parse().unwrap(),
            uid: format!("pod-uid-{n}").parse().unwrap(),
        },
        allocated: Allocated {
            request: "nic".parse().unwrap(),
            pool: "worker-1".parse().unwrap(),
            device: "eth1".parse().unwrap(),
            share_id: None,
            admin_access: false,
        },
        link: "eth1".to_owned(),
        network: "macvlan-eth1".to_owned(),
        state: InterfaceState::Attached,
        since: Timestamp(0),
        mac: None,
        ips: vec![],
        mtu: Some(1_500),
        link_state: Some(LinkState::Up),
        probe: Some(ProbeState::Counting {
            mode: ProbeMode::Tcx,
            base: Counters::default(),
            uncertain_packets: 0,
        }),
        counters: Some(counters),
        drops: Some(Drops::from_iter([
            ("NO_SOCKET".into(), n),
            ("SOCKET_RCVBUFF".into(), n + 1),
        ])),
        late: false,
        failure: None,
        timeline: Arc::default(),
    }
}
