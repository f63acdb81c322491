//! Claims, devices and configurations that the tests of several modules begin with.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Allocated, ClaimRef, PreparedClaim, PreparedDevice, object::ClaimObject, parse, parse::Known,
    policy::Policy, refusal::Refusal,
};
use crate::{
    inventory::{Device, Inventory, LinkState, Mode, node::NodeAddresses},
    ledger::Ledger,
    name::DriverName,
};

pub(crate) const DRIVER: &str = "cni.dra.networking.x-k8s.io";

/// The claim of the talk as the API server showed it, adminAccess included.
pub(crate) const TALK: &str = include_str!("samples/talk.yaml");

/// A claim of a shared device, as Kubernetes 1.36 allocates it.
pub(crate) const SHARED: &str = include_str!("samples/shared.yaml");

pub(crate) fn yaml<T: DeserializeOwned>(text: &str) -> T {
    serde_saphyr::from_str(text).unwrap()
}

pub(crate) fn driver() -> DriverName {
    DRIVER.parse().unwrap()
}

pub(crate) fn device(name: &str, mode: Mode) -> Device {
    Device {
        name: name.parse().unwrap(),
        link: name.to_owned(),
        mode,
        state: LinkState::Up,
        max_virtual_devices: 4,
        held_by_node: false,
        attributes: std::collections::BTreeMap::default(),
    }
}

/// eth0 and eth1 are shared, eth2 is exclusive; eth0 has the node's address.
pub(crate) fn inventory() -> Inventory {
    let devices = [
        device("eth0", Mode::Shared),
        device("eth1", Mode::Shared),
        device("eth2", Mode::Exclusive),
    ];
    Inventory {
        devices: devices
            .into_iter()
            .map(|device| (device.name.clone(), device))
            .collect(),
        node: NodeAddresses {
            own: [("172.18.0.2".parse().unwrap(), "eth0".to_owned())].into(),
            gateways: ["172.18.0.1".parse().unwrap()].into(),
            ..NodeAddresses::default()
        },
    }
}

/// A share of eth1 that becomes `if_name`, by a macvlan of `network`.
pub(crate) fn share(if_name: &str, network: &str) -> PreparedDevice {
    let network = json!({
        "cniVersion": "1.0.0", "name": network, "plugins": [{"type": "macvlan"}]
    });
    PreparedDevice {
        allocated: Allocated {
            request: "nic".parse().unwrap(),
            pool: "kind-worker".parse().unwrap(),
            device: "eth1".parse().unwrap(),
            share_id: None,
            admin_access: false,
        },
        link: "eth1".to_owned(),
        mode: Mode::Shared,
        if_name: if_name.parse().unwrap(),
        network: serde_json::from_value(network).unwrap(),
        runtime_config: serde_json::Map::new(),
        observe_flows: false,
    }
}

/// What somebody writes for macvlan on whatever is allocated.
pub(crate) fn macvlan(if_name: &str) -> Value {
    json!({
        "apiVersion": "cni.networking.x-k8s.io/v1alpha1",
        "kind": "CNI",
        "ifName": if_name,
        "config": {
            "cniVersion": "1.0.0",
            "name": "media",
            "plugins": [{
                "type": "macvlan",
                "mode": "bridge",
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.10.1.0/24"}]]}
            }]
        }
    })
}

/// One request named `nic` for each device, and one configuration of the claim for all of them.
pub(crate) fn claim(name: &str, pod: &str, devices: &[&str], parameters: &Value) -> Value {
    let results: Vec<Value> = devices
        .iter()
        .map(|device| {
            json!({"request": "nic", "driver": DRIVER, "pool": "kind-worker", "device": device})
        })
        .collect();
    json!({
        "metadata": {"namespace": "default", "name": name, "uid": format!("uid-{name}")},
        "status": {
            "allocation": {"devices": {
                "results": results,
                "config": [{
                    "source": "FromClaim",
                    "opaque": {"driver": DRIVER, "parameters": parameters}
                }]
            }},
            "reservedFor": [{"resource": "pods", "name": pod, "uid": format!("uid-{pod}")}]
        }
    })
}

pub(crate) fn wanted(object: &Value) -> ClaimRef {
    serde_json::from_value(object["metadata"].clone()).unwrap()
}

/// Prepares a claim on the node of [`inventory`].
pub(crate) fn prepare_in(ledger: &Ledger, object: &Value) -> Result<PreparedClaim, Box<Refusal>> {
    prepare_with(ledger, &inventory(), object)
}

/// Prepares a claim on some node that has promised nothing.
pub(crate) fn prepare_on(
    inventory: &Inventory,
    object: &Value,
) -> Result<PreparedClaim, Box<Refusal>> {
    prepare_with(&Ledger::default(), inventory, object)
}

fn prepare_with(
    ledger: &Ledger,
    inventory: &Inventory,
    object: &Value,
) -> Result<PreparedClaim, Box<Refusal>> {
    let known = Known {
        driver: &driver(),
        inventory,
        ledger,
        policy: &Policy::default(),
    };
    let claim: ClaimObject = serde_json::from_value(object.clone()).unwrap();
    parse::prepare(&claim, &wanted(object), &known)
}

/// Prepares a claim on a node that has promised nothing.
pub(crate) fn prepare(object: &Value) -> Result<PreparedClaim, Box<Refusal>> {
    prepare_in(&Ledger::default(), object)
}
