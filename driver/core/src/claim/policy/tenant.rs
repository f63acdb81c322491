//! What a tenant may not say, though a value has the form: what would take from the node or its
//! neighbours what is theirs. An administrator may, in a `DeviceClass`.

use serde_json::Value;

use super::{catalogue::Check, value};
use crate::{
    claim::offence::{Offence, Path, Rule, shown},
    inventory::node::NodeAddresses,
};

/// Refuses an address, a network or a hardware address that no pod may have; what is the node's,
/// where the node is known.
pub(super) fn single(
    value: &Value,
    path: &Path,
    check: Check,
    node: Option<&NodeAddresses>,
) -> Result<(), Offence> {
    let text = value.as_str().unwrap_or_default();
    match check {
        Check::PodCidr | Check::PodAddress => pod_address(value, path, text, node),
        Check::Subnet => subnet(value, path, text),
        Check::Mac => {
            let owner = node.and_then(|node| node.hardware_owner(text));
            let accepted = "a hardware address that no link of the node has";
            owned(owner, value, path, accepted)
        }
        _ => Ok(()),
    }
}

/// Refuses a setting with which the pod would answer for addresses of others, so that what is sent
/// to the node or a neighbour ends in the pod.
pub(super) fn sysctl(key: &str, setting: &Value, path: &Path) -> Result<(), Offence> {
    let name = key.rsplit('.').next().unwrap_or_default();
    if !["proxy_arp", "proxy_arp_pvlan", "proxy_ndp"].contains(&name) {
        return Ok(());
    }
    Err(Offence {
        rule: Rule::ReservedField,
        path: path.clone(),
        found: shown(setting),
        accepted: "nothing (the pod would answer for addresses of others)".to_owned(),
    })
}

fn pod_address(
    value: &Value,
    path: &Path,
    text: &str,
    node: Option<&NodeAddresses>,
) -> Result<(), Offence> {
    let Some(address) = value::pod_address(text) else {
        return Ok(());
    };
    if let Some(kind) = value::no_pods(address.into()) {
        return Err(Offence {
            rule: Rule::Value,
            path: path.clone(),
            found: format!("{}, {kind} address", shown(value)),
            accepted: "an address that one host alone can have".to_owned(),
        });
    }
    let owner = node.and_then(|node| node.owner(address));
    let accepted = "an address that is neither the node's nor its gateway's";
    owned(owner, value, path, accepted)
}

/// Refuses a network of which a part is not for pods.
fn subnet(value: &Value, path: &Path, text: &str) -> Result<(), Offence> {
    let network = value::network(text).map(|network| network.trunc());
    let Some(kind) = network.and_then(value::no_pods) else {
        return Ok(());
    };
    Err(Offence {
        rule: Rule::Value,
        path: path.clone(),
        found: format!("{}, which holds {kind} address", shown(value)),
        accepted: "a network of addresses that one host alone can have".to_owned(),
    })
}

/// Refuses what has an owner.
fn owned(owner: Option<String>, value: &Value, path: &Path, accepted: &str) -> Result<(), Offence> {
    let Some(owner) = owner else {
        return Ok(());
    };
    Err(Offence {
        rule: Rule::NodeAddress,
        path: path.clone(),
        found: format!("{}, {owner}", shown(value)),
        accepted: accepted.to_owned(),
    })
}
