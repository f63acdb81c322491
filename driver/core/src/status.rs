//! A claim's `status.devices` as a function of the ledger.

use serde::{Deserialize, Serialize};

use crate::{
    ledger::Ledger,
    name::{ClaimUid, DeviceName, DriverName, PoolName, ShareId},
    time::Timestamp,
};

/// One entry of `status.devices`: `resource.k8s.io/v1 AllocatedDeviceStatus`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// Ours.
    pub driver: DriverName,
    /// Pool of the device.
    pub pool: PoolName,
    /// The device.
    pub device: DeviceName,
    /// Which share of it.
    #[serde(rename = "shareID", default, skip_serializing_if = "Option::is_none")]
    pub share_id: Option<ShareId>,
    /// `Ready` and `ProbeAttached`.
    pub conditions: Vec<Condition>,
    /// The CNI result, cut to what the API takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
    /// What others read without knowing CNI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_data: Option<NetworkData>,
}

/// `metav1.Condition`, times not yet written out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready` or `ProbeAttached`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// `CamelCase`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// When the status changed.
    pub last_transition_time: Timestamp,
}

/// `resource.k8s.io/v1 NetworkDeviceData`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkData {
    /// Name in the pod.
    pub interface_name: String,
    /// Addresses with their prefix lengths.
    pub ips: Vec<String>,
    /// Hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_address: Option<String>,
}

/// Every device of the claim that is ours, at once: none is forgotten when one changes.
pub fn devices(_ledger: &Ledger, _claim: &ClaimUid, _driver: &DriverName) -> Vec<DeviceStatus> {
    Vec::new()
}
