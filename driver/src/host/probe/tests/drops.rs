//! What the kernel drops on a pod's interface is counted by its reason, and nothing else is.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

use aya::{
    EbpfLoader,
    maps::{HashMap, Map, MapData},
    programs::{
        RawTracePoint,
        links::{FdLink, PinnedLink},
    },
};
use netclaim_ebpf::drops::Cause;

use super::{super::*, world::*};

const SLOT: Slot = Slot(3);
const COUNT: u64 = 200;

/// A pod whose drops are told; nothing where that cannot be.
fn told(kind: Kind) -> Option<(World, Probes)> {
    let (world, probes) = counted(kind, SLOT)?;
    if let Some(why) = probes.drops_missing() {
        println!("skipped: the kernel has no reasons for drops: {why}");
        return None;
    }
    Some((world, probes))
}

/// Sends datagrams to a port of the pod that nobody listens on.
fn knock(world: &World, count: u64) {
    world.peer.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..count {
            // One that the pod's refusal reaches is refused here; it is gone all the same.
            let _ = socket.send_to(&[7; 100], "10.9.0.1:9");
        }
    });
}

fn of(probes: &Probes, slot: Slot, reason: &str) -> u64 {
    let drops = probes.drops(slot).unwrap();
    let found = drops.iter().find(|(known, _)| *known == reason);
    found.map_or(0, |(_, packets)| packets)
}

fn wait_for_drops(probes: &Probes, reason: &str, count: u64) {
    wait_for("all drops are counted", || {
        let found = of(probes, SLOT, reason);
        assert!(found <= count, "{found} of {count}");
        found == count
    });
}

#[test]
fn what_nobody_listens_to_is_counted_to_the_packet() {
    for kind in [Kind::Veth, Kind::Macvlan] {
        let Some((world, probes)) = told(kind) else {
            return;
        };
        assert_eq!(probes.drops(SLOT), Some(Drops::default()), "{kind:?}");
        knock(&world, COUNT);
        wait_for_drops(&probes, "NO_SOCKET", COUNT);
        assert_eq!(probes.drops(SLOT).unwrap().total(), COUNT);
        // What arrives is no drop.
        world.datagrams(Direction::Rx, "10.9.0.1", 50);
        assert_eq!(probes.drops(SLOT).unwrap().total(), COUNT);
    }
}

#[test]
fn a_reader_that_is_too_slow_is_told_from_none() {
    let Some((world, probes)) = told(Kind::Veth) else {
        return;
    };
    let slow = world.pod.inside(|| UdpSocket::bind("10.9.0.1:9").unwrap());
    knock(&world, 5_000);
    wait_for("its socket is full", || {
        of(&probes, SLOT, "SOCKET_RCVBUFF") > 0
    });
    assert_eq!(of(&probes, SLOT, "NO_SOCKET"), 0);
    drop(slow);
}

/// TCP takes the device off a packet before it looks at it.
#[test]
fn what_tcp_drops_is_laid_to_the_interface_that_it_came_in_by() {
    let Some((world, probes)) = told(Kind::Veth) else {
        return;
    };
    let listener = world
        .pod
        .inside(|| TcpListener::bind("10.9.0.1:9").unwrap());
    let mut talks = world
        .peer
        .inside(|| TcpStream::connect("10.9.0.1:9").unwrap());
    let (hears, _) = listener.accept().unwrap();
    drop(hears);
    assert_eq!(talks.read(&mut [0]).unwrap(), 0);
    talks.write_all(b"anybody there?").unwrap();
    wait_for_drops(&probes, "TCP_ABORT_ON_DATA", 1);
}

#[test]
fn who_is_not_ours_and_other_slots_are_not_counted() {
    let Some((world, probes)) = told(Kind::Veth) else {
        return;
    };
    let other = World::new(Kind::Veth);
    other.know_each_other();
    probes.attach(Slot(5), other.interface()).unwrap();
    let foreign = World::new(Kind::Veth);
    foreign.know_each_other();
    knock(&foreign, COUNT);
    knock(&other, 7);
    knock(&world, 3);
    wait_for_drops(&probes, "NO_SOCKET", 3);
    wait_for("the other's are counted", || {
        of(&probes, Slot(5), "NO_SOCKET") == 7
    });
    assert_eq!(probes.drops(Slot(4)), Some(Drops::default()));
}

#[test]
fn totals_outlive_the_driver_and_the_program_another_version() {
    let Some((world, probes)) = told(Kind::Veth) else {
        return;
    };
    let link = world.folder().join("drops");
    knock(&world, COUNT);
    wait_for_drops(&probes, "NO_SOCKET", COUNT);
    drop(probes);
    // Nobody is there, and it goes on.
    knock(&world, COUNT);
    let probes = world.probes();
    wait_for_drops(&probes, "NO_SOCKET", 2 * COUNT);
    let first = link_id(&link);
    probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!(link_id(&link), first, "its program was replaced by itself");
    drop(probes);
    replace_by_another_version(&link);
    knock(&world, 9);
    let probes = world.probes();
    assert_eq!(of(&probes, SLOT, "NO_SOCKET"), 2 * COUNT);
    probes.attach(SLOT, world.interface()).unwrap();
    knock(&world, COUNT);
    wait_for_drops(&probes, "NO_SOCKET", 3 * COUNT);
}

fn link_id(pin: &Path) -> u32 {
    PinnedLink::from_pin(pin)
        .map(|link| FdLink::from(link).info().unwrap().id())
        .unwrap()
}

/// Puts a program that counts nothing in the place of ours.
fn replace_by_another_version(pin: &Path) {
    fs::remove_file(pin).unwrap();
    let object = drops::object::OBJECT;
    let mut ebpf = EbpfLoader::new().btf(None).load(object).unwrap();
    let program = ebpf.program_mut(netclaim_ebpf::EMPTY).unwrap();
    let program: &mut RawTracePoint = program.try_into().unwrap();
    program.load().unwrap();
    let link = program.attach("kfree_skb").unwrap();
    let link = FdLink::from(program.take_link(link).unwrap());
    link.pin(pin).unwrap();
}

#[test]
fn a_slot_starts_from_nothing_again_and_its_last_drops_can_be_taken_twice() {
    let Some((world, probes)) = told(Kind::Veth) else {
        return;
    };
    knock(&world, COUNT);
    wait_for_drops(&probes, "NO_SOCKET", COUNT);
    for _ in 0..2 {
        probes.detach(SLOT, world.interface()).unwrap();
        knock(&world, 1);
        assert_eq!(of(&probes, SLOT, "NO_SOCKET"), COUNT);
    }
    probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!(probes.drops(SLOT), Some(Drops::default()));
}

#[test]
fn samples_hold_those_that_are_counted_and_forget_a_slot_with_its_interface() {
    let Some((world, probes)) = told(Kind::Veth) else {
        return;
    };
    assert_eq!(probes.dropped(), None);
    probes.sample_drops().unwrap();
    let sampled = || probes.dropped().unwrap().by_slot.clone();
    assert_eq!(sampled(), [(SLOT, Drops::default())].into());
    knock(&world, COUNT);
    wait_for_drops(&probes, "NO_SOCKET", COUNT);
    assert_eq!(sampled()[&SLOT].total(), 0);
    probes.sample_drops().unwrap();
    assert_eq!(sampled()[&SLOT].total(), COUNT);
    probes.detach(SLOT, world.interface()).unwrap();
    probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!(sampled(), [].into());
}

#[test]
fn what_finds_no_room_is_counted_as_such() {
    let Some((world, _)) = told(Kind::Veth) else {
        return;
    };
    // Causes of others take all the room.
    let pin = world.folder().join(netclaim_ebpf::drops::DROPS);
    let map = Map::HashMap(MapData::from_pin(pin).unwrap());
    let mut causes: HashMap<_, Cause, u64> = HashMap::try_from(map).unwrap();
    let others = (0..).map(|reason| Cause { slot: 7, reason });
    let room = others.take_while(|cause| causes.insert(cause, 1, 0).is_ok());
    assert!(room.count() >= 8 * 8);
    knock(&world, COUNT);
    let probes = world.probes();
    probes.attach(SLOT, world.interface()).unwrap();
    wait_for("all drops are counted as lost", || {
        probes.sample_drops().unwrap();
        probes.dropped().unwrap().lost == COUNT
    });
    assert_eq!(probes.drops(SLOT), Some(Drops::default()));
}

#[test]
fn without_the_kernels_types_all_but_drops_is_counted() {
    let Some((world, _)) = told(Kind::Veth) else {
        return;
    };
    let missing = Path::new("/sys/kernel/btf/missing");
    let probes = Probes::open_as_in(missing, &world.folder(), 8).unwrap();
    let why = probes.drops_missing().unwrap().to_string();
    assert!(why.contains("/sys/kernel/btf/missing"), "{why}");
    probes.attach(SLOT, world.interface()).unwrap();
    world.datagrams(Direction::Rx, "10.9.0.1", 10);
    probes.sample_drops().unwrap();
    assert_eq!(
        (probes.dropped(), probes.drops(SLOT)),
        (None, None),
        "unknown is not zero"
    );
    let last = probes.detach(SLOT, world.interface()).unwrap();
    assert_eq!(last.rx.packets, 10);
}
