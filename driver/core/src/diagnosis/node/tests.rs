use std::{borrow::Cow, collections::BTreeMap};

use super::*;
use crate::{
    attachment::{Attachment, Key, Leftover},
    claim::samples::{claim, macvlan, prepare},
    failure::Step,
    inventory::Inventory,
    ledger::Ledger,
    snapshot::{Awaited, ClaimState, Identity, NriState, Role},
    time::Timestamp,
};

fn snapshot(nri_connected: bool) -> Snapshot {
    let nri = NriState {
        connected: nri_connected,
        since: Timestamp(1_000),
        runtime: None,
    };
    let identity = Identity {
        node: "kind-worker".parse().unwrap(),
        driver: "cni.dra.networking.x-k8s.io".parse().unwrap(),
        version: "0.1.0".to_owned(),
        started: Timestamp(0),
        role: Role::Active,
    };
    Snapshot::new(
        &Ledger::default(),
        &Inventory::default(),
        &BTreeMap::new(),
        nri,
        identity,
        Timestamp(43_000),
    )
}

fn failure(message: &str) -> Failure {
    Failure {
        step: Step::Probe,
        reason: Cow::Borrowed("BpfDenied"),
        code: Cow::Borrowed("bpf_denied"),
        message: message.to_owned(),
    }
}

#[track_caller]
fn check(snapshot: &Snapshot, noticed: &Noticed, expected: &[(&str, Severity, &str, &str)]) {
    let found = findings(snapshot, noticed);
    let found: Vec<_> = found
        .iter()
        .map(|finding| {
            (
                finding.rule.as_str(),
                finding.severity,
                finding.subject.as_str(),
                finding.message.as_str(),
            )
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn nothing_is_wrong_with_a_node_that_works() {
    check(&snapshot(true), &Noticed::default(), &[]);
}

#[test]
fn each_cause_is_found_and_the_gravest_is_first() {
    let noticed = Noticed {
        unusable: vec![UnusablePlugin {
            plugin: "vrf".to_owned(),
            code: "plugin_not_found",
            message: "CNI VERSION by plugin `vrf`: not found in /opt/cni/bin".to_owned(),
        }],
        uncounted: Some(failure("no permission for bpf(2); add CAP_BPF")),
        dropped: [Dropped::Taints].into(),
        no_device_status: true,
        leases: vec![Lease {
            owner: "ns-default".to_owned(),
            network: "storage".to_owned(),
            address: "10.10.1.7".parse().unwrap(),
            key: Key {
                sandbox: "0123456789ab".parse().unwrap(),
                if_name: "net1".parse().unwrap(),
            },
            written: Timestamp(1),
        }],
    };
    check(
        &snapshot(false),
        &noticed,
        &[
            (
                "nri_disconnected",
                Severity::Fault,
                "node//kind-worker",
                "the container runtime has not announced pods for 42 s: pods with claims wait in \
                 ContainerCreating; look whether it runs and has NRI enabled (containerd: \
                 `[plugins.\"io.containerd.nri.v1.nri\"] disable = false`)",
            ),
            (
                "probes_unavailable",
                Severity::Warning,
                "node//kind-worker",
                "interfaces work, and none is counted: no permission for bpf(2); add CAP_BPF; \
                 restart netclaim on the node afterwards",
            ),
            (
                "plugin_unusable",
                Severity::Warning,
                "node//kind-worker",
                "claims that use it fail on this node: CNI VERSION by plugin `vrf`: not found in \
                 /opt/cni/bin",
            ),
            (
                "dropped_fields",
                Severity::Warning,
                "node//kind-worker",
                "the API server dropped `taints` from the slices of cni.dra.networking.x-k8s.io: \
                 pods are still scheduled to devices whose link is down or gone; switch on the \
                 feature gate DRADeviceTaints in kube-apiserver and kube-scheduler (on by \
                 default since Kubernetes 1.36)",
            ),
            (
                "dropped_fields",
                Severity::Warning,
                "node//kind-worker",
                "the API server dropped `status.devices` of cni.dra.networking.x-k8s.io from \
                 claims: claims tell neither what their interfaces are nor why they are not there, \
                 though the pods' Events, the metrics and dra-top do; switch on the feature gate \
                 DRAResourceClaimDeviceStatus in kube-apiserver (on by default since Kubernetes \
                 1.33)",
            ),
            (
                "orphan_lease",
                Severity::Notice,
                "node//kind-worker",
                "address 10.10.1.7 of network storage (ns-default) is kept for interface \
                 0123456789ab/net1, and neither the ledger nor the container runtime knows that \
                 sandbox; it is freed once that has been so for the seconds of --lease-patience",
            ),
        ],
    );
}

#[test]
fn a_leftover_is_said_of_its_claim() {
    let claim = prepare(&claim("net", "pod", &["eth1"], &macvlan("net1"))).unwrap();
    let attachment = Attachment {
        key: Key {
            sandbox: "0123456789ab".parse().unwrap(),
            if_name: "net1".parse().unwrap(),
        },
        claim: claim.claim,
        pod: claim.pod,
        netns: "/run/netns/a".to_owned(),
        device: claim.devices[0].clone(),
        slot: None,
    };
    let mut snapshot = snapshot(true);
    snapshot.leftovers = vec![Leftover {
        attachment,
        failure: failure("macvlan DEL: no answer"),
        last: None,
        drops: None,
        attempts: 3,
        since: Timestamp(3_000),
    }];
    check(
        &snapshot,
        &Noticed::default(),
        &[(
            "leftover",
            Severity::Warning,
            "claim/default/net",
            "net1 of sandbox 0123456789ab on eth1 is left for 40 s after 3 tries: macvlan DEL: no \
             answer; it is tried again, and an exclusive device serves nobody until it is gone",
        )],
    );
}

#[test]
fn who_waits_for_a_claim_of_another_is_said_in_the_words_of_the_event() {
    let served = prepare(&claim("net", "first", &["eth1"], &macvlan("net1"))).unwrap();
    let second = prepare(&claim("other", "second", &["eth1"], &macvlan("net1"))).unwrap();
    let refusal = crate::admission::in_use(&served);
    let mut snapshot = snapshot(true);
    snapshot.claims = vec![ClaimState {
        claim: served.claim,
        pod: Some(served.pod),
        devices: Vec::new(),
        refused: None,
        awaited: Some(Awaited {
            pods: vec![second.pod.clone()],
            since: Timestamp(3_000),
            failure: Failure::new(Step::Plan, &refusal),
        }),
    }];
    let expected = format!("{} waits for 40 s: {refusal}", second.pod.name);
    check(
        &snapshot,
        &Noticed::default(),
        &[(
            "claim_in_use",
            Severity::Warning,
            "claim/default/net",
            &expected,
        )],
    );
}
