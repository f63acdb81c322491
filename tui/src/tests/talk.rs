//! The talk's demo as a node and an API server would tell it: fifteen pods on eth1 of kind-worker,
//! one of them refused, one failed, one not counted, one that no node can take.

use std::sync::Arc;

use netclaim_core::{
    attachment::{Key, Moment, ProbeMode, ProbeState},
    claim::{Allocated, ClaimRef, PodRef},
    cluster::{
        AgentState, AllocatedRow, Change, ClaimRow, ClassRow, ConditionRow, DeviceRow, Kind,
        Object, PodRow, Recorded, RequestRow, SliceRow, StatusRow, WatchState,
    },
    counters::{Counters, Traffic},
    drops::{Drops, DropsState},
    failure::{Failure, Step, Timing},
    inventory::{Attribute, Device, LinkState, Mode},
    snapshot::{
        ClaimState, DeviceUse, Finding, Interface, InterfaceState, NriState, Role, Severity,
        Snapshot,
    },
    time::Timestamp,
};

mod relays;

pub(crate) use relays::through_relays;

/// 2026-11-24 09:00:00 UTC.
pub(crate) const START: u64 = 1_795_510_800_000;

/// Seconds that the recording lasts.
const SECONDS: u64 = 12;

/// Pods of the demo.
const PODS: u64 = 15;

const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const DRIVER: &str = "cni.dra.networking.x-k8s.io";
const REFUSED: u64 = 11;
const FAILED: u64 = 12;
const UNCOUNTED: u64 = 13;
const PENDING: u64 = 14;

/// The whole recording.
pub(crate) fn changes() -> Vec<Recorded> {
    let mut changes = objects();
    changes.extend((0..SECONDS).map(|second| snapshot_at(second, PODS)));
    changes.sort_by_key(|change| change.at);
    changes
}

/// Objects of the API server, and the start of the watches.
pub(crate) fn objects() -> Vec<Recorded> {
    let at = |ms, change| Recorded {
        at: Timestamp(START + ms),
        change,
    };
    let connected = AgentState::Connected {
        node: "kind-worker".parse().unwrap(),
    };
    let endpoint = "unix:/run/netclaim/observe.sock".to_owned();
    let mut changes = vec![
        at(
            0,
            Change::Agent {
                endpoint: endpoint.clone(),
                state: AgentState::Connecting,
            },
        ),
        at(
            4,
            Change::Agent {
                endpoint,
                state: connected,
            },
        ),
    ];
    let mut object = |object| changes.push(at(20, Change::Upserted { object }));
    object(Object::Class(class()));
    for node in ["kind-worker", "kind-worker2"] {
        object(Object::Slice(slice(node)));
    }
    for pod in 0..PODS {
        object(Object::Claim(claim(pod)));
        object(Object::Pod(pod_row(pod)));
    }
    changes.extend(Kind::ALL.map(|kind| {
        at(
            40,
            Change::Watch {
                kind,
                state: WatchState::Synced,
            },
        )
    }));
    changes
}

/// One second of the node.
pub(crate) fn snapshot_at(second: u64, pods: u64) -> Recorded {
    let at = Timestamp(START + 10 + second * 1_000);
    let snapshot = Arc::new(whole(at, second, pods));
    Recorded {
        at,
        change: Change::Snapshot { snapshot },
    }
}

/// A name as a `ReplicaSet` would give it.
fn suffix(pod: u64) -> String {
    let mut state = pod
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(0x1234_5678);
    let mut letter = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let index = usize::try_from(state >> 40).unwrap() % ALPHABET.len();
        char::from(ALPHABET[index])
    };
    (0..5).map(|_| letter()).collect()
}

fn pod_ref(pod: u64) -> PodRef {
    PodRef {
        namespace: "demo".parse().unwrap(),
        name: format!("demo-app-7c9d8b6f5-{}", suffix(pod))
            .parse()
            .unwrap(),
        uid: format!("70d00000-0000-4000-8000-{pod:012}")
            .parse()
            .unwrap(),
    }
}

fn claim_ref(pod: u64) -> ClaimRef {
    let pod_name = pod_ref(pod).name;
    ClaimRef {
        namespace: "demo".parse().unwrap(),
        name: format!("{pod_name}-macvlan-eth1-attachment-{}", suffix(pod + 100))
            .parse()
            .unwrap(),
        uid: format!("c1a10000-0000-4000-8000-{pod:012}")
            .parse()
            .unwrap(),
    }
}

fn allocated(pod: u64) -> Allocated {
    Allocated {
        request: "macvlan-eth1".parse().unwrap(),
        pool: "kind-worker".parse().unwrap(),
        device: "eth1".parse().unwrap(),
        share_id: Some(
            format!("5a4e0000-0000-4000-8000-{pod:012}")
                .parse()
                .unwrap(),
        ),
        admin_access: false,
    }
}

fn class() -> ClassRow {
    ClassRow {
        name: "cni.networking.x-k8s.io".into(),
        selectors: vec![format!("device.driver == \"{DRIVER}\"").into()],
    }
}

/// The slice of one of many nodes.
pub(crate) fn large_slice(node: u64, devices: u64) -> SliceRow {
    let name = format!("worker-{node}");
    let mut slice = slice("kind-worker");
    slice.name = format!("{name}-slice").into();
    slice.pool = name.parse().unwrap();
    slice.node = Some(name.parse().unwrap());
    let row = slice.devices.remove(0);
    let named = |device| DeviceRow {
        name: format!("eth{device}").parse().unwrap(),
        ..row.clone()
    };
    slice.devices = (0..devices).map(named).collect();
    slice
}

fn slice(node: &str) -> SliceRow {
    let links: &[&str] = if node == "kind-worker" {
        &["eth0", "eth1"]
    } else {
        &["eth0"]
    };
    SliceRow {
        name: format!("{node}-{DRIVER}-x7k2p").into(),
        driver: DRIVER.parse().unwrap(),
        pool: node.parse().unwrap(),
        generation: 1,
        node: Some(node.parse().unwrap()),
        devices: links.iter().map(|link| device_row(link)).collect(),
    }
}

fn attributes(link: &str) -> Vec<(&'static str, Attribute)> {
    let text = |text: &str| Attribute::String(text.to_owned());
    vec![
        ("ifName", text(link)),
        ("kind", text("veth")),
        (
            "mac",
            text(if link == "eth0" {
                "02:42:ac:12:00:03"
            } else {
                "02:42:ac:13:00:03"
            }),
        ),
        ("mode", text("shared")),
        ("mtu", Attribute::Int(1_500)),
    ]
}

fn device_row(link: &str) -> DeviceRow {
    let attributes = attributes(link).into_iter();
    DeviceRow {
        name: link.parse().unwrap(),
        attributes: attributes
            .map(|(name, value)| (name.into(), value))
            .collect(),
        max: Some(256),
        taints: Vec::new(),
    }
}

pub(crate) fn claim(pod: u64) -> ClaimRow {
    let pending = pod == PENDING;
    let row = AllocatedRow {
        driver: DRIVER.parse().unwrap(),
        allocated: allocated(pod),
        status: status(pod).map(Box::new),
    };
    ClaimRow {
        claim: claim_ref(pod),
        created: Timestamp(START - 95_000),
        deleting: false,
        requests: vec![RequestRow {
            name: "macvlan-eth1".into(),
            classes: vec!["cni.networking.x-k8s.io".into()],
        }],
        devices: if pending { Vec::new() } else { vec![row] },
        node: (!pending).then(|| "kind-worker".parse().unwrap()),
        reserved_for: if pending {
            Vec::new()
        } else {
            vec![pod_ref(pod)]
        },
        config: (!pending).then(|| "net1: macvlan, host-local (claim)".into()),
    }
}

fn status(pod: u64) -> Option<StatusRow> {
    let condition = |holds, reason: &str, message: &str| ConditionRow {
        kind: "Ready".into(),
        holds: Some(holds),
        reason: reason.into(),
        message: message.into(),
    };
    match pod {
        PENDING | REFUSED => None,
        FAILED => Some(StatusRow {
            conditions: vec![condition(false, "CniAddFailed", &exhausted().message)],
            ..StatusRow::default()
        }),
        _ => Some(StatusRow {
            conditions: vec![condition(true, "Attached", "net1 is in the pod")],
            interface: Some("net1".into()),
            mac: Some(mac(pod).into()),
            ips: vec![ip(pod).into()],
        }),
    }
}

fn pod_row(pod: u64) -> PodRow {
    let runs = pod < REFUSED || pod == UNCOUNTED;
    PodRow {
        pod: pod_ref(pod),
        node: (pod != PENDING).then(|| "kind-worker".parse().unwrap()),
        phase: if runs { "Running" } else { "Pending" }.into(),
        claims: vec![claim_ref(pod).name],
        unschedulable: (pod == PENDING).then(|| {
            "0/3 nodes are available: 1 node(s) had untolerated taint, 2 cannot allocate all \
             claims. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
                .into()
        }),
    }
}

fn ip(pod: u64) -> String {
    format!("10.10.1.{}/24", pod + 2)
}

fn mac(pod: u64) -> String {
    format!("5e:1f:0a:0a:01:{:02x}", pod + 2)
}

fn exhausted() -> Failure {
    failure(
        Step::CniAdd,
        "CniAddFailed",
        "cni_add_failed",
        "plugin host-local said (code 7): failed to allocate for range 0: no IP addresses \
         available in range set: 10.10.1.2-10.10.1.14; widen `subnet` in the claim's config, or \
         delete pods that hold addresses",
    )
}

fn failure(step: Step, reason: &'static str, code: &'static str, message: &str) -> Failure {
    Failure {
        step,
        reason: reason.into(),
        code: code.into(),
        message: message.to_owned(),
    }
}

fn refused() -> Failure {
    failure(
        Step::Prepare,
        "PluginNotAllowed",
        "plugin_not_allowed",
        "request macvlan-eth1, config.plugins[0].type: found `bridge`, which claims may not use; \
         accepted are macvlan, ipvlan, static, host-local, tuning, sbr; move it to the DeviceClass \
         or ask the administrator for --cni-types",
    )
}

fn missing() -> Failure {
    failure(
        Step::Probe,
        "DetachedByOther",
        "detached_by_other",
        "both TCX links of net1 were removed by another program; they are attached again within 10 s",
    )
}

/// One second of the node with the demo's pods.
pub(crate) fn snapshot(second: u64) -> Snapshot {
    let at = Timestamp(START + 10 + second * 1_000);
    whole(at, second, PODS)
}

fn whole(at: Timestamp, second: u64, pods: u64) -> Snapshot {
    let prepared = (0..pods).filter(|pod| *pod != PENDING);
    Snapshot {
        node: "kind-worker".parse().unwrap(),
        driver: DRIVER.parse().unwrap(),
        version: "0.1.0".to_owned(),
        started: Timestamp(START - 3_600_000),
        taken: at,
        generation: 60,
        role: Role::Active,
        nri: NriState {
            connected: true,
            since: Timestamp(START - 3_599_000),
            runtime: Some("containerd v2.4.2".to_owned()),
        },
        devices: ["eth0", "eth1"].map(|link| device(link, pods)).into(),
        claims: prepared.clone().map(claim_state).collect(),
        interfaces: prepared
            .filter(|pod| *pod != REFUSED)
            .map(|pod| interface(pod, second))
            .collect(),
        leftovers: Vec::new(),
        findings: vec![Finding {
            rule: "ipam-exhausted".to_owned(),
            severity: Severity::Fault,
            subject: format!("claim/demo/{}", claim_ref(FAILED).name),
            message: "13 of 13 addresses of 10.10.1.0/24 are in use on this node".to_owned(),
        }],
        drops: Some(DropsState::Counting { lost: 0 }),
    }
}

fn device(link: &str, pods: u64) -> DeviceUse {
    let attributes = attributes(link).into_iter();
    DeviceUse {
        device: Device {
            name: link.parse().unwrap(),
            link: link.to_owned(),
            mode: Mode::Shared,
            state: LinkState::Up,
            max_virtual_devices: 256,
            held_by_node: false,
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        },
        used: if link == "eth1" {
            u32::try_from(pods.saturating_sub(2)).unwrap()
        } else {
            0
        },
    }
}

fn claim_state(pod: u64) -> ClaimState {
    ClaimState {
        claim: claim_ref(pod),
        pod: Some(pod_ref(pod)),
        devices: vec![allocated(pod)],
        refused: (pod == REFUSED).then(refused),
        awaited: None,
    }
}

fn interface(pod: u64, second: u64) -> Interface {
    let there = pod != FAILED;
    let counted = there && pod != UNCOUNTED;
    let probe = if counted {
        ProbeState::Counting {
            mode: ProbeMode::Tcx,
            base: Counters::default(),
            uncertain_packets: 0,
        }
    } else {
        ProbeState::Missing {
            failure: missing(),
            base: None,
        }
    };
    Interface {
        key: Some(Key {
            sandbox: format!("{:064x}", 0xab_cdef_u64 * (pod + 1))
                .parse()
                .unwrap(),
            if_name: "net1".parse().unwrap(),
        }),
        if_name: "net1".parse().unwrap(),
        claim: claim_ref(pod),
        pod: pod_ref(pod),
        allocated: allocated(pod),
        link: "eth1".to_owned(),
        network: "macvlan-eth1".to_owned(),
        state: if there {
            InterfaceState::Attached
        } else {
            InterfaceState::Failed
        },
        since: Timestamp(START - 90_000 + pod * 40),
        mac: there.then(|| mac(pod)),
        ips: if there { vec![ip(pod)] } else { Vec::new() },
        mtu: there.then_some(1_500),
        link_state: there.then_some(LinkState::Up),
        probe: there.then_some(probe),
        counters: counted.then(|| counters(pod, second)),
        drops: counted.then(|| drops(pod, second)),
        late: false,
        failure: (!there).then(exhausted),
        timeline: timeline(pod, there).into(),
    }
}

/// Two pods read too slowly, one is knocked at in vain.
fn drops(pod: u64, second: u64) -> Drops {
    let reasons: &[(&str, u64)] = match pod {
        1 | 8 => &[("SOCKET_RCVBUFF", 40 * pod), ("NO_SOCKET", 2)],
        6 => &[("NO_SOCKET", 1)],
        _ => &[],
    };
    let reasons = reasons.iter();
    reasons
        .map(|(reason, pace)| ((*reason).into(), pace * (second + 1)))
        .collect()
}

/// Each pod has a pace of its own; some breathe, some are silent.
fn counters(pod: u64, second: u64) -> Counters {
    const PACE: [u64; 15] = [
        1_180_000, 940_000, 12_400_000, 3_200, 0, 88_000, 410, 0, 5_600_000, 61_000, 720, 0, 0, 0,
        0,
    ];
    const BREATH: [u64; 8] = [100, 130, 170, 140, 100, 60, 30, 55];
    let pace = PACE[usize::try_from(pod % 15).unwrap()];
    let breath = |second| BREATH[usize::try_from((second + pod) % 8).unwrap()];
    let passed = (0..=second)
        .map(|second| pace * breath(second) / 100)
        .sum::<u64>();
    let traffic = |bytes: u64| Traffic {
        packets: bytes / 900,
        segments: bytes / 600,
        bytes,
        peak_bytes_per_second: pace * 17 / 10,
    };
    Counters {
        rx: traffic(passed + pod * 4_321),
        tx: traffic(passed / 3 + pod * 1_234),
    }
}

fn timeline(pod: u64, there: bool) -> Vec<Moment> {
    let begin = START - 90_000 + pod * 40;
    let timing = |step, plugin: Option<&str>, micros, ok| Timing {
        step,
        plugin: plugin.map(str::to_owned),
        micros,
        ok,
    };
    let moment = |ms, what: &str, timing| Moment {
        at: Timestamp(begin + ms),
        what: what.to_owned().into(),
        timing,
        failure: None,
    };
    let add = Some(timing(
        Step::CniAdd,
        Some("macvlan"),
        12_400 + pod * 317,
        there,
    ));
    let mut moments = vec![
        moment(0, "attaching", None),
        moment(1, "journal", Some(timing(Step::Journal, None, 640, true))),
        moment(14, "cni_add macvlan", add),
    ];
    if there {
        let probe = Some(timing(Step::Probe, None, 830, true));
        moments.push(moment(15, "probe", probe));
        moments.push(moment(15, "attached", None));
    } else {
        moments.push(Moment {
            failure: Some(exhausted().into()),
            ..moment(15, "failed", None)
        });
    }
    if pod == UNCOUNTED {
        moments.push(Moment {
            failure: Some(missing().into()),
            ..moment(60_000, "not counted", None)
        });
    }
    moments
}
