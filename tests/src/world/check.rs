//! What the demo shows: each pod with its claim, device, interface and traffic, as claimed and as
//! the kernel has it.
//!
//! Owns the comparison. Each difference is said with both sides.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use super::apiserver::resource::{CLAIMS, PODS};
use super::controller::place;
use super::traffic::{Interface, interface};
use super::{Worker, World};

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
}

/// The rows of all pods, by pod.
pub async fn rows(world: &World) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for pod in world.api.store.all(PODS) {
        let Ok(worker) = world.worker_of(&pod) else {
            continue;
        };
        let (namespace, pod_name) = place(&pod);
        for status in pod["status"]["resourceClaimStatuses"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let name = status["resourceClaimName"].as_str().unwrap_or_default();
            let claim = world.api.store.get(CLAIMS, namespace, name)?;
            let devices = claim["status"]["devices"].as_array();
            for device in devices.into_iter().flatten() {
                rows.push(row(worker, &pod, pod_name, name, device).await?);
            }
        }
    }
    Ok(rows)
}

async fn row(
    worker: &Worker,
    pod: &Value,
    pod_name: &str,
    claim: &str,
    device: &Value,
) -> Result<Row> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let network = &device["networkData"];
    let name = text(&network["interfaceName"]);
    let netns = worker.netns(pod).await?;
    let kernel = match name.as_str() {
        "" => Interface::default(),
        name => interface(&worker.node, netns, name)?,
    };
    let conditions = device["conditions"].as_array().into_iter().flatten();
    Ok(Row {
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

/// The table that people read: counters are bytes and packets, as the kernel has them.
pub fn table(rows: &[Row]) -> String {
    let header = ["POD", "CLAIM", "DEVICE", "INTERFACE", "IP", "RX", "TX"].map(str::to_owned);
    let line = |row: &Row| {
        let counters = row.kernel.counters;
        [
            row.pod.clone(),
            row.claim.clone(),
            row.device.clone(),
            row.interface.clone(),
            row.ips.join(","),
            format!("{} ({})", counters.rx_bytes, counters.rx_packets),
            format!("{} ({})", counters.tx_bytes, counters.tx_packets),
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
