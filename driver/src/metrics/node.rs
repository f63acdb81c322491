//! Series of the node as a whole.

use std::{collections::BTreeMap, fmt};

use netclaim_core::{
    attachment::{ProbeMode, ProbeState},
    drops::DropsState,
    inventory::LinkState,
    snapshot::{DeviceUse, Interface, InterfaceState, Snapshot},
};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::series::{About, counter, gauge, gauges, infos};

const DEVICES: About = About {
    name: "devices",
    help: "Devices that the node offers: free, allocated, or with a link that is down or gone.",
    unit: None,
};

const PROBES: About = About {
    name: "probe_attached",
    help: "Attached interfaces by how they are counted; none is not counted at all.",
    unit: None,
};

const DROPS: About = About {
    name: "drops_counted",
    help: "Whether the kernel tells what it drops on interfaces, and why.",
    unit: None,
};

const LOST: About = About {
    name: "drops_lost",
    help: "Packets dropped on interfaces for whose reason there was no room: they are in no other series.",
    unit: None,
};

const NRI: About = About {
    name: "nri_connected",
    help: "Whether the container runtime announces its pods to us.",
    unit: None,
};

const FINDINGS: About = About {
    name: "findings",
    help: "Diagnoses by rule.",
    unit: None,
};

const BUILD: About = About {
    name: "build",
    help: "Version of the driver, and the revision that it was built from.",
    unit: None,
};

/// A node's snapshot.
#[derive(Debug)]
pub(super) struct Node(pub(super) Snapshot);

impl Collector for Node {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(node) = self;
        let devices = tally(
            &["free", "allocated", "down", "gone"],
            &node.devices,
            device,
        );
        gauges(&mut encoder, &DEVICES, labelled("state", &devices))?;
        let attached = node
            .interfaces
            .iter()
            .filter(|row| row.state == InterfaceState::Attached);
        let probes = tally(&["tcx", "tc", "none"], attached, probe);
        gauges(&mut encoder, &PROBES, labelled("mode", &probes))?;
        let lost = match node.drops {
            Some(DropsState::Counting { lost }) => Some(lost),
            Some(DropsState::Missing { .. }) | None => None,
        };
        gauge(&mut encoder, &DROPS, u64::from(lost.is_some()))?;
        if let Some(lost) = lost {
            counter(&mut encoder, &LOST, lost)?;
        }
        gauge(&mut encoder, &NRI, u64::from(node.nri.connected))?;
        let findings = tally(&[], &node.findings, |finding| finding.rule.as_str());
        gauges(&mut encoder, &FINDINGS, labelled("rule", &findings))?;
        let revision = option_env!("NETCLAIM_REVISION").unwrap_or("unknown");
        let build = [("version", node.version.as_str()), ("revision", revision)];
        infos(&mut encoder, &BUILD, [build].into_iter())
    }
}

/// How many rows there are of each kind; the `known` kinds also where there is none.
fn tally<'a, 'k, T: 'a>(
    known: &[&'k str],
    rows: impl IntoIterator<Item = &'a T>,
    kind: impl Fn(&'a T) -> &'k str,
) -> BTreeMap<&'k str, u64> {
    let mut tally: BTreeMap<&str, u64> = known.iter().map(|kind| (*kind, 0)).collect();
    for row in rows {
        *tally.entry(kind(row)).or_default() += 1;
    }
    tally
}

fn labelled<'a>(
    label: &'static str,
    tally: &'a BTreeMap<&'a str, u64>,
) -> impl Iterator<Item = ([(&'static str, &'a str); 1], u64)> {
    tally
        .iter()
        .map(move |(kind, count)| ([(label, *kind)], *count))
}

fn device(row: &DeviceUse) -> &'static str {
    match row.device.state {
        LinkState::Gone => "gone",
        LinkState::Down => "down",
        LinkState::Up if row.used > 0 => "allocated",
        LinkState::Up => "free",
    }
}

fn probe(row: &Interface) -> &'static str {
    match &row.probe {
        Some(ProbeState::Counting {
            mode: ProbeMode::Tcx,
            ..
        }) => "tcx",
        Some(ProbeState::Counting {
            mode: ProbeMode::Tc,
            ..
        }) => "tc",
        Some(ProbeState::Missing { .. }) | None => "none",
    }
}
