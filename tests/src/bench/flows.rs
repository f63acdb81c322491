//! What recording a packet's flow costs, beyond counting it: for pods alone whose claims ask for it.
//!
//! Measured as counting is, with packets of one flow that is known: a new one costs more, once.

use anyhow::{Context as _, Result, ensure};
use aya::EbpfLoader;
use aya::maps::{HashMap, MapData};
use netclaim_ebpf::EMPTY;
use netclaim_ebpf::flows::{FLOW_RX, FLOW_TX, FLOWS, Flow, Key};

use super::count::{PACKETS, RUNS, costs};
use super::figure::Figure;
use super::quantile::median;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../driver-ebpf/prebuilt/flows.bpf.o"
));

/// UDP from 10.0.0.1 to 10.0.0.2.
const IPV4: [u8; 28] = [
    0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 9, 0, 30, 0,
    0,
];

pub(super) fn measure() -> Result<Vec<Figure>> {
    let mut ebpf = EbpfLoader::new()
        .map_max_entries(FLOWS, 8_192)
        .load(OBJECT)?;
    let mut packet = [0; 64];
    packet[12..14].copy_from_slice(&[0x08, 0]);
    packet[14..14 + IPV4.len()].copy_from_slice(&IPV4);
    let costs = costs(&mut ebpf, [FLOW_RX, FLOW_TX], &packet)?;
    check_recorded(&HashMap::try_from(ebpf.map(FLOWS).context("no flows")?)?)?;
    let names = [
        "cost of recording a flow, rx",
        "cost of recording a flow, tx",
    ];
    let figures = names.iter().zip(&costs.ours).map(|(name, costs)| {
        Figure::new(name, median(costs), "ns").how(format!(
            "beyond counting, where a claim asks: BPF_PROG_TEST_RUN, {PACKETS} packets of UDP in one \
             flow, thread CPU time: ours minus `{EMPTY}`, median of {RUNS} runs"
        ))
    });
    Ok(figures.collect())
}

/// What was not recorded was not measured.
fn check_recorded(flows: &HashMap<&MapData, Key, Flow>) -> Result<()> {
    let sent = RUNS as u64 * u64::from(PACKETS);
    let all: Vec<(Key, Flow)> = flows.iter().collect::<Result<_, _>>()?;
    let (mut rx, mut tx) = (0, 0);
    for (key, flow) in &all {
        ensure!(key.local_port != 0 && key.protocol == 17, "{key:?}");
        rx += flow.rx.packets;
        tx += flow.tx.packets;
    }
    // A packet that is received by one end is sent by the other.
    ensure!(
        all.len() == 2 && rx == sent && tx == sent,
        "{all:?}, sent {sent}"
    );
    Ok(())
}
