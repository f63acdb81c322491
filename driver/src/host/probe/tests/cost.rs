//! What counting costs: our program minus an empty one.

use aya::{
    Ebpf, EbpfLoader,
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};

use super::{super::*, world::skipped};

const REPEAT: u32 = 1_000_000;

fn nanoseconds(ebpf: &mut Ebpf, program: &str) -> f64 {
    let program: &mut SchedClassifier = ebpf.program_mut(program).unwrap().try_into().unwrap();
    let options = TestRunOptions {
        data_in: Some(&[0; 64]),
        repeat: REPEAT,
        ..TestRunOptions::default()
    };
    // The kernel's mean of one run: whole nanoseconds, without the time it gave to others.
    program.test_run(options).unwrap().duration.as_secs_f64() * 1e9
}

/// The bench holds the figure; this only catches what is far off, on any machine.
#[test]
fn counting_costs_a_few_nanoseconds() {
    if skipped() {
        return;
    }
    let mut ebpf = EbpfLoader::new().btf(None).load(object::OBJECT).unwrap();
    for name in [
        netclaim_ebpf::EMPTY,
        netclaim_ebpf::COUNT_RX,
        netclaim_ebpf::COUNT_TX,
    ] {
        let program: &mut SchedClassifier = ebpf.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap();
    }
    let mut least = |name| {
        (0..21)
            .map(|_| nanoseconds(&mut ebpf, name))
            .fold(f64::INFINITY, f64::min)
    };
    let cost = least(netclaim_ebpf::COUNT_RX) - least(netclaim_ebpf::EMPTY);
    println!("counting costs {cost:.0} ns per packet");
    assert!(cost < 20.0, "{cost} ns");
}
