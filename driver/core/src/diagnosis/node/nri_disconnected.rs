//! The container runtime does not announce its pods. Reads the snapshot's `nri`.

use super::about_node;
use crate::snapshot::{Finding, Severity, Snapshot};

pub(super) fn find(snapshot: &Snapshot) -> Option<Finding> {
    let nri = &snapshot.nri;
    if nri.connected {
        return None;
    }
    let seconds = snapshot.taken.since(nri.since).as_secs();
    let runtime = nri.runtime.as_deref().unwrap_or("the container runtime");
    Some(about_node(
        "nri_disconnected",
        Severity::Fault,
        &snapshot.node,
        format!(
            "{runtime} has not announced pods for {seconds} s: pods with claims wait in \
             ContainerCreating; look whether it runs and has NRI enabled (containerd: \
             `[plugins.\"io.containerd.nri.v1.nri\"] disable = false`)"
        ),
    ))
}
