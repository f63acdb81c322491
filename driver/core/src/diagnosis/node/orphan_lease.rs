//! An address is kept for a sandbox that nobody knows. Reads what the driver noticed in its folders.

use super::about_node;
use crate::{
    name::NodeName,
    reconcile::{LEASE_PATIENCE, Lease},
    snapshot::{Finding, Severity},
};

pub(super) fn find(node: &NodeName, leases: &[Lease]) -> impl Iterator<Item = Finding> {
    leases.iter().map(move |lease| {
        let message = format!(
            "{}; it is freed once that has been so for {} s",
            lease.words(),
            LEASE_PATIENCE.as_secs()
        );
        about_node("orphan_lease", Severity::Notice, node, message)
    })
}
