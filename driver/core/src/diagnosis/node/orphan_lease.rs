//! An address is kept for a sandbox that nobody knows. Reads what the driver noticed in its folders.

use super::about_node;
use crate::{
    name::NodeName,
    reconcile::Lease,
    snapshot::{Finding, Severity},
};

pub(super) fn find(node: &NodeName, leases: &[Lease]) -> impl Iterator<Item = Finding> {
    leases.iter().map(move |lease| {
        let message = format!(
            "{}; it is freed once that has been so for the seconds of --lease-patience",
            lease.words()
        );
        about_node("orphan_lease", Severity::Notice, node, message)
    })
}
