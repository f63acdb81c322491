//! The API server does not keep fields of our slices. Reads what comparing each answer with what was
//! sent gave.

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
    about_node(
        "dropped_fields",
        Severity::Warning,
        node,
        format!(
            "the API server dropped {fields} from the slices of {driver}: {effect}; switch on the \
             feature gate {gate} in kube-apiserver and kube-scheduler (on by default since \
             Kubernetes 1.36)"
        ),
    )
}
