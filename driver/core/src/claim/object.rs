//! A `ResourceClaim` as the API server gives it: the few fields that we read.
//!
//! Tolerant: the API server owns this schema and adds to it. The strict part is what users write
//! into it for us, and that is [`config`](super::config)'s.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Allocated, ClaimRef, PodRef};
use crate::name::{
    ClaimName, ClaimUid, DeviceName, DriverName, NameError, Namespace, PodName, PodUid, PoolName,
    RequestName, ShareId,
};

/// `resource.k8s.io/v1 ResourceClaim`, and `v1beta1` as far as it is allocated.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ClaimObject {
    /// Who it is.
    pub metadata: Metadata,
    /// What the scheduler decided.
    #[serde(default, deserialize_with = "null_is_default")]
    pub status: Status,
}

/// The identity of an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: ClaimName,
    /// UID.
    pub uid: ClaimUid,
    /// Changes with every change.
    #[serde(default)]
    pub resource_version: String,
    /// Whose it is.
    #[serde(default, deserialize_with = "null_is_default")]
    pub owner_references: Vec<Owner>,
}

/// `OwnerReference`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Owner {
    /// Kind of the owner.
    pub kind: String,
    /// UID of the owner.
    pub uid: String,
}

/// `ResourceClaimStatus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// None until the scheduler has found devices.
    pub allocation: Option<Allocation>,
    /// Who may use the claim now.
    #[serde(default, deserialize_with = "null_is_default")]
    pub reserved_for: Vec<Consumer>,
}

/// `AllocationResult`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Allocation {
    /// The devices and how to configure them.
    #[serde(default, deserialize_with = "null_is_default")]
    pub devices: Devices,
}

/// `DeviceAllocationResult`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Devices {
    /// The devices, of all drivers.
    #[serde(default, deserialize_with = "null_is_default")]
    pub results: Vec<DeviceResult>,
    /// The configurations, of all drivers; those of the class come first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: Vec<DeviceConfig>,
}

/// `DeviceRequestAllocationResult`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceResult {
    /// The request, or `request/subrequest`.
    pub request: String,
    /// Whose device.
    pub driver: String,
    /// Its pool.
    pub pool: String,
    /// The device.
    pub device: String,
    /// Which share, where several claims may have it.
    #[serde(rename = "shareID")]
    pub share_id: Option<String>,
    /// Allocated beside its owners.
    pub admin_access: Option<bool>,
    /// How much of it, by capacity name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub consumed_capacity: BTreeMap<String, Value>,
}

/// `DeviceAllocationConfiguration`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct DeviceConfig {
    /// Who wrote it.
    pub source: Source,
    /// The requests that it is for; none means all.
    #[serde(default, deserialize_with = "null_is_default")]
    pub requests: Vec<String>,
    /// None for a kind of configuration that came after us.
    pub opaque: Option<Opaque>,
}

/// Who wrote a configuration, and so how far it is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// The administrator, in the `DeviceClass`.
    #[serde(rename = "FromClass")]
    Class,
    /// A tenant, in the claim.
    #[serde(rename = "FromClaim")]
    Claim,
}

/// `OpaqueDeviceConfiguration`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Opaque {
    /// Whose.
    pub driver: String,
    /// What only that driver understands.
    #[serde(default)]
    pub parameters: Value,
}

/// `ResourceClaimConsumerReference`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    /// API group; empty for the core group.
    #[serde(default)]
    pub api_group: String,
    /// Plural name of the kind: `pods`.
    pub resource: String,
    /// Name of the object, in the claim's namespace.
    pub name: String,
    /// UID of the object.
    pub uid: String,
}

impl ClaimObject {
    /// Its identity.
    pub fn claim(&self) -> ClaimRef {
        let Metadata {
            namespace,
            name,
            uid,
            ..
        } = self.metadata.clone();
        ClaimRef {
            namespace,
            name,
            uid,
        }
    }

    /// Which of two looks at the claim is the later one: resource versions grow, and since
    /// Kubernetes 1.35 clients may compare them as numbers. Zero for what is no number.
    pub fn version(&self) -> u64 {
        self.metadata.resource_version.parse().unwrap_or_default()
    }

    /// Whether it is this pod's own.
    pub fn is_owned_by(&self, pod: &PodRef) -> bool {
        let mut owners = self.metadata.owner_references.iter();
        owners.any(|owner| owner.kind == "Pod" && owner.uid == pod.uid.as_str())
    }

    /// The pods that have reserved it, in the order in which they did.
    pub fn pods(&self) -> impl Iterator<Item = PodRef> {
        let consumers = self.status.reserved_for.iter();
        consumers
            .filter(|consumer| consumer.is_pod())
            .filter_map(|consumer| consumer.pod(&self.metadata.namespace).ok())
    }

    /// The results of one driver, in the order of the allocation.
    pub fn results<'a>(&'a self, driver: &'a DriverName) -> impl Iterator<Item = &'a DeviceResult> {
        self.status
            .allocation
            .iter()
            .flat_map(|allocation| &allocation.devices.results)
            .filter(move |result| result.driver == driver.as_str())
    }
}

impl DeviceResult {
    /// What the status entry of this device is keyed by.
    pub fn allocated(&self) -> Result<Allocated, NameError> {
        Ok(Allocated {
            request: RequestName::parse(self.request.as_str())?,
            pool: PoolName::parse(self.pool.as_str())?,
            device: DeviceName::parse(self.device.as_str())?,
            share_id: self
                .share_id
                .as_deref()
                .filter(|id| !id.is_empty())
                .map(ShareId::parse)
                .transpose()?,
            admin_access: self.admin_access.unwrap_or(false),
        })
    }
}

impl Consumer {
    /// Whether it is a pod and nothing else that is called so.
    pub fn is_pod(&self) -> bool {
        self.api_group.is_empty() && self.resource == "pods"
    }

    /// The pod, in the claim's namespace.
    pub fn pod(&self, namespace: &Namespace) -> Result<PodRef, NameError> {
        Ok(PodRef {
            namespace: namespace.clone(),
            name: PodName::parse(self.name.as_str())?,
            uid: PodUid::parse(self.uid.as_str())?,
        })
    }
}

/// A list or object that its writer left empty may come as null.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
