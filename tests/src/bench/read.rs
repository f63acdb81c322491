//! What it takes to read all counters of a full node into a snapshot.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use netclaim::host::cni::Plugins;
use netclaim::host::probe::{Probes, folder};
use netclaim::host::{Host as _, Linux};
use netclaim_core::attachment::{Attachment, Key, ProbeMode, ProbeState, Slot};
use netclaim_core::claim::{Allocated, ClaimRef, PodRef, PreparedClaim, PreparedDevice};
use netclaim_core::cni::{AddResult, ConfList};
use netclaim_core::counters::Counters;
use netclaim_core::fact::Fact;
use netclaim_core::failure::{Step, Timing};
use netclaim_core::inventory::{Device, Inventory, LinkState, Mode};
use netclaim_core::ledger::Ledger;
use netclaim_core::snapshot::{Identity, NriState, Role, Snapshot};
use netclaim_core::time::Timestamp;
use serde_json::{Map, json};

use super::figure::Figure;
use super::quantile::{median, quantile};
use crate::world::driver;
use crate::world::node::{Node, Switch};

const INTERFACES: u32 = 1_000;
const RUNS: usize = 201;

pub(super) fn measure() -> Result<Vec<Figure>> {
    let switch = Switch::new()?;
    let node = Node::up(&switch, "kind-worker", 1, &["eth0", "eth1"])?;
    let milliseconds = node.place.run(milliseconds)??;
    let read = Figure::new(
        "read all counters of 1,000 interfaces",
        median(&milliseconds),
        "ms",
    );
    let worst = quantile(&milliseconds, 0.99);
    Ok(vec![read.bar(1.0).how(format!(
        "mmap to Snapshot: the driver's map in the kernel, a ledger of 1,000 attachments with \
             their timelines; wall time, median of {RUNS} (p99 {worst:.2} ms)"
    ))])
}

fn milliseconds() -> Result<Vec<f64>> {
    let pins = folder(Path::new("/sys/fs/bpf"), driver::NAME);
    let probes = Probes::open(&pins, INTERFACES);
    let plugins = Plugins::new(Vec::new(), Path::new("/run/netclaim/cni"), None);
    let host = Linux::new(plugins, probes, INTERFACES);
    anyhow::ensure!(host.uncounted().is_none(), "{:?}", host.uncounted());
    let (ledger, inventory) = (ledger()?, inventory()?);
    let mut milliseconds = Vec::new();
    for _ in 0..RUNS {
        let (nri, identity) = (nri(), identity()?);
        let start = Instant::now();
        let counted = host.counters(&ledger.slots());
        let snapshot = Snapshot::new(
            &ledger,
            &inventory,
            &counted,
            nri,
            identity,
            Timestamp::default(),
        );
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        let all = snapshot
            .interfaces
            .iter()
            .filter(|row| row.counters.is_some());
        anyhow::ensure!(all.count() == INTERFACES as usize, "rows without counters");
        black_box(snapshot);
    }
    Ok(milliseconds)
}

/// Prepared, promised and attached, as the demo's pods are.
fn ledger() -> Result<Ledger> {
    let mut ledger = Ledger::default();
    for index in 0..INTERFACES {
        let claim = claim(index)?;
        let attachment = Attachment {
            key: Key {
                sandbox: format!("{index:064x}").parse()?,
                if_name: "net1".parse()?,
            },
            claim: claim.claim.clone(),
            pod: claim.pod.clone(),
            netns: netns(index),
            device: claim.devices[0].clone(),
            slot: Some(Slot(index)),
        };
        let attached = Fact::Attached {
            key: attachment.key.clone(),
            result: result(index)?,
            probe: Some(ProbeState::Counting {
                mode: ProbeMode::Tcx,
                base: Counters::default(),
                uncertain_packets: 0,
            }),
            late: false,
            timings: vec![Timing {
                step: Step::CniAdd,
                plugin: Some("macvlan".to_owned()),
                micros: 20_000,
                ok: true,
            }],
        };
        for fact in [Fact::Prepared(claim), Fact::Attaching(attachment), attached] {
            ledger.apply(Timestamp(u64::from(index)), &fact);
        }
    }
    Ok(ledger)
}

fn claim(index: u32) -> Result<PreparedClaim> {
    let pod = format!("demo-application-6fdd57bb8d-{index:05}");
    let network = json!({"cniVersion": "1.0.0", "name": "macvlan-eth1", "plugins": [
        {"type": "macvlan", "master": "eth1", "mode": "bridge",
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.10.0.0/20"}]]}}]});
    Ok(PreparedClaim {
        claim: ClaimRef {
            namespace: "default".parse()?,
            name: format!("{pod}-macvlan-eth1-attachment-{index:05}").parse()?,
            uid: format!("6f2f4d2c-0000-4000-8000-{index:012}").parse()?,
        },
        pod: PodRef {
            namespace: "default".parse()?,
            uid: format!("9a7c1b3e-0000-4000-8000-{index:012}").parse()?,
            name: pod.parse()?,
        },
        owned: true,
        devices: vec![PreparedDevice {
            allocated: Allocated {
                request: "macvlan-eth1".parse()?,
                pool: "kind-worker".parse()?,
                device: "eth1".parse()?,
                share_id: Some(format!("c4b0d7aa-0000-4000-8000-{index:012}").parse()?),
                admin_access: false,
            },
            link: "eth1".to_owned(),
            mode: Mode::Shared,
            if_name: "net1".parse()?,
            network: ConfList::parse(&network)?.into(),
            runtime_config: Map::new(),
            observe_flows: false,
        }],
    })
}

fn result(index: u32) -> Result<AddResult> {
    let (high, low) = (index / 256, index % 256);
    let result = json!({"cniVersion": "1.0.0",
        "interfaces": [{"name": "net1", "mac": format!("0a:00:00:00:{high:02x}:{low:02x}"),
                        "sandbox": netns(index)}],
        "ips": [{"address": format!("10.10.{high}.{low}/20"), "interface": 0}]});
    Ok(AddResult::read(&result)?)
}

fn netns(index: u32) -> String {
    format!("/var/run/netns/cni-00000000-0000-4000-8000-{index:012}")
}

fn inventory() -> Result<Inventory> {
    let device = Device {
        name: "eth1".parse()?,
        link: "eth1".to_owned(),
        mode: Mode::Shared,
        state: LinkState::Up,
        max_virtual_devices: INTERFACES,
        held_by_node: false,
        attributes: BTreeMap::new(),
    };
    Ok(Inventory {
        devices: BTreeMap::from([(device.name.clone(), device)]),
        ..Inventory::default()
    })
}

fn nri() -> NriState {
    NriState {
        connected: true,
        since: Timestamp::default(),
        runtime: None,
    }
}

fn identity() -> Result<Identity> {
    Ok(Identity {
        node: "kind-worker".parse()?,
        driver: driver::NAME.parse()?,
        version: String::new(),
        started: Timestamp::default(),
        role: Role::Active,
    })
}
