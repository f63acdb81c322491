//! With whom a pod talks is told to the packet, of those interfaces alone that are to be recorded.

use std::{
    collections::BTreeMap,
    net::{IpAddr, UdpSocket},
    os::fd::AsRawFd as _,
};

use aya::programs::{SchedClassifier, TcAttachType, loaded_links};
use netclaim_core::flows::{Flow, FlowId, Recording};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket,
};

use super::{super::*, world::*};

const SLOT: Slot = Slot(3);
const COUNT: usize = 200;

/// A datagram of 100 bytes with its headers of UDP, IP and Ethernet.
const V4: u64 = 100 + 8 + 20 + 14;
const V6: u64 = 100 + 8 + 40 + 14;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;

/// A pod that is counted and whose flows are recorded.
fn recorded(kind: Kind) -> Option<(World, Probes)> {
    let (world, probes) = counted(kind, SLOT)?;
    probes.record_flows(SLOT, world.interface());
    if let Err(why) = of(&probes, SLOT) {
        println!("skipped: {}", why.message);
        return None;
    }
    Some((world, probes))
}

fn of(probes: &Probes, slot: Slot) -> Recording {
    let mut sampled = probes.flows(&BTreeSet::from([slot]));
    sampled.by_slot.remove(&slot).unwrap()
}

fn flows(probes: &Probes) -> BTreeMap<FlowId, Flow> {
    of(probes, SLOT).unwrap()
}

/// Packets and bytes of both directions.
type Four = [u64; 4];

fn sum<'a>(flows: impl IntoIterator<Item = &'a Flow>) -> Four {
    flows.into_iter().fold([0; 4], |[a, b, c, d], flow| {
        let Flow { rx, tx, .. } = flow;
        [a + rx.packets, b + rx.bytes, c + tx.packets, d + tx.bytes]
    })
}

/// What passed of a protocol, whichever ends it had.
fn by_protocol(probes: &Probes, protocol: u8, with_ports: bool) -> Four {
    let flows = flows(probes);
    let of = flows.iter().filter(|(id, _)| {
        matches!(id, FlowId::Ip { protocol: found, ports, .. }
            if *found == protocol && ports.is_some() == with_ports)
    });
    sum(of.map(|(_, flow)| flow))
}

/// All flows of an interface that began with it are what it counted since.
fn agree(world: &World, probes: &Probes) {
    let before = four(&probes.counters(SLOT));
    let flows = sum(flows(probes).values());
    assert_eq!(
        flows,
        before,
        "{world}: flows and counters",
        world = world.pod
    );
}

/// An echo request of 64 bytes, and what answers it.
fn ping(from: &Netns, to: &str) {
    let to: IpAddr = to.parse().unwrap();
    let (family, protocol, kind) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128),
    };
    let mut request = [0_u8; 64];
    request[0] = kind;
    // Of IPv4 the kernel does not fill the checksum in: all words but the first are zero.
    request[2..4].copy_from_slice(&(!(u16::from(kind) << 8)).to_be_bytes());
    from.inside(|| {
        let socket = socket(family, SockType::Raw, SockFlag::empty(), protocol).unwrap();
        let to = SockaddrStorage::from(std::net::SocketAddr::new(to, 0));
        let sent = sendto(socket.as_raw_fd(), &request, &to, MsgFlags::empty());
        assert_eq!(sent.unwrap(), 64);
    });
}

#[test]
fn udp_both_ways_is_told_to_the_packet_and_byte_by_its_ends() {
    for kind in [Kind::Veth, Kind::Macvlan] {
        let Some((world, probes)) = recorded(kind) else {
            return;
        };
        assert_eq!(flows(&probes), BTreeMap::new(), "{kind:?}");
        let port = world.datagrams(Direction::Tx, "10.9.0.2", COUNT);
        let own = world.datagrams(Direction::Rx, "10.9.0.1", COUNT / 2);
        let told = flows(&probes);
        assert_eq!(told.len(), 2, "{told:?}");
        let (remote, local) = (IpAddr::from([10, 9, 0, 2]), IpAddr::from([10, 9, 0, 1]));
        let sent = told.iter().find(|(id, _)| {
            matches!(id, FlowId::Ip { protocol: UDP, local: l, remote: r, ports: Some(ports) }
                if *l == local && *r == remote && ports.remote == port)
        });
        let (_, sent) = sent.unwrap_or_else(|| panic!("no flow to port {port}: {told:?}"));
        let count = COUNT as u64;
        assert_eq!(sum([sent]), [0, 0, count, count * V4], "{kind:?}");
        let heard = told
            .keys()
            .any(|id| matches!(id, FlowId::Ip { ports: Some(ports), .. } if ports.local == own));
        assert!(heard, "no flow to the pod's port {own}: {told:?}");
        let now = crate::clock::now();
        assert!(
            sent.first <= sent.last && sent.last <= now,
            "{sent:?} {now:?}"
        );
        assert!(now.since(sent.first) < DEADLINE, "{sent:?} {now:?}");
        assert_eq!(
            by_protocol(&probes, UDP, true),
            [count / 2, count / 2 * V4, count, count * V4]
        );
        agree(&world, &probes);
    }
}

#[test]
fn tcp_is_one_flow_with_both_directions() {
    let Some((world, probes)) = recorded(Kind::Veth) else {
        return;
    };
    world.stream(1 << 20);
    wait_for("the last packets have passed", || {
        let of = by_protocol(&probes, TCP, true);
        of == four(&probes.counters(SLOT)) && of[3] > 1 << 20
    });
    assert_eq!(flows(&probes).len(), 1, "{:?}", flows(&probes));
}

#[test]
fn icmp_arp_and_ipv6_are_told_and_nothing_is_left_out() {
    for kind in [Kind::Veth, Kind::Macvlan] {
        let Some((world, probes)) = recorded(kind) else {
            return;
        };
        (0..3).for_each(|_| ping(&world.pod, "10.9.0.2"));
        let icmp = 3 * (14 + 20 + 64);
        wait_for("all are answered", || {
            by_protocol(&probes, ICMP, false) == [3, icmp, 3, icmp]
        });

        // Nobody answers, and nobody is reached.
        let arp = world.pod.inside(|| {
            let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
            socket.send_to(&[7; 100], "10.9.0.77:9")
        });
        assert_eq!(arp.unwrap(), 100);
        wait_for("somebody was looked for", || {
            let flows = flows(&probes);
            let arp = flows.get(&FlowId::Link { ethertype: 0x0806 });
            arp.is_some_and(|flow| flow.tx.packets >= 1 && flow.tx.bytes % flow.tx.packets == 0)
        });

        world.speak_ipv6();
        world.datagrams(Direction::Tx, "fd09::2", COUNT);
        let count = COUNT as u64;
        let sent = by_protocol(&probes, UDP, true);
        assert_eq!(sent[2..], [count, count * V6], "{kind:?}");
        (0..2).for_each(|_| ping(&world.peer, "fd09::1"));
        // What the kernel says of its own accord is among it, but mostly to others.
        wait_for("the pings are told", || {
            let peer: IpAddr = "fd09::2".parse().unwrap();
            flows(&probes).iter().any(|(id, flow)| {
                matches!(id, FlowId::Ip { protocol: ICMP_V6, remote, .. } if *remote == peer)
                    && flow.rx.packets >= 2
                    && flow.tx.packets >= 2
            })
        });
        wait_for("flows and counters agree", || {
            sum(flows(&probes).values()) == four(&probes.counters(SLOT))
        });
    }
}

#[test]
fn fragments_after_the_first_have_no_ports_and_extension_headers_are_walked_over() {
    let Some((world, probes)) = recorded(Kind::Veth) else {
        return;
    };
    world.speak_ipv6();
    for (to, header) in [("10.9.0.2", 20_u64), ("fd09::2", 40)] {
        let to: IpAddr = to.parse().unwrap();
        let before = [
            by_protocol(&probes, UDP, true),
            by_protocol(&probes, UDP, false),
        ];
        let hears = world.peer.inside(|| UdpSocket::bind((to, 9)).unwrap());
        hears.set_read_timeout(Some(DEADLINE)).unwrap();
        world.pod.inside(|| {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).unwrap();
            socket.send_to(&[7; 4_000], (to, 9)).unwrap();
        });
        assert_eq!(hears.recv(&mut [0; 5_000]).unwrap(), 4_000);
        let after = [
            by_protocol(&probes, UDP, true),
            by_protocol(&probes, UDP, false),
        ];
        let passed = [0, 1].map(|at| [after[at][2] - before[at][2], after[at][3] - before[at][3]]);
        let fragment_header = if to.is_ipv4() { 0 } else { 8 };
        // 1,500 bytes hold 1,480 of IPv4, and of IPv6 the multiple of eight below 1,452.
        let first = (1_500 - header - fragment_header) / 8 * 8;
        let around = 14 + header + fragment_header;
        assert_eq!(passed[0], [1, first + around], "with ports, to {to}");
        let rest = 4_000 + 8 - first;
        assert_eq!(passed[1], [2, rest + 2 * around], "without, to {to}");
    }
}

#[test]
fn two_slots_are_apart_and_who_is_not_to_be_recorded_is_not() {
    let Some((world, probes)) = recorded(Kind::Veth) else {
        return;
    };
    let (other, silent) = (World::new(Kind::Veth), World::new(Kind::Veth));
    for (world, slot) in [(&other, Slot(5)), (&silent, Slot(6))] {
        world.know_each_other();
        probes.attach(slot, world.interface()).unwrap();
    }
    probes.record_flows(Slot(5), other.interface());
    world.datagrams(Direction::Tx, "10.9.0.2", 3);
    other.datagrams(Direction::Tx, "10.9.0.2", 7);
    silent.datagrams(Direction::Tx, "10.9.0.2", 11);
    assert_eq!(sum(flows(&probes).values())[2], 3);
    assert_eq!(sum(of(&probes, Slot(5)).unwrap().values())[2], 7);
    let all = probes.flows(&(0..8).map(Slot).collect());
    assert_eq!(
        all.by_slot.keys().copied().collect::<Vec<_>>(),
        [SLOT, Slot(5)]
    );
    assert_eq!(all.table.unwrap().used, 2);
}

/// Programs on the pod's interface, in their order.
fn programs(world: &World, side: TcAttachType) -> Vec<String> {
    let (_, programs) = world
        .pod
        .inside(|| SchedClassifier::query_tcx("net1", side).unwrap());
    let name = |program: &aya::programs::ProgramInfo| program.name_as_str().unwrap().to_owned();
    programs.iter().map(name).collect()
}

#[test]
fn it_runs_beside_what_counts_and_its_end_leaves_that_alone() {
    let Some((world, probes)) = recorded(Kind::Veth) else {
        return;
    };
    let sides = || [TcAttachType::Ingress, TcAttachType::Egress].map(|side| programs(&world, side));
    assert_eq!(sides(), [["count_rx", "flow_rx"], ["flow_tx", "count_tx"]]);
    let places = probes.verify(SLOT, world.interface()).unwrap();
    assert!(places.rx != Place::Gone && places.tx != Place::Gone);
    // To ask again changes nothing.
    world.datagrams(Direction::Tx, "10.9.0.2", 5);
    probes.record_flows(SLOT, world.interface());
    assert_eq!(sum(flows(&probes).values())[2], 5);
    // A driver that dies takes its flows along, and counts on.
    drop(probes);
    assert_eq!(sides(), [["count_rx"], ["count_tx"]]);
    let probes = world.probes();
    assert_eq!(probes.flows(&[SLOT].into()).by_slot, BTreeMap::new());
    probes.attach(SLOT, world.interface()).unwrap();
    probes.record_flows(SLOT, world.interface());
    assert_eq!(sides(), [["count_rx", "flow_rx"], ["flow_tx", "count_tx"]]);
    assert_eq!(flows(&probes), BTreeMap::new());
    assert_eq!(probes.counters(SLOT).tx.packets, 5);
    // Nothing is pinned where others see it.
    let pinned = fs::read_dir(world.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let pinned: BTreeSet<_> = pinned.map(|name| name.into_string().unwrap()).collect();
    assert!(
        !pinned
            .iter()
            .any(|name| name.to_lowercase().contains("flow")),
        "{pinned:?}"
    );
    probes.detach(SLOT, world.interface()).unwrap();
    assert_eq!(sides(), [[""; 0], [""; 0]]);
}

#[test]
fn a_slot_that_is_used_again_shows_nothing_of_before_and_what_was_taken_off_comes_back() {
    let Some((world, probes)) = recorded(Kind::Veth) else {
        return;
    };
    world.datagrams(Direction::Tx, "10.9.0.2", 5);
    probes.detach(SLOT, world.interface()).unwrap();
    let sampled = probes.flows(&[SLOT].into());
    assert_eq!(sampled.by_slot, BTreeMap::new());
    let table = sampled.table.unwrap();
    assert_eq!((table.used, table.forgotten, table.lost), (0, 0, 0));
    probes.attach(SLOT, world.interface()).unwrap();
    probes.record_flows(SLOT, world.interface());
    assert_eq!(flows(&probes), BTreeMap::new());
    world.datagrams(Direction::Tx, "10.9.0.2", 5);
    assert_eq!(sum(flows(&probes).values())[2], 5);
    // Somebody who takes off what is not his.
    take_off(&world, "flow_tx");
    world.datagrams(Direction::Tx, "10.9.0.2", 5);
    assert_eq!(sum(flows(&probes).values())[2], 5);
    probes.record_flows(SLOT, world.interface());
    world.datagrams(Direction::Tx, "10.9.0.2", 7);
    assert_eq!(sum(flows(&probes).values())[2], 7);
}

fn take_off(world: &World, name: &str) {
    let listed = world
        .pod
        .inside(|| SchedClassifier::query_tcx("net1", TcAttachType::Egress));
    let (_, programs) = listed.unwrap();
    let program = programs
        .iter()
        .find(|program| program.name_as_str() == Some(name));
    let program = program.unwrap().id();
    let link = loaded_links()
        .map(Result::unwrap)
        .find(|link| link.program_id() == program);
    link::detach(link.unwrap().id()).unwrap();
}

#[test]
fn a_full_table_forgets_the_idle_and_says_so() {
    let Some((world, probes)) = recorded(Kind::Veth) else {
        return;
    };
    let room = probes.flows(&[SLOT].into()).table.unwrap().room;
    assert!(room >= flows::object::FLOWS_AT_LEAST);
    let most = u16::try_from(room).unwrap() + 2_000;
    world.pod.inside(|| {
        let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
        for port in 1..=most {
            // What is not listened to is refused, if at all, to nobody's harm.
            let _ = socket.send_to(&[7; 10], ("10.9.0.2", port));
        }
    });
    let sampled = probes.flows(&[SLOT].into());
    let table = sampled.table.unwrap();
    assert!(table.used <= room, "{table:?}");
    assert!(table.used >= flows::object::FLOWS_AT_LEAST, "{table:?}");
    let began = u64::from(table.used) + table.forgotten;
    assert!(began >= u64::from(most) && table.lost == 0, "{table:?}");
    assert_eq!(
        sampled.by_slot[&SLOT].as_ref().unwrap().len(),
        table.used as usize
    );
}

#[test]
fn without_tcx_all_else_is_counted_and_it_says_what_is_needed() {
    let Some((world, _others, _links)) = super::neighbours::crowded() else {
        return;
    };
    let probes = world.probes();
    let counting = probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!(counting.mode, ProbeMode::Tc);
    probes.record_flows(SLOT, world.interface());
    let why = of(&probes, SLOT).unwrap_err();
    assert_eq!(why.reason, "KernelNotSupported");
    assert!(
        why.message.contains("Linux 6.6 or later"),
        "{}",
        why.message
    );
    world.datagrams(Direction::Rx, "10.9.0.1", 10);
    let last = probes.detach(SLOT, world.interface()).unwrap();
    assert_eq!(last.rx.packets, 10);
}

#[test]
fn where_it_cannot_be_recorded_all_else_is_counted_and_it_says_why() {
    let Some((world, probes)) = counted(Kind::Veth, SLOT) else {
        return;
    };
    let gone = Interface {
        if_name: "net9",
        ..world.interface()
    };
    probes.record_flows(SLOT, gone);
    let why = of(&probes, SLOT).unwrap_err();
    assert_eq!(why.reason, "InterfaceNotFound");
    world.datagrams(Direction::Rx, "10.9.0.1", 10);
    let last = probes.detach(SLOT, world.interface()).unwrap();
    assert_eq!(last.rx.packets, 10);
    assert_eq!(probes.flows(&[SLOT].into()).by_slot, BTreeMap::new());
}
