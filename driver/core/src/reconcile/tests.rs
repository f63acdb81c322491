use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::{
    claim::{ClaimRef, PodRef, PreparedClaim, samples::share},
    fact::Fact,
    time::Timestamp,
};

fn pod(name: &str) -> PodRef {
    PodRef {
        namespace: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        uid: format!("{name}-uid").parse().unwrap(),
    }
}

fn prepared(pod_name: &str) -> PreparedClaim {
    PreparedClaim {
        claim: ClaimRef {
            namespace: "default".parse().unwrap(),
            name: format!("{pod_name}-claim").parse().unwrap(),
            uid: format!("{pod_name}-claim-uid").parse().unwrap(),
        },
        pod: pod(pod_name),
        owned: true,
        devices: vec![share("net1", "today")],
    }
}

/// What an ADD left in the sandbox of the same name as its pod.
fn cached(pod_name: &str, if_name: &str) -> CachedAttachment {
    CachedAttachment {
        key: Key {
            sandbox: pod_name.parse().unwrap(),
            if_name: if_name.parse().unwrap(),
        },
        netns: Some(format!("/run/netns/{pod_name}")),
        network: serde_json::from_value(json!({
            "cniVersion": "1.0.0", "name": "then", "plugins": [{"type": "macvlan"}]
        }))
        .unwrap(),
        runtime_config: serde_json::Map::new(),
        pod: pod(pod_name),
        result: AddResult::default(),
    }
}

fn ledger(facts: impl IntoIterator<Item = Fact>) -> Ledger {
    let mut ledger = Ledger::default();
    facts
        .into_iter()
        .for_each(|fact| ledger.apply(Timestamp(0), &fact));
    ledger
}

/// What is found lost and orphaned, as `sandbox/interface`, and the slots of nobody.
#[track_caller]
fn check(ledger: &Ledger, found: &Found, alive: &[&str], expected: (&[&str], &[&str], &[u32])) {
    let alive = alive.iter().map(|id| id.parse().unwrap()).collect();
    let (lost, orphans) = (
        found.lost(ledger),
        found.orphans(ledger, &alive, Timestamp(0)),
    );
    let names = |keys: Vec<&Key>| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        names(lost.iter().map(|lost| &lost.attachment.key).collect()),
        expected.0,
        "lost"
    );
    assert_eq!(
        names(orphans.cached.iter().map(|at| &at.key).collect()),
        expected.1,
        "orphans"
    );
    let slots: Vec<u32> = orphans.slots.iter().map(|slot| slot.0).collect();
    assert_eq!(slots, expected.2, "slots");
}

#[test]
fn what_the_ledger_does_not_hold_is_lost_or_orphaned() {
    let found = Found {
        cached: vec![cached("a", "net1"), cached("b", "net1")],
        slots: BTreeSet::from([Slot(0), Slot(3)]),
        leases: Vec::new(),
    };
    let claims = [Fact::Prepared(prepared("a"))];
    let lost = found.lost(&ledger(claims.clone())).remove(0).attachment;
    let attaching = Fact::Attaching(Attachment {
        slot: Some(Slot(3)),
        ..lost
    });
    let empty = Ledger::default();
    let rebuilt = ledger(claims);
    let whole = ledger([Fact::Prepared(prepared("a")), attaching]);

    check(&empty, &Found::default(), &[], (&[], &[], &[]));
    check(&empty, &found, &[], (&[], &["a/net1", "b/net1"], &[0, 3]));
    check(&empty, &found, &["b"], (&[], &["a/net1"], &[0, 3]));
    check(&rebuilt, &found, &["a", "b"], (&["a/net1"], &[], &[0, 3]));
    check(&whole, &found, &["a"], (&[], &["b/net1"], &[0]));
    let other = Found {
        cached: vec![cached("a", "net2")],
        ..Found::default()
    };
    check(&rebuilt, &other, &[], (&[], &["a/net2"], &[]));
}

#[test]
fn what_is_taken_over_is_undone_as_it_was_made() {
    let found = Found {
        cached: vec![cached("a", "net1")],
        ..Found::default()
    };
    let lost = found.lost(&ledger([Fact::Prepared(prepared("a"))]));
    let [Lost { attachment, .. }] = &lost[..] else {
        panic!("{lost:?}");
    };
    assert_eq!(attachment.device.network.name(), "then");
    assert_eq!(attachment.claim, prepared("a").claim);
    assert_eq!(attachment.netns, "/run/netns/a");
}

#[test]
fn only_what_was_nobodys_twice_is_taken_away() {
    let orphans = |sandboxes: &[&str], slots: &[u32]| Orphans {
        cached: sandboxes.iter().map(|id| cached(id, "net1")).collect(),
        slots: slots.iter().copied().map(Slot).collect(),
        ..Orphans::default()
    };
    let now = orphans(&["a", "b"], &[1, 2]);
    let check = |before: &Orphans, cached: &[&str], slots: &[u32]| {
        let expected = orphans(cached, slots);
        let still = now.still_cached(before).cloned();
        assert_eq!(still.collect::<Vec<_>>(), expected.cached);
        let still = now.still_pinned(before);
        assert_eq!(still.collect::<BTreeSet<_>>(), expected.slots);
    };
    check(&Orphans::default(), &[], &[]);
    check(&orphans(&["b", "c"], &[2, 3]), &["b"], &[2]);
}

fn lease(sandbox: &str) -> Lease {
    Lease {
        owner: "ns-default".to_owned(),
        network: "then".to_owned(),
        address: "10.10.1.7".parse().unwrap(),
        key: Key {
            sandbox: sandbox.parse().unwrap(),
            if_name: "net1".parse().unwrap(),
        },
        written: Timestamp(7),
    }
}

#[test]
fn a_lease_of_nobody_is_overdue_after_a_minute_of_looks() {
    let (minute, patience) = (60_000, Duration::from_mins(1));
    let found = Found {
        leases: vec![lease("gone")],
        ..Found::default()
    };
    let ledger = Ledger::default();
    let look = |alive: &[&str], before: &Orphans, now| {
        let alive = alive.iter().map(|id| id.parse().unwrap()).collect();
        let orphans = found.orphans(&ledger, &alive, Timestamp(now)).since(before);
        let overdue = orphans.overdue(Timestamp(now), patience).count();
        (orphans, overdue)
    };
    let (first, overdue) = look(&[], &Orphans::default(), 0);
    assert_eq!((first.leases.len(), overdue), (1, 0));
    let (second, overdue) = look(&[], &first, minute - 1);
    assert_eq!(overdue, 0);
    assert_eq!(look(&[], &second, minute).1, 1);
    // One look at which somebody has it begins the minute anew.
    let (known, _) = look(&["gone"], &second, minute);
    assert_eq!(known, Orphans::default());
    assert_eq!(look(&[], &known, minute + 1).1, 0);
}

#[test]
fn a_lease_is_somebodys_while_ledger_result_or_runtime_know_it() {
    let lost = Found {
        cached: vec![cached("a", "net1")],
        ..Found::default()
    }
    .lost(&ledger([Fact::Prepared(prepared("a"))]))
    .remove(0);
    let attaching = Fact::Attaching(lost.attachment);
    let check = |ledger: &Ledger, found: &Found, alive: &[&str], expected: usize| {
        let alive = alive.iter().map(|id| id.parse().unwrap()).collect();
        let orphans = found.orphans(ledger, &alive, Timestamp(0));
        assert_eq!(orphans.leases.len(), expected);
    };
    let found = Found {
        leases: vec![lease("a")],
        ..Found::default()
    };
    let empty = Ledger::default();
    check(&empty, &found, &[], 1);
    check(&empty, &found, &["a"], 0);
    check(&ledger([attaching]), &found, &[], 0);
    let with_result = Found {
        cached: vec![cached("a", "net1")],
        ..found.clone()
    };
    check(&empty, &with_result, &[], 0);
    let given_again = Lease {
        written: Timestamp(8),
        ..lease("a")
    };
    let before = found.orphans(&empty, &BTreeSet::new(), Timestamp(0));
    let after = Found {
        leases: vec![given_again],
        ..Found::default()
    };
    let after = after.orphans(&empty, &BTreeSet::new(), Timestamp(60_000));
    let after = after.since(&before);
    let overdue = after.overdue(Timestamp(60_000), Duration::from_mins(1));
    assert_eq!(overdue.count(), 0);
}
