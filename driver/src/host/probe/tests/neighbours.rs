//! Others' programs on the same interface, and kernels and interfaces without room for TCX.

use aya::{
    Ebpf, EbpfLoader,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions},
    },
};

use super::{super::*, world::*};

const SLOT: Slot = Slot(0);

/// More TCX programs than fit on a hook (`BPF_MPROG_MAX` of `bpf_mprog.h`).
const TOO_MANY: usize = 65;

/// Programs of somebody else, loaded.
fn foreign(count: usize) -> Vec<Ebpf> {
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    let load = |_| {
        let mut ebpf = loader.load(object::OBJECT).unwrap();
        program(&mut ebpf).load().unwrap();
        ebpf
    };
    (0..count).map(load).collect()
}

fn program(ebpf: &mut Ebpf) -> &mut SchedClassifier {
    ebpf.program_mut(netclaim_ebpf::EMPTY)
        .unwrap()
        .try_into()
        .unwrap()
}

/// Puts it on both sides of the pod's interface; none if there is no room.
fn attach(
    world: &World,
    ebpf: &mut Ebpf,
    order: fn() -> LinkOrder,
) -> Result<Vec<SchedClassifierLink>, ProgramError> {
    let program = program(ebpf);
    let mut attach = |side| {
        let options = TcAttachOptions::TcxOrder(order());
        let id = program.attach_with_options("net1", side, options)?;
        program.take_link(id)
    };
    world.pod.inside(|| {
        Ok(vec![
            attach(TcAttachType::Ingress)?,
            attach(TcAttachType::Egress)?,
        ])
    })
}

#[test]
fn ours_are_first_in_and_last_out_among_others() {
    if skipped() {
        return;
    }
    let world = World::new(Kind::Veth);
    world.know_each_other();
    let probes = world.probes();
    let mut others = foreign(2);
    let _before = attach(&world, &mut others[0], LinkOrder::first).unwrap();
    probes.attach(SLOT, world.interface()).unwrap();
    let places = probes.verify(SLOT, world.interface()).unwrap();
    assert_eq!(places.rx, Place::Tcx { position: 0, of: 2 });
    assert_eq!(places.tx, Place::Tcx { position: 1, of: 2 });
    let _after = attach(&world, &mut others[1], LinkOrder::last).unwrap();
    let places = probes.verify(SLOT, world.interface()).unwrap();
    assert_eq!(places.rx, Place::Tcx { position: 0, of: 3 });
    assert_eq!(places.tx, Place::Tcx { position: 1, of: 3 });
    world.datagrams(Direction::Tx, "10.9.0.2", 10);
    world.datagrams(Direction::Rx, "10.9.0.1", 10);
    let counters = probes.counters(SLOT);
    assert_eq!((counters.rx.packets, counters.tx.packets), (10, 10));
}

/// An interface that has no room for another TCX program is what a kernel without TCX is to us.
pub(super) fn crowded() -> Option<(World, Vec<Ebpf>, Vec<SchedClassifierLink>)> {
    if skipped() {
        return None;
    }
    let world = World::new(Kind::Veth);
    world.know_each_other();
    let mut others = foreign(TOO_MANY);
    let links: Vec<_> = others
        .iter_mut()
        .map_while(|ebpf| attach(&world, ebpf, LinkOrder::last).ok())
        .flatten()
        .collect();
    assert!(links.len() < 2 * TOO_MANY, "there is room for more");
    Some((world, others, links))
}

#[test]
fn where_tcx_fails_clsact_counts_the_same() {
    let Some((world, _others, _links)) = crowded() else {
        return;
    };
    let probes = world.probes();
    let before = world.pod.kernel();
    let counting = probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!(
        (counting.mode, counting.change),
        (ProbeMode::Tc, Change::Attached)
    );
    let places = || probes.verify(SLOT, world.interface()).unwrap();
    assert_eq!(
        places(),
        Both {
            rx: Place::Tc,
            tx: Place::Tc
        }
    );
    world.datagrams(Direction::Tx, "10.9.0.2", 100);
    world.datagrams(Direction::Rx, "10.9.0.1", 100);
    world.stream(1 << 20);
    wait_for("ours and the kernel's agree", || {
        four(&probes.counters(SLOT)) == world.pod.kernel().since(&before)
    });

    let counted = probes.counters(SLOT);
    drop(probes);
    let probes = world.probes();
    let kept = probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!((kept.mode, kept.change), (ProbeMode::Tc, Change::Kept));
    assert_eq!(four(&probes.counters(SLOT)), four(&counted));
}

#[test]
fn a_filter_that_somebody_deleted_is_noticed_and_made_good() {
    let Some((world, _others, _links)) = crowded() else {
        return;
    };
    let probes = world.probes();
    probes.attach(SLOT, world.interface()).unwrap();
    tc(&world.pod, "filter del dev net1 ingress prio 1");
    let places = probes.verify(SLOT, world.interface()).unwrap();
    assert_eq!(
        places,
        Both {
            rx: Place::Gone,
            tx: Place::Tc
        }
    );
    let counting = probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!(
        (counting.mode, counting.change),
        (ProbeMode::Tc, Change::Reattached)
    );
    world.datagrams(Direction::Rx, "10.9.0.1", 10);
    assert_eq!(probes.counters(SLOT).rx.packets, 10);
}

#[test]
fn the_qdisc_and_others_filters_outlive_ours() {
    let Some((world, mut others, _links)) = crowded() else {
        return;
    };
    tc(&world.pod, "qdisc add dev net1 clsact");
    let other = &mut others[0];
    world.pod.inside(|| {
        let options = TcAttachOptions::Netlink(NlOptions {
            priority: 7,
            ..NlOptions::default()
        });
        let attached = program(other).attach_with_options("net1", TcAttachType::Ingress, options);
        // It must not go when the test ends, on a thread that is elsewhere.
        std::mem::forget(program(other).take_link(attached.unwrap()).unwrap());
    });
    let probes = world.probes();
    let counting = probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!(counting.mode, ProbeMode::Tc);
    world.datagrams(Direction::Rx, "10.9.0.1", 10);
    let last = probes.detach(SLOT, world.interface()).unwrap();
    assert_eq!(last.rx.packets, 10);
    assert_eq!(probes.slots().unwrap(), BTreeSet::new());
    let filters = tc(&world.pod, "filter show dev net1 ingress");
    assert!(
        filters.contains("empty") && !filters.contains("count_rx"),
        "{filters}"
    );
    assert!(!tc(&world.pod, "filter show dev net1 egress").contains("count_tx"));
    assert!(tc(&world.pod, "qdisc show dev net1").contains("clsact"));
    world.datagrams(Direction::Rx, "10.9.0.1", 10);
    assert_eq!(probes.counters(SLOT).rx.packets, 10);
}
