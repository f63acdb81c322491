//! Manifests of what scenarios apply: plain objects, so that a scenario changes the field that it is
//! about.

use serde_json::{Value, json};

use crate::{lab::image::BUSYBOX, world::driver::NAME};

/// The class of the chart.
pub const CLASS: &str = "cni.networking.x-k8s.io";

/// Where a pod's claim comes from.
#[derive(Clone, Copy, Debug)]
pub enum From<'a> {
    /// A `ResourceClaimTemplate`: the pod has a claim of its own.
    Template(&'a str),
    /// A `ResourceClaim`, which others may name as well.
    Claim(&'a str),
}

/// A macvlan on the claim's device, in this network and subnet.
pub fn macvlan(network: &str, subnet: &str) -> Value {
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": subnet}]]});
    let plugin = json!({"type": "macvlan", "mode": "bridge", "ipam": ipam});
    json!({"cniVersion": "1.0.0", "name": network, "plugins": [plugin]})
}

/// The configuration of a claim's requests, or of a class: this network, as this interface.
pub fn configured(interface: &str, network: &Value) -> Value {
    let parameters = json!({
        "apiVersion": "cni.networking.x-k8s.io/v1alpha1",
        "kind": "CNI",
        "ifName": interface,
        "config": network,
    });
    json!({"opaque": {"driver": NAME, "parameters": parameters}})
}

/// A request of one device, by the device's name.
pub fn request(name: &str, device: &str) -> Value {
    let is_it = format!("device.attributes[\"{NAME}\"].name == \"{device}\"");
    let exactly = json!({
        "deviceClassName": CLASS,
        "selectors": [{"cel": {"expression": is_it}}],
    });
    json!({"name": name, "exactly": exactly})
}

/// A claim of one device with one configuration; others change its `spec`.
pub fn claim(name: &str, device: &str, interface: &str, network: &Value) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name},
        "spec": {"devices": {
            "requests": [request("nic", device)],
            "config": [configured(interface, network)],
        }},
    })
}

/// A template that makes a claim for each pod.
pub fn template(claim: &Value) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": claim["metadata"]["name"]},
        "spec": {"spec": claim["spec"]},
    })
}

/// A pod that sleeps until it is asked to end. `node` may be empty: the scheduler then decides
/// alone.
pub fn pod(name: &str, node: &str, claims: &[From<'_>]) -> Value {
    let names: Vec<_> = (0..claims.len())
        .map(|index| json!({"name": format!("claim{index}")}))
        .collect();
    let claims = claims.iter().zip(&names).map(|(claim, name)| {
        let (field, of) = match claim {
            From::Template(of) => ("resourceClaimTemplateName", of),
            From::Claim(of) => ("resourceClaimName", of),
        };
        json!({"name": name["name"], field: of})
    });
    let claims: Vec<_> = claims.collect();
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "check"}},
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": [{
                "name": "main",
                "image": BUSYBOX,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-c", "trap exit TERM; sleep infinity & wait"],
                "resources": {"claims": names},
            }],
            "resourceClaims": claims,
        },
    });
    if !node.is_empty() {
        pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    }
    pod
}
