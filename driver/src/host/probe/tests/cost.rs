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
    // The kernel answers with the mean of one run, in whole nanoseconds.
    program.test_run(options).unwrap().duration.as_secs_f64() * 1e9
}

/// The kernel rounds to a nanosecond, so this only catches what is far off; the bench measures.
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
    let mut costs: Vec<_> = (0..21)
        .map(|_| {
            let empty = nanoseconds(&mut ebpf, netclaim_ebpf::EMPTY);
            nanoseconds(&mut ebpf, netclaim_ebpf::COUNT_RX) - empty
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    println!(
        "counting costs {:.1} ns per packet (median of 21; {costs:?})",
        costs[10]
    );
    assert!(costs[10] < 20.0, "{costs:?}");
}
