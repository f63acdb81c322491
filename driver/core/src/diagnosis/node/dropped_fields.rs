//! The API server does not keep fields of our slices or claims. Reads what comparing each answer with
//! what was sent gave.

use super::about_node;
use crate::{
    name::{DriverName, NodeName},
    slice::Dropped,
    snapshot::{Finding, Severity},
};

/// Says what it means that a field was dropped, and what to do.
pub fn finding(dropped: Dropped, driver: &DriverName, node: &NodeName) -> Finding {
    let (gate, fields, effect) = match dropped {
        Dropped::Sharing => (
            "DRAConsumableCapacity",
            "`allowMultipleAllocations` and `requestPolicy`",
            "each device serves one claim at a time, and further pods stay Pending",
        ),
        Dropped::Taints => (
            "DRADeviceTaints",
            "`taints`",
            "pods are still scheduled to devices whose link is down or gone",
        ),
    };
    let dropped = format!("{fields} from the slices of {driver}");
    let servers = "kube-apiserver and kube-scheduler (on by default since Kubernetes 1.36)";
    say(node, &dropped, effect, gate, servers)
}

/// Says that statuses of claims are not kept, and what to do.
pub fn device_status(driver: &DriverName, node: &NodeName) -> Finding {
    let dropped = format!("`status.devices` of {driver} from claims");
    let effect = "claims tell neither what their interfaces are nor why they are not there, though \
                  the pods' Events, the metrics and dra-top do";
    let servers = "kube-apiserver (on by default since Kubernetes 1.33)";
    say(
        node,
        &dropped,
        effect,
        "DRAResourceClaimDeviceStatus",
        servers,
    )
}

fn say(node: &NodeName, dropped: &str, effect: &str, gate: &str, servers: &str) -> Finding {
    let message = format!(
        "the API server dropped {dropped}: {effect}; switch on the feature gate {gate} in {servers}"
    );
    about_node("dropped_fields", Severity::Warning, node, message)
}
