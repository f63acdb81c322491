//! Series per interface.
//!
//! Three labels name a series; all else that identifies it is in `_info`, to be joined by
//! `* on(claim_uid, pod_uid, interface) group_left(namespace, pod, claim)`.

use std::{collections::BTreeSet, fmt};

use netclaim_core::{
    counters::Counters,
    inventory::LinkState,
    name::DriverName,
    snapshot::{Interface, InterfaceState, Snapshot},
};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Unit};

use super::series::{About, counters, gauges, infos};

type Labels<const N: usize> = [(&'static str, String); N];

/// The interfaces of a snapshot, one for each set of labels.
#[derive(Debug)]
pub(super) struct Interfaces {
    driver: DriverName,
    rows: Vec<Interface>,
}

/// A family of counters and what it shows.
type Counted = (About, fn(&Counters) -> u64);

const COUNTED: [Counted; 6] = [
    (
        About {
            name: "interface_receive",
            help: "Bytes that the pod received.",
            unit: Some(Unit::Bytes),
        },
        |counters| counters.rx.bytes,
    ),
    (
        About {
            name: "interface_transmit",
            help: "Bytes that the pod sent.",
            unit: Some(Unit::Bytes),
        },
        |counters| counters.tx.bytes,
    ),
    (
        About {
            name: "interface_receive_packets",
            help: "Packets that the pod received, as the kernel counts them.",
            unit: None,
        },
        |counters| counters.rx.packets,
    ),
    (
        About {
            name: "interface_transmit_packets",
            help: "Packets that the pod sent, as the kernel counts them.",
            unit: None,
        },
        |counters| counters.tx.packets,
    ),
    (
        About {
            name: "interface_receive_segments",
            help: "Packets on the wire that the pod received.",
            unit: None,
        },
        |counters| counters.rx.segments,
    ),
    (
        About {
            name: "interface_transmit_segments",
            help: "Packets on the wire that the pod sent.",
            unit: None,
        },
        |counters| counters.tx.segments,
    ),
];

const PEAK: About = About {
    name: "interface_peak_bytes_per_second",
    help: "Most bytes in one tick of the kernel (1 to 10 ms), as a rate, since this scraper's last scrape.",
    unit: None,
};

const DROPS: About = About {
    name: "interface_drops",
    help: "Packets that the kernel dropped on the interface, by its own reason.",
    unit: None,
};

const UP: About = About {
    name: "interface_up",
    help: "Whether the interface is in the pod and the link behind it is up.",
    unit: None,
};

const MTU: About = About {
    name: "interface_mtu",
    help: "Largest packet of the interface.",
    unit: Some(Unit::Bytes),
};

const INFO: About = About {
    name: "claim_interface",
    help: "Which claim, pod, device and network an interface belongs to.",
    unit: None,
};

impl Interfaces {
    /// A pod whose sandbox was made anew has an old and a new interface of one name: the snapshot
    /// lists what is there before what ended, and what ended last first.
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut seen = BTreeSet::new();
        let first = |row: &&Interface| seen.insert(labels(row));
        Self {
            driver: snapshot.driver.clone(),
            rows: snapshot.interfaces.iter().filter(first).cloned().collect(),
        }
    }

    fn counted(&self) -> impl Iterator<Item = (&Interface, Counters)> {
        let rows = self.rows.iter();
        rows.filter_map(|row| Some((row, row.counters?)))
    }

    fn info(&self, row: &Interface) -> Labels<10> {
        let [claim_uid, pod_uid, interface] = labels(row);
        [
            claim_uid,
            pod_uid,
            ("namespace", row.claim.namespace.to_string()),
            ("claim", row.claim.name.to_string()),
            ("pod", row.pod.name.to_string()),
            ("device", row.allocated.device.to_string()),
            ("pool", row.allocated.pool.to_string()),
            ("driver", self.driver.to_string()),
            interface,
            ("network", row.network.clone()),
        ]
    }
}

impl Collector for Interfaces {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (about, of) in &COUNTED {
            let series = self
                .counted()
                .map(|(row, counted)| (labels(row), of(&counted)));
            counters(&mut encoder, about, series)?;
        }
        let peaks = self.counted().flat_map(|(row, counted)| {
            [
                (
                    with(row, "direction", "receive"),
                    counted.rx.peak_bytes_per_second,
                ),
                (
                    with(row, "direction", "transmit"),
                    counted.tx.peak_bytes_per_second,
                ),
            ]
        });
        gauges(&mut encoder, &PEAK, peaks)?;
        let dropped = self
            .rows
            .iter()
            .filter_map(|row| Some((row, row.drops.as_ref()?)));
        let drops = dropped.flat_map(|(row, drops)| {
            let series = drops.iter();
            series.map(move |(reason, packets)| (with(row, "reason", reason), packets))
        });
        counters(&mut encoder, &DROPS, drops)?;
        let up = self
            .rows
            .iter()
            .filter_map(|row| Some((labels(row), up(row)?)));
        gauges(&mut encoder, &UP, up)?;
        let mtu = self
            .rows
            .iter()
            .filter_map(|row| Some((labels(row), u64::from(row.mtu?))));
        gauges(&mut encoder, &MTU, mtu)?;
        infos(
            &mut encoder,
            &INFO,
            self.rows.iter().map(|row| self.info(row)),
        )
    }
}

fn labels(row: &Interface) -> Labels<3> {
    [
        ("claim_uid", row.claim.uid.to_string()),
        ("pod_uid", row.pod.uid.to_string()),
        ("interface", row.if_name.to_string()),
    ]
}

fn with(row: &Interface, label: &'static str, value: &str) -> Labels<4> {
    let [claim_uid, pod_uid, interface] = labels(row);
    [claim_uid, pod_uid, interface, (label, value.to_owned())]
}

/// None where the link is not known: the interface is there and may well work.
fn up(row: &Interface) -> Option<u64> {
    match (row.state, row.link_state) {
        (InterfaceState::Attached, state) => Some(u64::from(state? == LinkState::Up)),
        _ => Some(0),
    }
}
