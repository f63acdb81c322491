//! What it costs to count a drop.
//!
//! `BPF_PROG_TEST_RUN` runs a raw tracepoint once only, so packets are dropped in earnest. The
//! kernel's own statistics (`BPF_ENABLE_STATS`) give the mean time of our program, and of one that
//! does nothing on the same tracepoint: that time is taken costs something, and is in both.

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{ProgramInfo, RawTracePoint, loaded_programs};
use aya::sys::{Stats, enable_stats};
use aya::{Ebpf, EbpfLoader};
use netclaim::host::probe::{Interface, Probes, folder};
use netclaim_core::attachment::Slot;
use netclaim_ebpf::EMPTY;
use netclaim_ebpf::drops::TRACEPOINT;

use super::figure::Figure;
use super::quantile::median;
use crate::world::driver;
use crate::world::node::{Node, Switch};

const PACKETS: u32 = 100_000;
const RUNS: usize = 11;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../driver-ebpf/prebuilt/drops.bpf.o"
));

pub(super) fn measure() -> Result<Vec<Figure>> {
    let switch = Switch::new()?;
    let node = Node::up(&switch, "kind-worker", 1, &["eth0", "eth1"])?;
    let costs = node.place.run(nanoseconds)??;
    let cost = Figure::new("cost of a drop", median(&costs), "ns");
    Ok(vec![cost.bar(250.0).how(format!(
        "BPF_ENABLE_STATS, {PACKETS} datagrams to a closed port: ours minus `{EMPTY}` on the same \
         tracepoint, median of {RUNS} runs"
    ))])
}

/// Of each run, the cost of one drop.
fn nanoseconds() -> Result<Vec<f64>> {
    let pins = folder(Path::new("/sys/fs/bpf"), driver::NAME);
    let probes = Probes::open(&pins, 1)?;
    let here = Interface {
        netns: Path::new("/proc/thread-self/ns/net"),
        if_name: "lo",
    };
    probes.attach(Slot(0), here)?;
    if let Some(why) = probes.drops_missing() {
        anyhow::bail!("{why}");
    }
    let link = FdLink::from(PinnedLink::from_pin(pins.join("drops"))?);
    let ours = link.info()?.program_id();
    let mut ebpf = EbpfLoader::new().load(OBJECT)?;
    let empty = hang_empty(&mut ebpf)?;
    let _counts = enable_stats(Stats::RunTime)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut costs = Vec::new();
    for _ in 0..RUNS {
        let before = [runs(ours)?, runs(empty)?];
        for _ in 0..PACKETS {
            socket.send_to(&[0; 64], "127.0.0.1:9")?;
        }
        let [ours, empty] = [mean(before[0], runs(ours)?), mean(before[1], runs(empty)?)];
        costs.push(ours - empty);
    }
    let counted = probes.drops(Slot(0)).context("no drops")?.total();
    let sent = RUNS as u64 * u64::from(PACKETS);
    ensure!(counted >= sent, "{counted} of {sent} drops were counted");
    Ok(costs)
}

/// Hangs a program beside ours that does nothing; it goes with `ebpf`.
fn hang_empty(ebpf: &mut Ebpf) -> Result<u32> {
    let program = ebpf.program_mut(EMPTY).context("no empty program")?;
    let program: &mut RawTracePoint = program.try_into()?;
    program.load()?;
    program.attach(TRACEPOINT)?;
    Ok(program.info()?.id())
}

/// How long a program has run so far, and how often.
fn runs(id: u32) -> Result<(Duration, u64)> {
    let mut programs = loaded_programs().filter_map(Result::ok);
    let program: ProgramInfo = programs
        .find(|program| program.id() == id)
        .context("the program is gone")?;
    Ok((program.run_time(), program.run_count()))
}

/// Nanoseconds of a run between two readings.
fn mean((before, ran): (Duration, u64), (after, runs): (Duration, u64)) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let runs = (runs - ran).max(1) as f64;
    after.saturating_sub(before).as_secs_f64() * 1e9 / runs
}
