//! What the demo shows: each pod with its claim, device, interface and traffic, as claimed and as
//! the kernel has it.
//!
//! Owns the comparison. Each difference is said with both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::Result;
use netclaim_proto::observe::{self, Snapshot};
use serde_json::Value;

use super::apiserver::resource::{CLAIMS, PODS};
use super::controller::place;
use super::golden;
use super::scrape::Scrape;
use super::traffic::{Interface, Totals, interface};
use super::{Worker, World, driver};

/// One interface of one pod for one claim.
#[derive(Clone, Debug)]
pub struct Row {
    /// The pod.
    pub pod: String,
    /// The claim.
    pub claim: String,
    /// The device.
    pub device: String,
    /// The interface's name, as the claim's status says.
    pub interface: String,
    /// Its addresses, as the claim's status says.
    pub ips: Vec<String>,
    /// Its MAC address, as the claim's status says.
    pub mac: String,
    /// Its conditions, as `Ready=True`.
    pub conditions: Vec<String>,
    /// As the kernel has it.
    pub kernel: Interface,
    /// What the driver counted, by gRPC; none where it does not count.
    pub counted: Option<Totals>,
    /// The same by a scrape of `/metrics`.
    pub scraped: Option<Totals>,
    /// The device's status as the claim has it.
    pub status: Value,
}

/// The rows of all pods, by pod.
pub async fn rows(world: &World) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut seen = BTreeMap::new();
    for worker in &world.workers {
        let (snapshot, scrape) = (driver::snapshot(worker).await?, Scrape::of(&worker.node)?);
        seen.insert(worker.node.name.clone(), (snapshot, scrape));
    }
    for pod in world.api.store.all(PODS) {
        let Ok(worker) = world.worker_of(&pod) else {
            continue;
        };
        let (namespace, _) = place(&pod);
        for status in pod["status"]["resourceClaimStatuses"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let name = status["resourceClaimName"].as_str().unwrap_or_default();
            let claim = world.api.store.get(CLAIMS, namespace, name)?;
            let devices = claim["status"]["devices"].as_array();
            for device in devices.into_iter().flatten() {
                rows.push(row(worker, &seen[&worker.node.name], &pod, name, device).await?);
            }
        }
    }
    Ok(rows)
}

async fn row(
    worker: &Worker,
    seen: &(Snapshot, Scrape),
    pod: &Value,
    claim: &str,
    device: &Value,
) -> Result<Row> {
    let name = device["networkData"]["interfaceName"].as_str();
    let kernel = match name {
        Some(name) => interface(&worker.node, worker.netns(pod).await?, name)?,
        None => Interface::default(),
    };
    Ok(Row::new(seen, pod, claim, device, kernel))
}

impl Row {
    /// What a pod's claim says of a device, beside what was seen of it on the node.
    pub fn new(
        (snapshot, scrape): &(Snapshot, Scrape),
        pod: &Value,
        claim: &str,
        device: &Value,
        kernel: Interface,
    ) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let network = &device["networkData"];
        let name = text(&network["interfaceName"]);
        let conditions = device["conditions"].as_array().into_iter().flatten();
        let (_, pod_name) = place(pod);
        let pod_uid = text(&pod["metadata"]["uid"]);
        Self {
            counted: counted(snapshot, &pod_uid, &name),
            scraped: scrape.totals(&pod_uid, &name),
            status: device.clone(),
            pod: pod_name.to_owned(),
            claim: claim.to_owned(),
            device: text(&device["device"]),
            interface: name,
            ips: network["ips"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect(),
            mac: text(&network["hardwareAddress"]),
            conditions: conditions
                .map(|condition| {
                    format!(
                        "{}={}",
                        text(&condition["type"]),
                        text(&condition["status"])
                    )
                })
                .collect(),
            kernel,
        }
    }
}

/// The address of a pod's interface, as its claim's status says.
pub fn address(world: &World, pod: &Value) -> Option<IpAddr> {
    let (namespace, name) = place(pod);
    let pod = world.api.store.get(PODS, namespace, name).ok()?;
    let claim = pod["status"]["resourceClaimStatuses"][0]["resourceClaimName"].as_str()?;
    let claim = world.api.store.get(CLAIMS, namespace, claim).ok()?;
    let address = claim["status"]["devices"][0]["networkData"]["ips"][0].as_str()?;
    address.split('/').next()?.parse().ok()
}

/// What the driver counted of a pod's interface.
pub fn counted(snapshot: &Snapshot, pod: &str, name: &str) -> Option<Totals> {
    let is_meant = |interface: &&observe::Interface| {
        let of = interface.pod.as_ref();
        interface.name == name && of.is_some_and(|of| of.uid == pod)
    };
    let interface = snapshot.interfaces.iter().find(is_meant)?;
    let counters = interface.counters?;
    let (rx, tx) = (counters.rx?, counters.tx?);
    Some(Totals {
        rx_bytes: rx.bytes,
        rx_packets: rx.packets,
        tx_bytes: tx.bytes,
        tx_packets: tx.packets,
    })
}

/// What is wrong with `rows`, where `pods` pods should have an interface each.
pub fn findings(rows: &[Row], pods: usize) -> Vec<String> {
    let mut findings = Vec::new();
    if rows.len() != pods {
        findings.push(format!("{} claims have a status, of {pods}", rows.len()));
    }
    for row in rows {
        for wanted in ["Ready=True", "ProbeAttached=True"] {
            if !row.conditions.iter().any(|condition| condition == wanted) {
                let found = &row.conditions;
                findings.push(format!(
                    "claim {}: {found:?} instead of {wanted}",
                    row.claim
                ));
            }
        }
        if row.ips != row.kernel.ips {
            let (said, has) = (&row.ips, &row.kernel.ips);
            findings.push(format!(
                "claim {}: status says {said:?}, {} has {has:?}",
                row.claim, row.pod
            ));
        }
        if !row
            .counted
            .is_some_and(|counted| agrees(counted, &row.kernel))
        {
            let (counted, kernel) = (row.counted, row.kernel.counters);
            findings.push(format!(
                "{} {}: counted {counted:?}, the kernel {kernel:?}",
                row.pod, row.interface
            ));
        }
        if row.scraped != row.counted {
            let (scraped, counted) = (row.scraped, row.counted);
            findings.push(format!(
                "{} {}: scraped {scraped:?}, by gRPC {counted:?}",
                row.pod, row.interface
            ));
        }
        findings.extend(golden::finding(&row.claim, &row.status));
        if row.mac != row.kernel.mac {
            let (said, has) = (&row.mac, &row.kernel.mac);
            findings.push(format!(
                "claim {}: status says {said}, {} has {has}",
                row.claim, row.pod
            ));
        }
    }
    let ips: BTreeSet<&String> = rows.iter().flat_map(|row| &row.ips).collect();
    let macs: BTreeSet<&String> = rows.iter().map(|row| &row.mac).collect();
    for (what, distinct) in [("addresses", ips.len()), ("MAC addresses", macs.len())] {
        if distinct != rows.len() {
            findings.push(format!(
                "{distinct} different {what} for {} interfaces",
                rows.len()
            ));
        }
    }
    findings
}

/// Whether the driver counted what the kernel did.
///
/// A macvlan counts the Ethernet header twice in the bytes of a multicast packet that comes from a
/// sibling (see the table in the driver's `host::probe`). The kernel does not say how many these
/// are; they are multicast, so there are at most as many.
pub fn agrees(counted: Totals, kernel: &Interface) -> bool {
    const HEADER: u64 = 14;
    let twice = kernel.counters.rx_bytes.checked_sub(counted.rx_bytes);
    let bytes_agree = twice
        .is_some_and(|twice| twice.is_multiple_of(HEADER) && twice / HEADER <= kernel.multicast);
    let rest = Totals {
        rx_bytes: kernel.counters.rx_bytes,
        ..counted
    };
    bytes_agree && rest == kernel.counters
}

/// The table that people read: bytes and packets are those that the driver counted.
pub fn table(rows: &[Row]) -> String {
    let header = ["POD", "CLAIM", "DEVICE", "INTERFACE", "IP", "RX", "TX"].map(str::to_owned);
    let line = |row: &Row| {
        let shown = |bytes: fn(&Totals) -> u64, packets: fn(&Totals) -> u64| {
            let counted = row.counted.as_ref();
            counted.map_or("–".to_owned(), |of| {
                format!("{} ({})", bytes(of), packets(of))
            })
        };
        [
            row.pod.clone(),
            row.claim.clone(),
            row.device.clone(),
            row.interface.clone(),
            row.ips.join(","),
            shown(|of| of.rx_bytes, |of| of.rx_packets),
            shown(|of| of.tx_bytes, |of| of.tx_packets),
        ]
    };
    let lines: Vec<[String; 7]> = std::iter::once(header)
        .chain(rows.iter().map(line))
        .collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].len())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut table = String::new();
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        table.push_str(cells.join("  ").trim_end());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{Interface, Totals, agrees};

    #[track_caller]
    fn check(rx_bytes: u64, rx_packets: u64, expected: bool) {
        let totals = |rx_bytes, rx_packets| Totals {
            rx_bytes,
            rx_packets,
            tx_bytes: 60,
            tx_packets: 1,
        };
        let kernel = Interface {
            counters: totals(1028, 10),
            multicast: 2,
            ..Interface::default()
        };
        assert_eq!(agrees(totals(rx_bytes, rx_packets), &kernel), expected);
    }

    #[test]
    fn counters_agree_but_for_headers_of_multicast() {
        check(1028, 10, true);
        check(1000, 10, true);
        check(986, 10, false);
        check(1020, 10, false);
        check(1042, 10, false);
        check(1028, 9, false);
    }
}
