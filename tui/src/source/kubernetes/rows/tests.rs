use netclaim_core::cluster::ObjectId;
use serde_json::json;

use super::*;

fn parsed<T: serde::de::DeserializeOwned>(object: serde_json::Value) -> T {
    serde_json::from_value(object).unwrap()
}

#[test]
fn a_claim_keeps_its_status_by_device_and_share() {
    let result = |share: &str| json!({"request": "net", "driver": "cni.x", "pool": "worker", "device": "eth1", "shareID": share});
    let found = claim(parsed(json!({
        "metadata": {"namespace": "demo", "name": "c", "uid": "u1", "creationTimestamp": "2026-11-24T09:00:00Z"},
        "spec": {"devices": {"requests": [
            {"name": "net", "exactly": {"deviceClassName": "cni"}},
            {"name": "alt", "firstAvailable": [{"name": "a", "deviceClassName": "x"}, {"name": "b", "deviceClassName": "y"}]},
        ]}},
        "status": {
            "allocation": {
                "devices": {
                    "results": [result("s1"), result("s2")],
                    "config": [{"source": "FromClaim", "opaque": {"driver": "cni.x", "parameters": {
                        "ifName": "net1",
                        "config": {"plugins": [{"type": "macvlan", "ipam": {"type": "host-local"}}]},
                    }}}],
                },
                "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [
                    {"key": "metadata.name", "operator": "In", "values": ["worker"]}
                ]}]},
            },
            "reservedFor": [{"resource": "pods", "name": "p", "uid": "pu"}, {"resource": "jobs", "name": "j", "uid": "ju"}],
            "devices": [{
                "driver": "cni.x", "pool": "worker", "device": "eth1", "shareID": "s2",
                "conditions": [{"type": "Ready", "status": "True", "reason": "Attached", "message": "", "lastTransitionTime": "2026-11-24T09:00:00Z"}],
                "networkData": {"interfaceName": "net1", "ips": ["10.10.1.2/24"], "hardwareAddress": "aa:bb"},
            }],
        },
    })));
    let Some(Object::Claim(row)) = found else {
        panic!("expected a claim");
    };
    assert_eq!(row.created, Timestamp(1_795_510_800_000));
    assert_eq!(row.node.as_ref().map(NodeName::as_str), Some("worker"));
    assert_eq!(
        row.config.as_deref(),
        Some("net1: macvlan, host-local (claim)")
    );
    assert_eq!(row.requests[1].classes, ["x".into(), "y".into()]);
    assert_eq!(row.reserved_for.len(), 1, "pods only");
    let [first, second] = row.devices.as_slice() else {
        panic!("two results");
    };
    assert!(first.status.is_none(), "the status is the other share's");
    let status = second.status.as_deref().expect("the status of s2");
    assert_eq!(status.interface.as_deref(), Some("net1"));
    assert_eq!(
        status.condition("Ready").and_then(|ready| ready.holds),
        Some(true)
    );
}

#[test]
fn only_pods_that_use_claims_are_kept() {
    let with = |claims: serde_json::Value| {
        pod(parsed(json!({
            "metadata": {"namespace": "demo", "name": "p", "uid": "u"},
            "spec": {"containers": [], "resourceClaims": claims},
            "status": {
                "phase": "Pending",
                "resourceClaimStatuses": [{"name": "net", "resourceClaimName": "p-net-x"}],
                "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}],
            },
        })))
    };
    assert_eq!(with(json!([])), None);
    let Some(Object::Pod(row)) = with(json!([{"name": "net", "resourceClaimTemplateName": "t"}]))
    else {
        panic!("expected a pod");
    };
    assert_eq!(row.claims, ["p-net-x".parse().unwrap()]);
    assert_eq!(row.unschedulable.as_deref(), Some("0/3 nodes"));
}

#[test]
fn a_device_says_how_often_it_may_be_allocated() {
    let of = |device: serde_json::Value| {
        let found = slice(parsed(json!({
            "metadata": {"name": "s"},
            "spec": {"driver": "cni.x", "nodeName": "worker", "devices": [device],
                "pool": {"name": "worker", "generation": 1, "resourceSliceCount": 1}},
        })));
        match found {
            Some(Object::Slice(mut row)) => row.devices.remove(0),
            other => panic!("expected a slice, found {other:?}"),
        }
    };
    assert_eq!(of(json!({"name": "eth0"})).max, Some(1));
    let shared = of(json!({
        "name": "eth1", "allowMultipleAllocations": true,
        "capacity": {"cni.x/maxVirtualDevices": {"value": "256"}},
        "attributes": {"kind": {"string": "veth"}, "mtu": {"int": 1500}},
        "taints": [{"key": "netclaim.dev/link", "value": "down", "effect": "NoSchedule"}],
    }));
    assert_eq!(shared.max, Some(256));
    assert_eq!(shared.taints, ["netclaim.dev/link=down:NoSchedule".into()]);
    assert_eq!(shared.text(&"cni.x".parse().unwrap(), "kind"), Some("veth"));
    assert_eq!(
        of(json!({"name": "gpu", "allowMultipleAllocations": true})).max,
        None
    );
}

#[test]
fn an_object_is_known_by_what_does_not_change() {
    let class = class(parsed(
        json!({"metadata": {"name": "cni"}, "spec": {"selectors": [{"cel": {"expression": "true"}}]}}),
    ));
    assert_eq!(
        class.map(|class| class.id()),
        Some(ObjectId::Class("cni".into()))
    );
}
