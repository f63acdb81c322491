//! Restarts, thieves and second lives of a slot.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use aya::{
    EbpfLoader,
    programs::{
        SchedClassifier, TcAttachType,
        links::{FdLink, PinnedLink},
        tc::SchedClassifierLink,
    },
};

use super::{super::*, world::*};

const SLOT: Slot = Slot(5);

/// Replaces the pinned program by one that counts nothing, as another version of ours might be.
fn replace_by_another_version(world: &World, direction: &str) {
    let mut ebpf = EbpfLoader::new().btf(None).load(object::OBJECT).unwrap();
    let program: &mut SchedClassifier = ebpf
        .program_mut(netclaim_ebpf::EMPTY)
        .unwrap()
        .try_into()
        .unwrap();
    program.load().unwrap();
    let pin = world.folder().join(SLOT.0.to_string()).join(direction);
    let link = FdLink::from(PinnedLink::from_pin(pin).unwrap());
    program
        .attach_to_link(SchedClassifierLink::try_from(link).unwrap())
        .unwrap();
}

fn pin(world: &World, direction: &str) -> std::path::PathBuf {
    world.folder().join(SLOT.0.to_string()).join(direction)
}

#[test]
fn a_restart_under_traffic_loses_no_packet() {
    let Some((world, probes)) = counted(Kind::Macvlan, SLOT) else {
        return;
    };
    drop(probes);
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            world.pod.inside(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    socket.send_to(&[7; 100], "10.9.0.2:9").unwrap();
                    sent += 1;
                }
                sent
            })
        });
        for _ in 0..5 {
            let probes = world.probes();
            assert_eq!(probes.slots().unwrap(), BTreeSet::from([SLOT]));
            let before = probes.counters(SLOT).tx.packets;
            let counting = probes.attach(SLOT, world.interface()).unwrap();
            assert_eq!(counting.change, Change::Kept);
            wait_for("the next packet", || {
                probes.counters(SLOT).tx.packets > before
            });
        }
        stop.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    assert_eq!(world.probes().counters(SLOT).tx.packets, sent);
}

#[test]
fn programs_of_another_version_are_replaced_in_place() {
    let Some((world, probes)) = counted(Kind::Veth, SLOT) else {
        return;
    };
    world.datagrams(Direction::Tx, "10.9.0.2", 10);
    replace_by_another_version(&world, "tx");
    world.datagrams(Direction::Tx, "10.9.0.2", 100);
    assert_eq!(
        probes.counters(SLOT).tx.packets,
        10,
        "the other version counts"
    );
    let counting = probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!(
        (counting.change, counting.mode),
        (Change::Updated, ProbeMode::Tcx)
    );
    assert_eq!(counting.base.counters.tx.packets, 100);
    world.datagrams(Direction::Tx, "10.9.0.2", 10);
    assert_eq!(probes.counters(SLOT).tx.packets, 20);
    assert_eq!(
        probes.attach(SLOT, world.interface()).unwrap().change,
        Change::Kept
    );
}

fn check_thief(steal: impl FnOnce(&World)) {
    let Some((world, probes)) = counted(Kind::Veth, SLOT) else {
        return;
    };
    let only = Place::Tcx { position: 0, of: 1 };
    let places = || probes.verify(SLOT, world.interface()).unwrap();
    assert_eq!(places(), Both { rx: only, tx: only });
    world.datagrams(Direction::Rx, "10.9.0.1", 10);
    steal(&world);
    let on_ingress = || {
        SchedClassifier::query_tcx("net1", TcAttachType::Ingress)
            .unwrap()
            .1
            .len()
    };
    wait_for("the program is off", || world.pod.inside(on_ingress) == 0);
    wait_for("the theft is noticed", || {
        places()
            == Both {
                rx: Place::Gone,
                tx: only,
            }
    });
    world.datagrams(Direction::Rx, "10.9.0.1", 100);
    let counting = probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!(counting.change, Change::Reattached);
    assert_eq!(places(), Both { rx: only, tx: only });
    world.datagrams(Direction::Rx, "10.9.0.1", 1);
    assert_eq!(
        probes.counters(SLOT).rx.packets,
        11,
        "what was counted before stays"
    );
    let total = probes.counters(SLOT).plus(&counting.base.counters);
    assert_eq!(total.rx.packets, world.pod.kernel().rx.0);
}

#[test]
fn a_pin_that_somebody_removed_is_noticed_and_made_good() {
    check_thief(|world| fs::remove_file(pin(world, "rx")).unwrap());
}

#[test]
fn a_link_that_somebody_detached_is_noticed_and_made_good() {
    check_thief(|world| {
        let link = FdLink::from(PinnedLink::from_pin(pin(world, "rx")).unwrap());
        link::detach(link.info().unwrap().id()).unwrap();
    });
}

#[test]
fn a_slot_starts_from_zero_again_and_its_last_counters_can_be_taken_twice() {
    let Some((world, probes)) = counted(Kind::Veth, SLOT) else {
        return;
    };
    world.datagrams(Direction::Tx, "10.9.0.2", 10);
    let last = probes.detach(SLOT, world.interface()).unwrap();
    assert_eq!(last.tx.packets, 10);
    assert_eq!(probes.slots().unwrap(), BTreeSet::new());
    let gone = Both {
        rx: Place::Gone,
        tx: Place::Gone,
    };
    assert_eq!(probes.verify(SLOT, world.interface()).unwrap(), gone);
    world.datagrams(Direction::Tx, "10.9.0.2", 5);
    assert_eq!(
        probes.detach(SLOT, world.interface()).unwrap(),
        last,
        "detached, yet it counts"
    );

    let counting = probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!(counting.change, Change::Attached);
    assert_eq!(probes.counters(SLOT), Counters::default());
    assert_eq!(counting.base.counters.tx.packets, world.pod.kernel().tx.0);
}

/// As bpftool does while it looks at a link.
#[test]
fn a_link_that_somebody_holds_open_counts_no_more_once_detached() {
    let Some((world, probes)) = counted(Kind::Veth, SLOT) else {
        return;
    };
    let _held = PinnedLink::from_pin(pin(&world, "tx")).unwrap();
    world.datagrams(Direction::Tx, "10.9.0.2", 10);
    let last = probes.detach(SLOT, world.interface()).unwrap();
    world.datagrams(Direction::Tx, "10.9.0.2", 10);
    assert_eq!(last.tx.packets, 10);
    assert_eq!(probes.counters(SLOT), last);
}

#[test]
fn slots_do_not_touch_each_other() {
    let Some((world, probes)) = counted(Kind::Veth, SLOT) else {
        return;
    };
    let other = world.peer.interface();
    probes.attach(Slot(SLOT.0 + 1), other).unwrap();
    probes.attach(Slot(SLOT.0 - 1), other).unwrap();
    world.datagrams(Direction::Tx, "10.9.0.2", 10);
    assert_eq!(probes.counters(SLOT).tx.packets, 10);
    for neighbour in [SLOT.0 - 1, SLOT.0 + 1] {
        let counters = probes.counters(Slot(neighbour));
        assert_eq!((counters.rx.packets, counters.tx.packets), (10, 0));
    }
    probes.detach(Slot(SLOT.0 + 1), other).unwrap();
    assert_eq!(
        probes.slots().unwrap(),
        BTreeSet::from([Slot(SLOT.0 - 1), SLOT])
    );
}

#[test]
fn the_last_counters_outlive_the_namespace() {
    let Some((world, probes)) = counted(Kind::Veth, SLOT) else {
        return;
    };
    world.datagrams(Direction::Tx, "10.9.0.2", 10);
    ip(&format!("netns del {}", world.pod));
    let error = probes.verify(SLOT, world.interface()).unwrap_err();
    assert!(matches!(error, ProbeError::Netns(_)), "{error}");
    assert_eq!(
        probes.detach(SLOT, world.interface()).unwrap().tx.packets,
        10
    );
    assert_eq!(probes.slots().unwrap(), BTreeSet::new());
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let Some((world, probes)) = counted(Kind::Veth, SLOT) else {
        return;
    };
    let interface = Interface {
        if_name: "net7",
        ..world.interface()
    };
    let error = probes.attach(Slot(0), interface).unwrap_err();
    assert!(
        matches!(&error, ProbeError::NoInterface { if_name, .. } if if_name == "net7"),
        "{error}"
    );
    assert_eq!(
        probes.slots().unwrap(),
        BTreeSet::from([SLOT]),
        "nothing may be left of it"
    );
}

#[test]
fn a_slot_beyond_the_map_is_refused() {
    let Some((world, probes)) = counted(Kind::Veth, SLOT) else {
        return;
    };
    let error = probes.attach(Slot(8), world.interface()).unwrap_err();
    assert!(
        matches!(
            error,
            ProbeError::NoSlot {
                slot: Slot(8),
                max: 8
            }
        ),
        "{error}"
    );
    assert_eq!(probes.counters(Slot(8)), Counters::default());
}

#[test]
fn a_map_of_another_size_is_refused_and_kept() {
    let Some((world, probes)) = counted(Kind::Veth, SLOT) else {
        return;
    };
    let Err(error) = Probes::open(&world.folder(), 16) else {
        panic!("opened")
    };
    assert!(matches!(error, ProbeError::ForeignMap { .. }), "{error}");
    world.datagrams(Direction::Tx, "10.9.0.2", 10);
    assert_eq!(probes.counters(SLOT).tx.packets, 10);
}
