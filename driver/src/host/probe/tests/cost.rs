//! What counting costs: our program minus an empty one.

use std::io::ErrorKind;

use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions},
};
use netclaim_ebpf::{COUNT_RX, COUNT_TX, COUNTERS, EMPTY, N_CPUS};

use super::{super::*, world::skipped};

const REPEAT: u32 = 1_000_000;

fn nanoseconds(ebpf: &mut Ebpf, program: &str) -> f64 {
    let program: &mut SchedClassifier = ebpf.program_mut(program).unwrap().try_into().unwrap();
    loop {
        let options = TestRunOptions {
            data_in: Some(&[0; 64]),
            repeat: REPEAT,
            ..TestRunOptions::default()
        };
        match program.test_run(options) {
            // A signal ends a run, and a debugger or a profiler sends some.
            Err(ProgramError::SyscallError(failed))
                if failed.io_error.kind() == ErrorKind::Interrupted => {}
            // The kernel's mean of one run: whole nanoseconds, without the time it gave to others.
            run => return run.unwrap().duration.as_secs_f64() * 1e9,
        }
    }
}

/// The bench holds the figure; this only catches what is far off, on any machine.
#[test]
fn counting_costs_a_few_nanoseconds() {
    if skipped() {
        return;
    }
    let n_cpus = u32::try_from(aya::util::nr_cpus().unwrap()).unwrap();
    let mut ebpf = EbpfLoader::new()
        .btf(None)
        .override_global(N_CPUS, &n_cpus, true)
        .map_max_entries(COUNTERS, netclaim_ebpf::rows(1, n_cpus))
        .load(object::OBJECT)
        .unwrap();
    for name in [EMPTY, COUNT_RX, COUNT_TX] {
        let program: &mut SchedClassifier = ebpf.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap();
    }
    let mut least = |name| {
        (0..21)
            .map(|_| nanoseconds(&mut ebpf, name))
            .fold(f64::INFINITY, f64::min)
    };
    let cost = least(COUNT_RX) - least(EMPTY);
    println!("counting costs {cost:.0} ns per packet");
    assert!(cost < 20.0, "{cost} ns");
}
