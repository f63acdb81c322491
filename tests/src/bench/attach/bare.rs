//! What netclaim asks others for, asked for by hand: the same plugin, and two links in the kernel.
//!
//! What it makes stays, as what the pods get does, so that both find the node equally full.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::Ebpf;
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use netclaim_ebpf::EMPTY;
use serde_json::json;

use crate::bench::count::OBJECT;
use crate::world::driver;
use crate::world::node::Node;

/// A program that may be put on devices.
pub(super) struct Bare(Arc<Mutex<Ebpf>>);

/// What one round took.
pub(super) struct Took {
    /// ADD of macvlan, with host-local.
    pub(super) plugins: Duration,
    /// A TCX link on ingress and one on egress.
    pub(super) links: Duration,
}

impl Bare {
    /// Loads the program.
    pub(super) fn new() -> Result<Self> {
        let mut ebpf = Ebpf::load(OBJECT)?;
        program(&mut ebpf)?.load()?;
        Ok(Self(Arc::new(Mutex::new(ebpf))))
    }

    /// Makes a namespace with an interface, and puts links on that.
    pub(super) fn run(&self, node: &Node, index: usize) -> Result<Took> {
        let netns = PathBuf::from(format!("/var/run/netns/bare-{index}"));
        node.place.add_netns(netns.clone())?;
        let mut add = add(&netns, index)?;
        let plugins = node.place.run(move || run_plugin(&mut add))??;
        let ebpf = Arc::clone(&self.0);
        let links = node.place.within(netns, move || {
            let mut ebpf = ebpf.lock().unwrap_or_else(PoisonError::into_inner);
            let start = Instant::now();
            for (side, order) in [
                (TcAttachType::Ingress, LinkOrder::first()),
                (TcAttachType::Egress, LinkOrder::last()),
            ] {
                let options = TcAttachOptions::TcxOrder(order);
                program(&mut ebpf)?.attach_with_options("net1", side, options)?;
            }
            Ok(start.elapsed())
        })?;
        Ok(Took { plugins, links })
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    let program = ebpf.program_mut(EMPTY);
    Ok(program
        .context("no empty program in the object")?
        .try_into()?)
}

fn add(netns: &PathBuf, index: usize) -> Result<Command> {
    let folder = driver::cni_path()?;
    let mut macvlan = Command::new(format!("{folder}/macvlan"));
    macvlan
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", format!("bare-{index}"))
        .env("CNI_NETNS", netns)
        .env("CNI_IFNAME", "net1")
        .env("CNI_PATH", &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Ok(macvlan)
}

fn run_plugin(add: &mut Command) -> Result<Duration> {
    let config = json!({
        "cniVersion": "1.0.0", "name": "bare", "type": "macvlan", "master": "eth1",
        "mode": "bridge", "ipam": {"type": "host-local", "dataDir": "/run/world/bare",
                                   "ranges": [[{"subnet": "10.11.0.0/20"}]]},
    });
    let start = Instant::now();
    let mut child = add.spawn()?;
    let stdin = child.stdin.take().context("no standard input")?;
    serde_json::to_writer(stdin, &config)?;
    let output = child.wait_with_output()?;
    let took = start.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "macvlan, run bare: {said}");
    Ok(took)
}
