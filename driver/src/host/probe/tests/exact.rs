//! Our numbers are the kernel's, to the packet and to the byte.

use std::{net::UdpSocket, os::fd::AsRawFd as _};

use nix::libc;

use super::{super::*, world::*};

const SLOT: Slot = Slot(3);
/// A socket's receive buffer holds them all.
const COUNT: usize = 200;

/// Attaches, lets `traffic` pass, and compares with what `ip -s link` says of it.
fn check(kind: Kind, traffic: impl FnOnce(&World)) -> Option<Counters> {
    if skipped() {
        return None;
    }
    let world = World::new(kind);
    world.know_each_other();
    let probes = world.probes();
    let counting = probes.attach(SLOT, world.interface()).unwrap();
    assert_eq!(
        (counting.mode, counting.change),
        (ProbeMode::Tcx, Change::Attached)
    );
    assert_eq!(counting.base.uncertain_packets, 0);
    traffic(&world);
    let mut seen = Vec::new();
    wait_for("ours and the kernel's agree", || {
        let total = probes.counters(SLOT).plus(&counting.base.counters);
        let kernel = world.pod.kernel();
        let nothing = Kernel {
            rx: (0, 0),
            tx: (0, 0),
            tx_dropped: 0,
        };
        seen = vec![four(&total), kernel.since(&nothing)];
        seen[0] == seen[1] || std::thread::panicking()
    });
    Some(probes.counters(SLOT))
}

/// Bytes of a datagram on Ethernet.
const V4: u64 = 14 + 20 + 8 + 100;
const V6: u64 = 14 + 40 + 8 + 100;

/// Headers of a TCP segment with timestamps on Ethernet.
const TCP: u64 = 14 + 20 + 32;

fn check_datagrams(kind: Kind, direction: Direction, to: &str, bytes: u64) {
    let Some(counters) = check(kind, |world| {
        if bytes == V6 {
            world.speak_ipv6();
        }
        world.datagrams(direction, to, COUNT);
    }) else {
        return;
    };
    let (traffic, other) = match direction {
        Direction::Rx => (counters.rx, counters.tx),
        Direction::Tx => (counters.tx, counters.rx),
    };
    let count = COUNT as u64;
    // Joining a group and finding a neighbour are packets as well.
    assert!(
        (count..count + 10).contains(&traffic.packets),
        "{traffic:?}"
    );
    assert!(other.packets < 10, "{other:?}");
    assert!(
        (count * bytes..count * bytes + 1000).contains(&traffic.bytes),
        "{traffic:?}"
    );
    assert_eq!(traffic.segments, traffic.packets);
    assert!(
        traffic.peak_bytes_per_second >= traffic.bytes / 10,
        "{traffic:?}"
    );
}

#[test]
fn ipv4_on_veth() {
    check_datagrams(Kind::Veth, Direction::Tx, "10.9.0.2", V4);
    check_datagrams(Kind::Veth, Direction::Rx, "10.9.0.1", V4);
}

#[test]
fn ipv4_on_macvlan() {
    check_datagrams(Kind::Macvlan, Direction::Tx, "10.9.0.2", V4);
    check_datagrams(Kind::Macvlan, Direction::Rx, "10.9.0.1", V4);
}

#[test]
fn ipv6() {
    check_datagrams(Kind::Veth, Direction::Tx, "fd09::2", V6);
    check_datagrams(Kind::Macvlan, Direction::Rx, "fd09::1", V6);
}

#[test]
fn multicast() {
    check_datagrams(Kind::Veth, Direction::Tx, "239.1.2.3", V4);
    check_datagrams(Kind::Veth, Direction::Rx, "239.1.2.3", V4);
    check_datagrams(Kind::Macvlan, Direction::Tx, "239.1.2.3", V4);
    check_datagrams(Kind::Macvlan, Direction::Rx, "239.1.2.3", V4);
}

#[test]
fn arp() {
    for kind in [Kind::Veth, Kind::Macvlan] {
        let counters = check(kind, |world| {
            ip(&format!("-n {} neigh del 10.9.0.2 dev net1", world.pod));
            world.datagrams(Direction::Tx, "10.9.0.2", 1);
        });
        let Some(Counters { rx, tx }) = counters else {
            return;
        };
        // Question and datagram out, answer in.
        assert_eq!((tx.packets, tx.bytes), (2, 42 + V4), "{kind:?}");
        assert_eq!((rx.packets, rx.bytes), (1, 42), "{kind:?}");
    }
}

#[test]
fn tcp_with_segmentation_offload() {
    for kind in [Kind::Veth, Kind::Macvlan] {
        let Some(counters) = check(kind, |world| world.stream(4 << 20)) else {
            return;
        };
        let Counters { rx, tx } = counters;
        assert!(
            tx.segments > 2 * tx.packets,
            "{kind:?}: no large buffers: {tx:?}"
        );
        assert!(tx.segments >= (4 << 20) / 1460, "{kind:?}: {tx:?}");
        assert!(rx.packets > 0, "{kind:?}: no acknowledgement: {rx:?}");
    }
}

/// What leaves is cut behind our program, so what arrives at the peer is what we call segments.
#[test]
fn segments_are_what_arrives_behind_segmentation() {
    if skipped() {
        return;
    }
    for kind in [Kind::Veth, Kind::Macvlan] {
        let world = World::new(kind);
        world.know_each_other();
        match &world.node {
            Some(node) => node.inside(|| stop_segmentation_offload("uplink")),
            None => world.pod.inside(|| stop_segmentation_offload("net1")),
        }
        let probes = world.probes();
        let before = world.peer.kernel();
        probes.attach(SLOT, world.interface()).unwrap();
        world.stream(1 << 20);
        wait_for("all segments arrived at the peer", || {
            let tx = probes.counters(SLOT).tx;
            let [arrived, ..] = world.peer.kernel().since(&before);
            // The pod's veth does not segment itself, so it counts behind that, headers and all.
            let behind = (tx.segments, tx.bytes + (tx.segments - tx.packets) * TCP);
            tx.segments == arrived && (world.node.is_some() || world.pod.kernel().tx == behind)
        });
        let tx = probes.counters(SLOT).tx;
        assert!(
            tx.segments > 2 * tx.packets,
            "{kind:?}: no large buffers: {tx:?}"
        );
    }
}

/// Sends into a queue without room on `netns`'s `device`: our packets, and what the kernel says was
/// sent and what was dropped.
fn refused(kind: Kind, netns: impl Fn(&World) -> &Netns, device: &str) -> [u64; 3] {
    let world = World::new(kind);
    world.know_each_other();
    let probes = world.probes();
    probes.attach(SLOT, world.interface()).unwrap();
    let before = world.pod.kernel();
    tc(
        netns(&world),
        &format!("qdisc add dev {device} root pfifo limit 0"),
    );
    world.pod.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..COUNT {
            // Some of the kernel's ways to refuse reach the socket.
            let _ = socket.send_to(&[7; 100], "10.9.0.2:9");
        }
    });
    let kernel = world.pod.kernel();
    let [_, _, sent, _] = kernel.since(&before);
    let dropped = kernel.tx_dropped - before.tx_dropped;
    [probes.counters(SLOT).tx.packets, sent, dropped]
}

#[test]
fn what_a_parent_refuses_is_a_packet_here_and_tx_dropped_there() {
    if skipped() {
        return;
    }
    let refused = refused(
        Kind::Macvlan,
        |world| world.node.as_ref().unwrap(),
        "uplink",
    );
    assert_eq!(refused, [COUNT as u64, 0, COUNT as u64]);
}

#[test]
fn what_a_devices_own_queue_refuses_is_a_packet_here_and_nothing_there() {
    if skipped() {
        return;
    }
    for kind in [Kind::Veth, Kind::Macvlan] {
        let refused = refused(kind, |world| &world.pod, "net1");
        assert_eq!(refused, [COUNT as u64, 0, 0], "{kind:?}");
    }
}

/// `ethtool -K if_name tso off`.
fn stop_segmentation_offload(if_name: &str) {
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    const ETHTOOL_STSO: u32 = 0x1f;
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        value: *const [u32; 2],
        rest: [u64; 2],
    }
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let value = [ETHTOOL_STSO, 0];
    let mut request = Request {
        name: [0; 16],
        value: &raw const value,
        rest: [0; 2],
    };
    request.name[..if_name.len()].copy_from_slice(if_name.as_bytes());
    #[expect(unsafe_code, reason = "an ioctl")]
    // SAFETY: a `struct ifreq` whose data is a `struct ethtool_value`; both outlive the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw const request) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
