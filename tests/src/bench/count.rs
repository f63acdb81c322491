//! What counting costs per packet.
//!
//! The kernel's own mean (`duration` of `BPF_PROG_TEST_RUN`) is in whole nanoseconds, too coarse
//! for a cost of two or three. So the CPU time of this thread around the call is divided by the
//! packets: the call itself vanishes among millions of them, time given to others does not count,
//! and what the kernel does around each packet is in both programs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, MapData};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use netclaim_ebpf::{
    COUNT_RX, COUNT_TX, COUNTERS, DIRECTIONS, Direction, EMPTY, N_CPUS, Row, row, rows,
};
use nix::time::{ClockId, clock_gettime};

use super::figure::Figure;
use super::quantile::median;

pub(super) const PACKETS: u32 = 2_000_000;
pub(super) const RUNS: usize = 21;

/// The committed object, as the driver loads it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../driver-ebpf/prebuilt/probe.bpf.o"
));

pub(super) fn measure() -> Result<Vec<Figure>> {
    let n_cpus = u32::try_from(aya::util::nr_cpus().map_err(|(_, error)| error)?)?;
    let mut ebpf = EbpfLoader::new()
        .override_global(N_CPUS, &n_cpus, true)
        .map_max_entries(COUNTERS, rows(1, n_cpus))
        .load(OBJECT)?;
    let costs = costs(&mut ebpf, [COUNT_RX, COUNT_TX], &[0; 64])?;
    check_counted(&ebpf, n_cpus)?;
    let names = ["cost of counting, rx", "cost of counting, tx"];
    let figures = names.iter().zip(&costs.ours).map(|(name, costs)| {
        Figure::new(name, median(costs), "ns").bar(3.5).how(format!(
            "BPF_PROG_TEST_RUN, {PACKETS} packets, thread CPU time: ours minus `{EMPTY}`, median of {RUNS} runs, in one process"
        ))
    });
    let empty = Figure::new("a program that does nothing", median(&costs.empty), "ns");
    let empty = empty.how(
        "in the same runs, with what the kernel does around each packet: how fast the machine is",
    );
    Ok(figures.chain([empty]).collect())
}

/// What a packet takes, run by run.
pub(super) struct Costs {
    /// In the empty program.
    pub(super) empty: Vec<f64>,
    /// In each of ours, beyond the empty one.
    pub(super) ours: [Vec<f64>; DIRECTIONS.len()],
}

/// Loads the object's programs and runs each of these and the empty one by turns.
pub(super) fn costs(
    ebpf: &mut Ebpf,
    names: [&str; DIRECTIONS.len()],
    packet: &[u8],
) -> Result<Costs> {
    for name in names.into_iter().chain([EMPTY]) {
        program(ebpf, name)?.load()?;
    }
    let mut costs = Costs {
        empty: Vec::new(),
        ours: names.map(|_| Vec::new()),
    };
    for _ in 0..RUNS {
        let empty = cost_of(program(ebpf, EMPTY)?, packet)?;
        costs.empty.push(empty);
        for (ours, name) in costs.ours.iter_mut().zip(names) {
            ours.push(cost_of(program(ebpf, name)?, packet)? - empty);
        }
    }
    Ok(costs)
}

/// CPU time that one packet takes.
fn cost_of(program: &mut SchedClassifier, packet: &[u8]) -> Result<f64> {
    let before = cpu_time()?;
    program.test_run(TestRunOptions {
        data_in: Some(packet),
        repeat: PACKETS,
        ..TestRunOptions::default()
    })?;
    let took = cpu_time()?.saturating_sub(before);
    Ok(took.as_secs_f64() * 1e9 / f64::from(PACKETS))
}

/// What did not count was not measured.
fn check_counted(ebpf: &Ebpf, n_cpus: u32) -> Result<()> {
    let map = ebpf.map(COUNTERS).context("no counters in the object")?;
    let counters: Array<&MapData, Row> = Array::try_from(map)?;
    let counted = |direction: Direction| -> Result<u64> {
        let cpus = (0..n_cpus).map(|cpu| counters.get(&row(0, direction, n_cpus, cpu), 0));
        cpus.map(|row| Ok(row?.packets)).sum()
    };
    let sent = RUNS as u64 * u64::from(PACKETS);
    for direction in DIRECTIONS {
        let counted = counted(direction)?;
        ensure!(
            counted == sent,
            "{direction:?}: {counted} of {sent} packets were counted"
        );
    }
    Ok(())
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program = ebpf.program_mut(name);
    let program = program.with_context(|| format!("no program {name} in the object"))?;
    Ok(program.try_into()?)
}

fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
