use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use super::*;
use crate::{
    attachment::{Attachment, ProbeMode, Slot},
    claim::{PreparedClaim, PreparedDevice, samples::share},
    counters::Traffic,
    drops::{Dropped, Known},
    fact::{Fact, Refused},
    failure::Step,
    inventory::{Inventory, Mode},
    ledger::Ledger,
};

const NETNS: &str = "/run/netns/cni-1";

#[test]
fn a_prepared_device_is_waiting_since_it_was_prepared() {
    let ledger = told(&[(5, prepared()), (9, prepared())]);
    let rows = view(&ledger, 10).interfaces;
    let [row] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    assert_eq!(
        (row.state, row.since, &row.key),
        (InterfaceState::Waiting, Timestamp(5), &None)
    );
    assert_eq!(
        (row.network.as_str(), row.link.as_str()),
        ("macvlan-eth1", "eth1")
    );
    assert_eq!(row.counters, None);
    assert_eq!(row.link_state, Some(LinkState::Down));
}

#[test]
fn each_phase_has_its_state() {
    let failed = || Fact::AttachFailed {
        key: key(),
        failure: failure(),
        timings: vec![],
    };
    let gone = || Fact::Detached {
        key: key(),
        last: None,
        drops: None,
        timings: vec![],
    };
    check(&[prepared(), attaching()], &[InterfaceState::Attaching]);
    check(
        &[prepared(), attaching(), attached()],
        &[InterfaceState::Attached],
    );
    let out = Fact::Detaching { key: key() };
    check(
        &[prepared(), attaching(), attached(), out],
        &[InterfaceState::Detaching],
    );
    check(
        &[prepared(), attaching(), failed()],
        &[InterfaceState::Failed],
    );
    // The failure and what happened are told in one row, not in two.
    check(
        &[prepared(), attaching(), failed(), gone()],
        &[InterfaceState::Failed],
    );
    let ended = [InterfaceState::Waiting, InterfaceState::Ended];
    check(&[prepared(), attaching(), attached(), gone()], &ended);
    check(&[attaching(), attached()], &[InterfaceState::Attached]);
}

fn check(facts: &[Fact], expected: &[InterfaceState]) {
    let facts: Vec<_> = facts.iter().map(|fact| (1, fact.clone())).collect();
    let view = view(&told(&facts), 1);
    let found: Vec<_> = view.interfaces.iter().map(|row| row.state).collect();
    assert_eq!(found, expected, "{facts:?}");
}

#[test]
fn a_failed_row_tells_why_and_what_happened() {
    let ledger = told(&[
        (1, prepared()),
        (2, attaching()),
        (
            3,
            Fact::AttachFailed {
                key: key(),
                failure: failure(),
                timings: vec![],
            },
        ),
        (
            4,
            Fact::Detached {
                key: key(),
                last: None,
                drops: None,
                timings: vec![],
            },
        ),
    ]);
    let rows = view(&ledger, 5).interfaces;
    assert_eq!(rows[0].since, Timestamp(3));
    assert_eq!(rows[0].failure, Some(failure()));
    let told: Vec<_> = rows[0]
        .timeline
        .iter()
        .map(|moment| moment.what.as_ref())
        .collect();
    assert_eq!(told, ["attaching", "failed", "detached"]);
}

#[test]
fn an_attached_row_shows_what_cni_and_the_probe_said() {
    let ledger = told(&[(1, prepared()), (2, attaching()), (3, attached())]);
    let rows = view(&ledger, 10).interfaces;
    let row = &rows[0];
    assert_eq!(row.mac.as_deref(), Some("0a:00:00:00:00:01"));
    assert_eq!(row.ips, ["10.10.1.2/24"]);
    assert_eq!(row.mtu, Some(1450));
    // Three packets had passed before the probe, seven were counted.
    assert_eq!(row.counters.unwrap().rx.packets, 10);
    assert_eq!(row.counters.unwrap().rx.peak_bytes_per_second, 600);
}

#[test]
fn what_is_not_counted_is_not_zero() {
    let missing = ProbeState::Missing {
        failure: failure(),
        base: None,
    };
    let uncounted = told(&[
        (1, prepared()),
        (2, attaching()),
        (3, attached()),
        (
            4,
            Fact::ProbeChanged {
                key: key(),
                probe: missing,
            },
        ),
    ]);
    assert_eq!(view(&uncounted, 5).interfaces[0].counters, None);

    let unread = told(&[(2, attaching()), (3, attached())]);
    let none = BTreeMap::new();
    let nri = NriState {
        connected: true,
        since: Timestamp(0),
        runtime: None,
    };
    let view = Snapshot::new(&unread, &inventory(), &none, nri, identity(), Timestamp(5));
    assert_eq!(view.interfaces[0].counters, None);
}

/// The state of drops and those of the first row, with `known` on record and its slot counting.
fn dropped(ledger: &Ledger, known: &Known) -> (Option<DropsState>, Option<Drops>) {
    let view = view(ledger, 5).with_drops(ledger, known);
    (view.drops, view.interfaces[0].drops.clone())
}

#[test]
fn drops_are_told_of_what_is_counted_and_unknown_is_not_zero() {
    let attached = told(&[(2, attaching()), (3, attached())]);
    let drops = Drops::from_iter([("NO_SOCKET".into(), 3)]);
    let of = |slot| Dropped {
        by_slot: BTreeMap::from([(Slot(slot), drops.clone())]),
        lost: 9,
    };
    let counting = |lost| Some(DropsState::Counting { lost });
    let known = |slot| Ok(Some(Arc::new(of(slot))));
    assert_eq!(
        dropped(&attached, &known(0)),
        (counting(9), Some(drops.clone()))
    );
    assert_eq!(dropped(&attached, &known(1)), (counting(9), None));
    assert_eq!(dropped(&attached, &Ok(None)), (counting(0), None));
    let failure = failure();
    let missing = Some(DropsState::Missing {
        failure: failure.clone(),
    });
    assert_eq!(dropped(&attached, &Err(failure.clone())), (missing, None));

    // Not counted, or no longer: what is in its slot is another's.
    let probe = ProbeState::Missing {
        failure,
        base: None,
    };
    let uncounted = Fact::ProbeChanged { key: key(), probe };
    let uncounted = told(&[(2, attaching()), (3, self::attached()), (4, uncounted)]);
    assert_eq!(dropped(&uncounted, &known(0)), (counting(9), None));
    let out = Fact::Detaching { key: key() };
    let leaving = told(&[(2, attaching()), (3, self::attached()), (4, out)]);
    assert_eq!(dropped(&leaving, &known(0)), (counting(9), None));
}

#[test]
fn the_sums_go_on_while_it_is_taken_out_and_while_its_probe_is_reported_as_taken() {
    let taken = Fact::ProbeChanged {
        key: key(),
        probe: ProbeState::Missing {
            failure: failure(),
            base: Some(Box::new(counters(4))),
        },
    };
    for (fact, packets) in [(Fact::Detaching { key: key() }, 10), (taken, 11)] {
        let ledger = told(&[
            (1, prepared()),
            (2, attaching()),
            (3, attached()),
            (4, fact),
        ]);
        let rows = view(&ledger, 5).interfaces;
        assert_eq!(rows[0].counters.unwrap().rx.packets, packets, "{rows:?}");
    }
}

#[test]
fn an_ended_row_keeps_its_final_counters_for_two_minutes() {
    let last = Some(counters(42));
    let drops = Some(Drops::from_iter([("NO_SOCKET".into(), 3)]));
    let ledger = told(&[
        (1, prepared()),
        (2, attaching()),
        (3, attached()),
        (
            4,
            Fact::Detached {
                key: key(),
                last,
                drops: drops.clone(),
                timings: vec![],
            },
        ),
        (5, Fact::Unprepared { claim: claim().uid }),
    ]);
    let shown = view(&ledger, 120_004).interfaces;
    assert_eq!(
        (shown[0].state, shown[0].counters),
        (InterfaceState::Ended, last)
    );
    assert_eq!(shown[0].drops, drops);
    assert_eq!(view(&ledger, 120_005).interfaces, []);
    assert_eq!(Interface::all_ended(&ledger, &[]).len(), 1);
}

#[test]
fn a_device_counts_the_prepared_devices_that_use_it() {
    assert_eq!(view(&told(&[]), 1).devices[0].used, 0);
    assert_eq!(view(&told(&[(1, prepared())]), 1).devices[0].used, 1);
}

#[test]
fn a_refused_claim_is_told_with_its_reason() {
    let refused = Fact::Refused(Refused {
        claim: claim(),
        pod: None,
        devices: vec![],
        failure: failure(),
    });
    let claims = view(&told(&[(1, refused.clone())]), 1).claims;
    assert_eq!((claims.len(), &claims[0].refused), (1, &Some(failure())));
    let again = view(&told(&[(1, prepared()), (2, refused)]), 2).claims;
    assert_eq!((again.len(), &again[0].refused), (1, &Some(failure())));
    assert_eq!(again[0].devices.len(), 1);
}

fn told(facts: &[(u64, Fact)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (at, fact) in facts {
        ledger.apply(Timestamp(*at), fact);
    }
    ledger
}

fn view(ledger: &Ledger, at: u64) -> Snapshot {
    let counted = BTreeMap::from([(Slot(0), counters(7))]);
    let nri = NriState {
        connected: true,
        since: Timestamp(0),
        runtime: None,
    };
    Snapshot::new(
        ledger,
        &inventory(),
        &counted,
        nri,
        identity(),
        Timestamp(at),
    )
}

fn identity() -> Identity {
    Identity {
        node: "worker-1".parse().unwrap(),
        driver: "cni.dra.networking.x-k8s.io".parse().unwrap(),
        version: "0.1.0".to_owned(),
        started: Timestamp(0),
        role: Role::Active,
    }
}

fn inventory() -> Inventory {
    let eth1 = Device {
        name: "eth1".parse().unwrap(),
        link: "eth1".to_owned(),
        mode: Mode::Shared,
        state: LinkState::Down,
        max_virtual_devices: 64,
        held_by_node: false,
        attributes: BTreeMap::new(),
    };
    Inventory {
        devices: BTreeMap::from([(eth1.name.clone(), eth1)]),
        ..Inventory::default()
    }
}

fn claim() -> ClaimRef {
    ClaimRef {
        namespace: "default".parse().unwrap(),
        name: "claim-1".parse().unwrap(),
        uid: "claim-uid-1".parse().unwrap(),
    }
}

fn pod() -> PodRef {
    PodRef {
        namespace: "default".parse().unwrap(),
        name: "pod-1".parse().unwrap(),
        uid: "pod-uid-1".parse().unwrap(),
    }
}

fn device() -> PreparedDevice {
    let mut device = share("net1", "macvlan-eth1");
    device.allocated.pool = "worker-1".parse().unwrap();
    device
}

fn key() -> Key {
    Key {
        sandbox: "sandbox-1".parse().unwrap(),
        if_name: "net1".parse().unwrap(),
    }
}

fn prepared() -> Fact {
    Fact::Prepared(PreparedClaim {
        claim: claim(),
        pod: pod(),
        owned: true,
        devices: vec![device()],
    })
}

fn attaching() -> Fact {
    Fact::Attaching(Attachment {
        key: key(),
        claim: claim(),
        pod: pod(),
        netns: NETNS.to_owned(),
        device: device(),
        slot: Some(Slot(0)),
    })
}

fn attached() -> Fact {
    let result = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "net1", "mac": "0a:00:00:00:00:01", "mtu": 1450, "sandbox": NETNS}],
        "ips": [{"address": "10.10.1.2/24", "interface": 0}],
    });
    Fact::Attached {
        key: key(),
        result: serde_json::from_value(result).unwrap(),
        probe: Some(ProbeState::Counting {
            mode: ProbeMode::Tcx,
            base: Counters {
                rx: Traffic {
                    packets: 3,
                    ..Traffic::default()
                },
                ..Counters::default()
            },
            uncertain_packets: 0,
        }),
        late: false,
        timings: vec![],
    }
}

fn counters(packets: u64) -> Counters {
    let rx = Traffic {
        packets,
        segments: packets,
        bytes: packets * 100,
        peak_bytes_per_second: 600,
    };
    Counters {
        rx,
        tx: Traffic::default(),
    }
}

fn failure() -> Failure {
    Failure {
        step: Step::CniAdd,
        reason: "PluginFailed".into(),
        code: "plugin_failed".into(),
        message: "macvlan: no such device".to_owned(),
    }
}
