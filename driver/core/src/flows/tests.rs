use std::{net::SocketAddr, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    attachment::{Attachment, Key, ProbeState},
    claim::{ClaimRef, PodRef, samples::share},
    cni::AddResult,
    fact::Fact,
    failure::Step,
    ledger::Ledger,
};

/// What a program writes for two ends: see the layout in `netclaim-ebpf`.
fn raw(protocol: u8, local: SocketAddr, remote: SocketAddr) -> Raw {
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    };
    Raw {
        ethertype: if local.is_ipv4() { 0x0800 } else { 0x86dd },
        protocol,
        local: bytes(local.ip()),
        remote: bytes(remote.ip()),
        local_port: local.port(),
        remote_port: remote.port(),
    }
}

fn ends() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let of =
        |a: IpAddr, b: IpAddr, (p, q): (u16, u16)| (SocketAddr::new(a, p), SocketAddr::new(b, q));
    let v4 = any::<(Ipv4Addr, Ipv4Addr, (u16, u16))>();
    let v6 = any::<(Ipv6Addr, Ipv6Addr, (u16, u16))>();
    prop_oneof![
        v4.prop_map(move |(a, b, ports)| of(a.into(), b.into(), ports)),
        v6.prop_map(move |(a, b, ports)| of(a.into(), b.into(), ports)),
    ]
}

proptest! {
    #[test]
    fn both_ends_are_read_as_the_kernel_wrote_them(protocol in 1_u8.., (local, remote) in ends()) {
        let id = FlowId::from(raw(protocol, local, remote));
        let ports = Ports { local: local.port(), remote: remote.port() };
        let ports = (ports != Ports { local: 0, remote: 0 }).then_some(ports);
        let expected = FlowId::Ip {
            protocol,
            local: local.ip(),
            remote: remote.ip(),
            ports,
        };
        prop_assert_eq!(id, expected);
        let peer = if ports.is_some() { remote.to_string() } else { remote.ip().to_string() };
        prop_assert_eq!(id.peer(), Some(peer));
    }

    /// Whatever a program writes, two flows that differ in it stay two, but for what it never writes.
    #[test]
    fn nothing_is_read_that_was_not_written(
        ethertype: u16, protocol: u8, local: [u8; 16], remote: [u8; 16], ports: (u16, u16),
    ) {
        let (local_port, remote_port) = ports;
        let raw = Raw { ethertype, protocol, local, remote, local_port, remote_port };
        let id = FlowId::from(raw);
        prop_assert_eq!(id.ethertype(), ethertype);
        let is_ip = ethertype == 0x0800 || ethertype == 0x86dd;
        prop_assert_eq!(matches!(id, FlowId::Ip { .. }), is_ip);
        let text = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(serde_json::from_str::<FlowId>(&text).unwrap(), id);
    }
}

#[test]
fn what_is_not_ip_or_cannot_be_read_is_laid_to_its_ethertype() {
    let of = |ethertype| {
        let id = FlowId::from(Raw {
            ethertype,
            ..Raw::default()
        });
        (id.peer(), id.protocol())
    };
    for (ethertype, protocol) in [
        (0x0806, "arp"),
        (0x88cc, "0x88cc"),
        (0x0800, "ipv4?"),
        (0x86dd, "ipv6?"),
    ] {
        assert_eq!(of(ethertype), (None, protocol.to_owned()));
    }
}

#[test]
fn ends_and_protocols_are_written_as_people_do() {
    let of = |protocol, local: &str, remote: &str| {
        FlowId::from(raw(
            protocol,
            local.parse().unwrap(),
            remote.parse().unwrap(),
        ))
    };
    let tcp = of(6, "[fd00::1]:40000", "[fd00::2]:443");
    assert_eq!(
        (tcp.protocol().as_str(), tcp.peer().unwrap().as_str()),
        ("tcp", "[fd00::2]:443")
    );
    let ping = of(1, "10.0.0.1:0", "10.0.0.2:0");
    assert_eq!(
        (ping.protocol().as_str(), ping.peer().unwrap().as_str()),
        ("icmp", "10.0.0.2")
    );
    assert_eq!(of(89, "10.0.0.1:0", "10.0.0.2:0").protocol(), "proto 89");
}

/// Puts an interface into a pod of this name.
fn attach(ledger: &mut Ledger, pod: &str, slot: Option<u32>, asks: bool) -> Key {
    let key = Key {
        sandbox: format!("sandbox-{pod}").parse().unwrap(),
        if_name: "net1".parse().unwrap(),
    };
    let mut device = share("net1", "net");
    device.observe_flows = asks;
    let attachment = Attachment {
        key: key.clone(),
        claim: ClaimRef {
            namespace: "default".parse().unwrap(),
            name: format!("claim-{pod}").parse().unwrap(),
            uid: format!("uid-{pod}").parse().unwrap(),
        },
        pod: PodRef {
            namespace: "default".parse().unwrap(),
            name: pod.parse().unwrap(),
            uid: format!("pod-{pod}").parse().unwrap(),
        },
        netns: "/run/netns/cni-1".to_owned(),
        device,
        slot: slot.map(Slot),
    };
    ledger.apply(Timestamp(1), &Fact::Attaching(attachment));
    let attached = Fact::Attached {
        key: key.clone(),
        result: AddResult::default(),
        probe: slot.is_none().then(|| ProbeState::Missing {
            failure: failure("no slot is free"),
            base: None,
        }),
        late: false,
        timings: vec![],
    };
    ledger.apply(Timestamp(2), &attached);
    key
}

fn failure(message: &str) -> Failure {
    Failure {
        step: Step::Probe,
        reason: "KernelRefused".into(),
        code: "kernel_refused".into(),
        message: message.to_owned(),
    }
}

fn wanted(claim: Option<&str>, if_name: Option<&str>) -> Wanted {
    Wanted {
        claim: claim.map(|uid| uid.parse().unwrap()),
        if_name: if_name.map(|name| name.parse().unwrap()),
    }
}

/// Flows by their ethertype, with what was received and sent.
fn flows<const N: usize>(flows: [(u16, u64, u64); N]) -> Seen {
    let passed = |bytes| Passed { packets: 1, bytes };
    flows
        .map(|(ethertype, rx, tx)| {
            let flow = Flow {
                rx: passed(rx),
                tx: passed(tx),
                first: Timestamp(1),
                last: Timestamp(2),
            };
            (FlowId::Link { ethertype }, flow)
        })
        .into()
}

fn sampled<const N: usize>(slots: [(u32, Recording); N]) -> Sampled {
    Sampled {
        by_slot: slots.map(|(slot, flows)| (Slot(slot), flows)).into(),
        table: None,
    }
}

/// Ethertypes in their order, with the bytes per second of both directions.
fn told(flows: &Flows) -> Vec<(u16, Option<(u64, u64)>)> {
    let [row] = flows.interfaces.as_slice() else {
        panic!("{flows:?}")
    };
    let Some(Recorded::Observed { flows, .. }) = &row.recorded else {
        panic!("{row:?}")
    };
    let speed = |line: &Line| line.speed.map(|speed| (speed.rx, speed.tx));
    flows
        .iter()
        .map(|line| (line.id.ethertype(), speed(line)))
        .collect()
}

#[test]
fn the_busiest_of_the_last_interval_come_first_and_then_those_with_most() {
    let mut ledger = Ledger::default();
    attach(&mut ledger, "one", Some(0), true);
    let mut watch = Watch::new(Wanted::default(), 3);
    let mut next = |recording, at| {
        watch.next(
            (&ledger, &ledger),
            sampled([(0, Ok(recording))]),
            Timestamp(at),
        )
    };
    let first = next(flows([(1, 10, 0), (2, 30, 0), (3, 0, 20)]), 1_000);
    assert_eq!(told(&first), [(2, None), (3, None), (1, None)]);
    assert_eq!(first.interval, None);
    // 1 is fast, 3 was forgotten and began anew, 4 is new, 2 rests: of four three are told.
    let then = next(
        flows([(1, 510, 0), (2, 30, 0), (3, 0, 8), (4, 4, 2)]),
        3_000,
    );
    assert_eq!(
        told(&then),
        [(1, Some((250, 0))), (3, Some((0, 4))), (4, Some((2, 1)))]
    );
    assert_eq!(then.interval, Some(Duration::from_secs(2)));
    let Some(Recorded::Observed { more, .. }) = then.interfaces[0].recorded else {
        panic!("{then:?}")
    };
    assert_eq!(more, 1);
}

#[test]
fn what_is_not_recorded_says_why_and_is_not_empty() {
    let mut ledger = Ledger::default();
    attach(&mut ledger, "begins", Some(0), true);
    attach(&mut ledger, "fails", Some(1), true);
    attach(&mut ledger, "full", None, true);
    attach(&mut ledger, "silent", Some(3), false);
    let mut watch = Watch::new(Wanted::default(), 3);
    let sampled = sampled([(1, Err(failure("no TCX"))), (3, Ok(flows([(1, 1, 1)])))]);
    let flows = watch.next((&ledger, &ledger), sampled, Timestamp(1));
    let rows = flows.interfaces.iter().map(|row| {
        let why = row.recorded.as_ref().map(|recorded| match recorded {
            Recorded::Unavailable { failure } => failure.message.as_str(),
            Recorded::Observed { .. } => "observed",
        });
        (row.pod.name.as_str(), why)
    });
    let expected = [
        ("begins", None),
        ("fails", Some("no TCX")),
        ("full", Some("no slot is free")),
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

#[test]
fn a_slot_that_changed_hands_while_it_was_read_shows_nobodys_flows() {
    let (mut earlier, mut now) = (Ledger::default(), Ledger::default());
    attach(&mut earlier, "before", Some(0), true);
    attach(&mut now, "after", Some(0), true);
    let mut watch = Watch::new(Wanted::default(), 3);
    let sampled = sampled([(0, Ok(flows([(1, 1, 1)])))]);
    let flows = watch.next((&earlier, &now), sampled, Timestamp(1));
    assert_eq!(flows.interfaces.len(), 1);
    assert_eq!(flows.interfaces[0].recorded, None);
}

#[test]
fn who_does_not_ask_is_told_how_and_who_is_not_there_is_not_found() {
    let mut ledger = Ledger::default();
    attach(&mut ledger, "asks", Some(0), true);
    attach(&mut ledger, "silent", Some(1), false);
    let why = |claim, if_name| {
        let refused = wanted(claim, if_name).check(&ledger);
        refused.map_err(|why| why.to_string())
    };
    for claim in [None, Some("uid-asks")] {
        for if_name in [None, Some("net1")] {
            assert_eq!(why(claim, if_name), Ok(()), "{claim:?} {if_name:?}");
        }
    }
    for if_name in [None, Some("net1")] {
        let words = why(Some("uid-silent"), if_name).unwrap_err();
        assert_eq!(
            words,
            "flows of net1 are not recorded, because claim default/claim-silent does not ask for \
             them; write `observe: {flows: true}` beside `config` in the configuration of the claim, \
             its template or its DeviceClass, and make the pod anew"
        );
    }
    let nobody = why(Some("uid-nobody"), Some("net1")).unwrap_err();
    assert!(nobody.contains("claim with UID uid-nobody"), "{nobody}");
    for claim in [None, Some("uid-asks")] {
        let absent = why(claim, Some("net9")).unwrap_err();
        assert!(absent.contains("an interface net9"), "{absent}");
    }
    // None is asked for by name: some may come.
    assert_eq!(Wanted::default().check(&Ledger::default()), Ok(()));
}
