//! The page of an interface whose flows are told, and of one whose are not.

use netclaim_core::{
    attachment::Key,
    cluster::{FlowsTold, InterfaceId, Watched},
    failure::{Failure, Step},
    flows::{Flow, FlowId, Flows, InterfaceFlows, Line, Passed, Ports, Recorded, Speed, Table},
    snapshot::{Interface, InterfaceState},
};

use super::{press_then, talk, *};
use crate::source::Looked;

/// The first interface that is in its pod.
fn interface() -> Interface {
    let rows = talk::snapshot(0).interfaces.into_iter();
    let mut attached = rows.filter(|row| row.state == InterfaceState::Attached);
    attached.next().unwrap()
}

fn key(row: &Interface) -> Key {
    row.key.clone().unwrap()
}

fn ip(protocol: u8, local: &str, remote: &str, ports: Option<(u16, u16)>) -> FlowId {
    FlowId::Ip {
        protocol,
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        ports: ports.map(|(local, remote)| Ports { local, remote }),
    }
}

fn line(id: FlowId, (rx, tx): (u64, u64), speed: (u64, u64)) -> Line {
    let passed = |bytes| Passed {
        packets: bytes / 1_000,
        bytes,
    };
    Line {
        id,
        flow: Flow {
            rx: passed(rx),
            tx: passed(tx),
            first: Timestamp(talk::START),
            last: Timestamp(talk::START),
        },
        speed: Some(Speed {
            rx: speed.0,
            tx: speed.1,
        }),
    }
}

fn observed() -> Recorded {
    Recorded::Observed {
        flows: vec![
            line(
                ip(6, "10.10.1.2", "10.10.1.3", Some((40_312, 443))),
                (48_000_000, 912_345),
                (1_240_000, 22_300),
            ),
            line(
                ip(
                    17,
                    "fd00::2",
                    "fd00:1234:5678:9abc:def0:1234:5678:9abc",
                    Some((5_353, 53_530)),
                ),
                (0, 12_345_678),
                (0, 99_500),
            ),
            line(ip(1, "10.10.1.2", "10.10.1.1", None), (588, 588), (0, 0)),
            line(FlowId::Link { ethertype: 0x0806 }, (60, 42), (0, 0)),
        ],
        more: 3,
    }
}

/// A change that came at a time.
type Came = netclaim_core::cluster::Recorded;

fn told(recorded: Option<Recorded>, table: Option<Table>, at: Timestamp) -> Came {
    let row = interface();
    let flows = Flows {
        taken: at,
        interval: Some(Duration::from_secs(1)),
        interfaces: vec![InterfaceFlows {
            key: key(&row),
            claim: row.claim.clone(),
            pod: row.pod.clone(),
            recorded,
        }],
        table,
    };
    of(
        FlowsTold::Seen {
            flows: Arc::new(flows),
        },
        at,
    )
}

fn of(told: FlowsTold, at: Timestamp) -> Came {
    let row = interface();
    let of = Watched {
        claim: row.claim.uid,
        if_name: row.if_name,
    };
    Came {
        at,
        change: Change::Flows { of, told },
    }
}

/// A model with the page of that interface open.
fn open(change: Option<Came>) -> Model {
    let row = interface();
    let mut changes = talk::changes();
    changes.extend(change);
    let mut model = model(changes);
    press(&mut model, &format!("3/{}<enter><enter>", row.pod.name));
    model
}

/// The lines of the section.
fn section(model: &mut Model, columns: u16) -> String {
    let frame = frame(model, columns, 90);
    let lines = frame.lines().skip_while(|line| *line != " Flows");
    let lines = lines.take_while(|line| *line != " Timeline");
    lines.collect::<Vec<_>>().join("\n")
}

fn last() -> Timestamp {
    talk::changes().last().unwrap().at
}

#[test]
fn the_busiest_flows_are_a_table_of_the_page() {
    let mut model = open(Some(told(Some(observed()), None, last())));
    let small = section(&mut model, 80);
    assert!(
        small.lines().all(|line| line.chars().count() <= 80),
        "{small}"
    );
    insta::assert_snapshot!("flows-80", small);
    insta::assert_snapshot!("flows-120", section(&mut model, 120));
    model.theme.ascii = true;
    let ascii = section(&mut model, 80);
    assert!(ascii.is_ascii(), "{ascii}");
}

#[test]
fn old_speeds_are_none_and_a_full_table_is_said() {
    let table = Table {
        room: 8_448,
        used: 8_448,
        forgotten: 17,
        lost: 0,
    };
    let mut model = open(Some(told(Some(observed()), Some(table), last())));
    update(&mut model, Msg::Tick(last().plus(Duration::from_secs(20))));
    insta::assert_snapshot!("flows-old", section(&mut model, 80));
}

#[test]
fn what_is_not_told_says_why() {
    let at = last();
    let failure = Failure {
        step: Step::Probe,
        reason: "KernelNotSupported".into(),
        code: "kernel_not_supported".into(),
        message: "TCX did not take the programs".to_owned(),
    };
    let why = "flows of net1 are not recorded; write `observe: {flows: true}`".to_owned();
    let empty = Recorded::Observed {
        flows: vec![],
        more: 0,
    };
    for (change, expected) in [
        (None, "Its node has not told them yet."),
        (
            Some(of(FlowsTold::Unseen { why: why.clone() }, at)),
            why.as_str(),
        ),
        (
            Some(told(Some(Recorded::Unavailable { failure }), None, at)),
            "not recorded: TCX did not take the programs",
        ),
        (Some(told(None, None, at)), "Recording is about to begin."),
        (
            Some(told(Some(empty), None, at)),
            "Nothing has passed since its node began to look.",
        ),
    ] {
        let section = section(&mut open(change), 80);
        assert!(section.contains(expected), "{expected}: {section}");
    }
}

#[test]
fn flows_are_asked_for_while_such_a_page_is_open() {
    let looked = |model: &mut Model, keys: &str| {
        press_then(model, keys, |_| {});
        update(model, Msg::Due)
            .into_iter()
            .find_map(|cmd| match cmd {
                Cmd::Look(looked) => Some(looked),
                _ => None,
            })
    };
    let row = interface();
    let expected = Looked {
        node: "kind-worker".parse().unwrap(),
        of: Watched {
            claim: row.claim.uid.clone(),
            if_name: row.if_name.clone(),
        },
    };
    let mut model = model(talk::changes());
    press(&mut model, &format!("3/{}<enter>", row.pod.name));
    assert_eq!(looked(&mut model, ""), None);
    assert_eq!(looked(&mut model, "<enter>"), Some(Some(expected)));
    // Help lies over it; it is still there.
    assert_eq!(looked(&mut model, "?"), None);
    assert_eq!(looked(&mut model, "?"), None);
    assert_eq!(looked(&mut model, "<esc>"), Some(None));
    // A claim's page and one of an interface that is not in its pod ask for nothing.
    press(&mut model, "<esc>1");
    assert_eq!(looked(&mut model, "<enter>"), None);
    press(&mut model, "<esc>3/state:failed<enter>");
    assert_eq!(looked(&mut model, "<enter>"), None);
    assert!(!model.layers.is_empty());
}

#[test]
fn flows_of_another_interface_are_not_shown() {
    let at = last();
    let mut other = told(Some(observed()), None, at);
    if let Change::Flows { of, .. } = &mut other.change {
        of.claim = "another".parse().unwrap();
    }
    let mut model = open(Some(other));
    let row = interface();
    let id = InterfaceId {
        claim: row.claim.uid.clone(),
        if_name: row.if_name.as_str().into(),
        ended: None,
    };
    assert!(model.cluster.flows(&id).is_none());
    assert!(section(&mut model, 80).contains("has not told them yet"));
}
