//! Claims as this node understands them.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use self::refusal::Asked;
use crate::{
    cni::ConfList,
    inventory::Mode,
    name::{
        ClaimName, ClaimUid, DeviceName, IfName, Namespace, PodName, PodUid, PoolName, RequestName,
        ShareId,
    },
};

pub mod config;
pub mod object;
pub mod offence;
pub mod parse;
pub mod policy;
pub mod refusal;
#[cfg(test)]
pub(crate) mod samples;

/// A claim by name and by UID: the name for people, the UID for us.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClaimRef {
    /// Namespace of the claim, and so of its pod.
    pub namespace: Namespace,
    /// Name of the claim.
    pub name: ClaimName,
    /// UID of the claim.
    pub uid: ClaimUid,
}

/// A pod by name and by UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodRef {
    /// Namespace of the pod.
    pub namespace: Namespace,
    /// Name of the pod.
    pub name: PodName,
    /// UID of the pod.
    pub uid: PodUid,
}

impl fmt::Display for ClaimRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One device of the allocation: what `status.devices` entries are keyed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Allocated {
    /// The request that it serves.
    pub request: RequestName,
    /// Pool of the device.
    pub pool: PoolName,
    /// The device.
    pub device: DeviceName,
    /// Which share of a shared device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_id: Option<ShareId>,
    /// Allocated beside its owners, for an administrator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin_access: bool,
}

impl Allocated {
    /// Who asked for it, for messages.
    pub fn asked(&self, claim: &ClaimRef) -> Asked {
        Asked {
            claim: claim.clone(),
            request: self.request.clone(),
        }
    }
}

/// One allocated device of a prepared claim, and what it becomes in the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedDevice {
    /// Which result of the allocation.
    pub allocated: Allocated,
    /// The link on the node that backs it.
    pub link: String,
    /// Whether other pods may use the same device.
    pub mode: Mode,
    /// Name of the interface in the pod.
    pub if_name: IfName,
    /// What runs: policy has passed it and filled in the device. Shared with the attachment.
    pub network: Arc<ConfList>,
    /// Capability arguments (`mac`, `ips`, `bandwidth`).
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub runtime_config: serde_json::Map<String, serde_json::Value>,
    /// Whether flows are to be recorded.
    #[serde(default)]
    pub observe_flows: bool,
}

/// A claim that the kubelet has prepared: valid, ours, and of one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedClaim {
    /// The claim.
    pub claim: ClaimRef,
    /// The pod that it serves.
    pub pod: PodRef,
    /// Its devices of our driver, in the order of the allocation.
    pub devices: Vec<PreparedDevice>,
    /// Whether it is its pod's own, as one that is made from a template: no other pod comes for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owned: bool,
}

impl PreparedClaim {
    /// Whether this and `other` give the same pod interfaces of the same devices, by the same names.
    pub fn gives_same_as(&self, other: &Self) -> bool {
        fn given(claim: &PreparedClaim) -> impl Iterator<Item = (&Allocated, &IfName)> {
            let devices = claim.devices.iter();
            devices.map(|device| (&device.allocated, &device.if_name))
        }
        self.pod == other.pod && given(self).eq(given(other))
    }

    /// Whether the kubelet may never tell of a pod that comes for it: it prepares a claim once, not
    /// once for each pod.
    pub fn is_shared(&self) -> bool {
        !self.owned
    }
}
