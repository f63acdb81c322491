use std::{borrow::Cow, sync::Arc};

use netclaim_core::{
    attachment::{Attachment, Key, Leftover, Moment, ProbeMode, ProbeState, Slot},
    claim::PreparedDevice,
    counters::{Counters, Traffic},
    drops::{Drops, DropsState},
    failure::Step,
    inventory::{LinkState, Mode},
    name::{DeviceName, IfName},
    snapshot::{Interface, InterfaceState, Role, Severity},
    time::Timestamp,
};
use proptest::{collection, option, prelude::*, sample::select};
use serde_json::json;

use super::*;

mod flows;

proptest! {
    #[test]
    fn a_snapshot_survives_the_way_there_and_back(snapshot in snapshot()) {
        use prost::Message as _;
        let bytes = pb::Snapshot::from(&snapshot).encode_to_vec();
        let read = pb::Snapshot::decode(bytes.as_slice()).unwrap();
        prop_assert_eq!(Snapshot::try_from(read).unwrap(), snapshot);
    }
}

#[test]
fn a_refusal_names_the_field() {
    check(
        |message| message.node = String::new(),
        "node: node name `` is not valid: expected a DNS subdomain (1 to 253 characters of a-z 0-9 . -)",
    );
    check(
        |message| message.role = 0,
        "role: 0 is not a known value of Role: the sender may be newer than this reader",
    );
    check(
        |message| message.role = 9,
        "role: 9 is not a known value of Role: the sender may be newer than this reader",
    );
    check(
        |message| message.nri = None,
        "nri: absent, expected a value",
    );
    check(
        |message| message.taken_at = None,
        "taken_at: absent, expected a value",
    );
    check(
        |message| message.started_at.as_mut().unwrap().seconds = -1,
        "started_at: negative, expected a time since 1970 or a length of time",
    );
    check(
        |message| message.interfaces[1].claim.as_mut().unwrap().uid = "../x".to_owned(),
        "interfaces[1].claim.uid: claim UID `../x` is not valid: expected 1 to 128 characters of A-Z a-z 0-9 . _ -",
    );
    check(
        |message| message.interfaces[0].counters = Some(pb::Counters::default()),
        "interfaces[0].counters.rx: absent, expected a value",
    );
    check(
        |message| {
            device(message)
                .attributes
                .insert("mtu".to_owned(), pb::Attribute::default())
        },
        "devices[0].device.attributes[mtu].value: absent, expected a value",
    );
    check(
        |message| leftover(message).network_json = "{".to_owned(),
        "leftovers[0].attachment.device.network_json: not the JSON that was expected: EOF while parsing an object at line 1 column 1",
    );
}

/// Breaks one field of a good message and expects these words.
fn check<T>(damage: impl FnOnce(&mut pb::Snapshot) -> T, expected: &str) {
    let mut message = pb::Snapshot::from(&example());
    damage(&mut message);
    assert_eq!(
        Snapshot::try_from(message).unwrap_err().to_string(),
        expected
    );
}

fn device(message: &mut pb::Snapshot) -> &mut pb::Device {
    message.devices[0].device.as_mut().unwrap()
}

fn leftover(message: &mut pb::Snapshot) -> &mut pb::PreparedDevice {
    let attachment = message.leftovers[0].attachment.as_mut().unwrap();
    attachment.device.as_mut().unwrap()
}

/// One value of the strategy that has at least two rows of everything.
fn example() -> Snapshot {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let rows = (
        collection::vec(device_use(), 2),
        collection::vec(interface(), 2),
        collection::vec(left(), 2),
    );
    let tree = (snapshot(), rows).new_tree(&mut TestRunner::deterministic());
    let (snapshot, (devices, interfaces, leftovers)) = tree.unwrap().current();
    Snapshot {
        devices,
        interfaces,
        leftovers,
        ..snapshot
    }
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let head = (
        at(),
        at(),
        any::<u64>(),
        select(vec![Role::Active, Role::Standby]),
        nri(),
    );
    let rows = (
        collection::vec(device_use(), 0..3),
        collection::vec(claim_state(), 0..3),
        collection::vec(interface(), 0..3),
        collection::vec(left(), 0..2),
        collection::vec(finding(), 0..2),
        option::of(drops_state()),
    );
    (head, rows).prop_map(|((started, taken, generation, role, nri), rows)| Snapshot {
        node: "worker-1".parse().unwrap(),
        driver: "cni.dra.networking.x-k8s.io".parse().unwrap(),
        version: "0.1.0".to_owned(),
        started,
        taken,
        generation,
        role,
        nri,
        devices: rows.0,
        claims: rows.1,
        interfaces: rows.2,
        leftovers: rows.3,
        findings: rows.4,
        drops: rows.5,
    })
}

fn at() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn text() -> impl Strategy<Value = String> {
    "[ -~äλ]{0,12}"
}

fn nri() -> impl Strategy<Value = NriState> {
    (any::<bool>(), at(), option::of(text())).prop_map(|(connected, since, runtime)| NriState {
        connected,
        since,
        runtime,
    })
}

fn link_state() -> impl Strategy<Value = LinkState> {
    select(vec![LinkState::Up, LinkState::Down, LinkState::Gone])
}

fn mode() -> impl Strategy<Value = Mode> {
    select(vec![Mode::Shared, Mode::Exclusive])
}

fn device_use() -> impl Strategy<Value = DeviceUse> {
    let attribute = prop_oneof![
        text().prop_map(Attribute::String),
        any::<i64>().prop_map(Attribute::Int),
        any::<bool>().prop_map(Attribute::Bool),
    ];
    let attributes = collection::btree_map(text(), attribute, 0..4);
    (
        device_name(),
        text(),
        mode(),
        link_state(),
        any::<(u32, u32)>(),
        attributes,
    )
        .prop_map(
            |(name, link, mode, state, (max_virtual_devices, used), attributes)| DeviceUse {
                device: Device {
                    name,
                    link,
                    mode,
                    state,
                    max_virtual_devices,
                    held_by_node: used % 2 == 0,
                    attributes,
                },
                used,
            },
        )
}

fn device_name() -> impl Strategy<Value = DeviceName> {
    "eth[0-9]{1,3}".prop_map(|name| name.parse().unwrap())
}

fn if_name() -> impl Strategy<Value = IfName> {
    "net[0-9]{1,3}".prop_map(|name| name.parse().unwrap())
}

fn claim() -> impl Strategy<Value = ClaimRef> {
    ("[a-z]{1,9}", "[a-z][a-z.]{0,9}[a-z]", "[a-f0-9-]{8}").prop_map(|(namespace, name, uid)| {
        ClaimRef {
            namespace: namespace.parse().unwrap(),
            name: name.parse().unwrap(),
            uid: format!("a{uid}").parse().unwrap(),
        }
    })
}

fn pod() -> impl Strategy<Value = PodRef> {
    ("[a-z]{1,9}", "[a-z]{1,9}", "[a-f0-9]{8}").prop_map(|(namespace, name, uid)| PodRef {
        namespace: namespace.parse().unwrap(),
        name: name.parse().unwrap(),
        uid: uid.parse().unwrap(),
    })
}

fn allocated() -> impl Strategy<Value = Allocated> {
    (
        "[a-z]{1,4}(/[a-z]{1,4})?",
        device_name(),
        option::of("[a-f0-9]{8}"),
        any::<bool>(),
    )
        .prop_map(|(request, device, share_id, admin_access)| Allocated {
            request: request.parse().unwrap(),
            pool: "worker-1".parse().unwrap(),
            device,
            share_id: share_id.map(|id| id.parse().unwrap()),
            admin_access,
        })
}

fn step() -> impl Strategy<Value = Step> {
    select(vec![
        Step::Prepare,
        Step::Plan,
        Step::Journal,
        Step::CniAdd,
        Step::Probe,
        Step::CniDel,
        Step::Status,
    ])
}

fn failure() -> impl Strategy<Value = Failure> {
    (step(), text(), text(), text()).prop_map(|(step, reason, code, message)| Failure {
        step,
        reason: Cow::Owned(reason),
        code: Cow::Owned(code),
        message,
    })
}

fn claim_state() -> impl Strategy<Value = ClaimState> {
    let devices = collection::vec(allocated(), 0..3);
    let (refused, awaited) = (option::of(failure()), option::of(awaited()));
    (claim(), option::of(pod()), devices, refused, awaited).prop_map(
        |(claim, pod, devices, refused, awaited)| ClaimState {
            claim,
            pod,
            devices,
            refused,
            awaited,
        },
    )
}

fn awaited() -> impl Strategy<Value = Awaited> {
    let pods = collection::vec(pod(), 1..3);
    (pods, at(), failure()).prop_map(|(pods, since, failure)| Awaited {
        pods,
        since,
        failure,
    })
}

fn key() -> impl Strategy<Value = Key> {
    ("[a-f0-9]{16}", if_name()).prop_map(|(sandbox, if_name)| Key {
        sandbox: sandbox.parse().unwrap(),
        if_name,
    })
}

fn counters() -> impl Strategy<Value = Counters> {
    let traffic = || {
        any::<(u64, u64, u64, u64)>().prop_map(|row| Traffic {
            packets: row.0,
            segments: row.1,
            bytes: row.2,
            peak_bytes_per_second: row.3,
        })
    };
    (traffic(), traffic()).prop_map(|(rx, tx)| Counters { rx, tx })
}

fn drops() -> impl Strategy<Value = Drops> {
    let reason = "[A-Z_]{1,12}".prop_map(Arc::from);
    collection::vec((reason, any::<u64>()), 0..3).prop_map(Drops::from_iter)
}

fn drops_state() -> impl Strategy<Value = DropsState> {
    prop_oneof![
        any::<u64>().prop_map(|lost| DropsState::Counting { lost }),
        failure().prop_map(|failure| DropsState::Missing { failure }),
    ]
}

fn probe() -> impl Strategy<Value = ProbeState> {
    let mode = select(vec![ProbeMode::Tcx, ProbeMode::Tc]);
    prop_oneof![
        (mode, counters(), any::<u64>()).prop_map(|(mode, base, uncertain_packets)| {
            ProbeState::Counting {
                mode,
                base,
                uncertain_packets,
            }
        }),
        failure().prop_map(|failure| ProbeState::Missing {
            failure,
            base: None
        }),
    ]
}

fn moment() -> impl Strategy<Value = Moment> {
    let timing = (step(), option::of(text()), any::<u64>(), any::<bool>()).prop_map(
        |(step, plugin, micros, ok)| Timing {
            step,
            plugin,
            micros,
            ok,
        },
    );
    (at(), text(), option::of(timing), option::of(failure())).prop_map(
        |(at, what, timing, failure)| Moment {
            at,
            what: what.into(),
            timing,
            failure: failure.map(Box::new),
        },
    )
}

fn interface() -> impl Strategy<Value = Interface> {
    let state = select(vec![
        InterfaceState::Waiting,
        InterfaceState::Attaching,
        InterfaceState::Attached,
        InterfaceState::Detaching,
        InterfaceState::Failed,
        InterfaceState::Ended,
    ]);
    let who = (
        option::of(key()),
        if_name(),
        claim(),
        pod(),
        allocated(),
        text(),
        text(),
    );
    let how = (
        state,
        at(),
        option::of(text()),
        collection::vec(text(), 0..3),
    );
    let more = (
        option::of(any::<u32>()),
        option::of(link_state()),
        option::of(probe()),
        option::of(counters()),
        any::<bool>(),
        option::of(failure()),
        collection::vec(moment(), 0..4),
        option::of(drops()),
    );
    (who, how, more).prop_map(|(who, how, more)| Interface {
        key: who.0,
        if_name: who.1,
        claim: who.2,
        pod: who.3,
        allocated: who.4,
        link: who.5,
        network: who.6,
        state: how.0,
        since: how.1,
        mac: how.2,
        ips: how.3,
        mtu: more.0,
        link_state: more.1,
        probe: more.2,
        counters: more.3,
        late: more.4,
        failure: more.5,
        timeline: more.6.into(),
        drops: more.7,
    })
}

fn left() -> impl Strategy<Value = Leftover> {
    let prepared = (
        allocated(),
        text(),
        mode(),
        if_name(),
        text(),
        any::<bool>(),
    )
        .prop_map(
            |(allocated, link, mode, if_name, mac, observe_flows)| PreparedDevice {
                allocated,
                link,
                mode,
                if_name,
                network: serde_json::from_value(json!({
                    "cniVersion": "1.0.0",
                    "name": "macvlan-eth1",
                    "plugins": [{"type": "macvlan", "mode": "bridge", "mtu": 1400}],
                }))
                .unwrap(),
                runtime_config: serde_json::from_value(json!({ "mac": mac })).unwrap(),
                observe_flows,
            },
        );
    let attachment = (
        key(),
        claim(),
        pod(),
        text(),
        prepared,
        option::of(any::<u32>()),
    )
        .prop_map(|(key, claim, pod, netns, device, slot)| Attachment {
            key,
            claim,
            pod,
            netns,
            device,
            slot: slot.map(Slot),
        });
    (attachment, failure(), any::<u32>(), at()).prop_map(
        |(attachment, failure, attempts, since)| Leftover {
            attachment,
            failure,
            last: None,
            drops: None,
            attempts,
            since,
        },
    )
}

fn finding() -> impl Strategy<Value = Finding> {
    let severity = select(vec![Severity::Notice, Severity::Warning, Severity::Fault]);
    (text(), severity, text(), text()).prop_map(|(rule, severity, subject, message)| Finding {
        rule,
        severity,
        subject,
        message,
    })
}
