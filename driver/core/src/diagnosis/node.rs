//! Rules about one node; the driver runs them and sends what they find with each snapshot.

use std::collections::BTreeSet;

use crate::{
    failure::Failure,
    name::NodeName,
    reconcile::Lease,
    slice::Dropped,
    snapshot::{Finding, Severity, Snapshot},
};

mod claim_in_use;
pub mod dropped_fields;
mod leftover;
mod nri_disconnected;
mod orphan_lease;
mod plugin_unusable;
mod probes_unavailable;

/// What the driver noticed of its surroundings: what rules need beside the snapshot itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// The allowed CNI plugins that cannot run here.
    pub unusable: Vec<UnusablePlugin>,
    /// Why no interface of the node is counted, if none is.
    pub uncounted: Option<Failure>,
    /// The fields of our slices that the API server does not keep.
    pub dropped: BTreeSet<Dropped>,
    /// The API server does not keep what we say in claims.
    pub no_device_status: bool,
    /// The addresses that are kept for nobody.
    pub leases: Vec<Lease>,
}

/// A plugin that a claim may ask for and this node cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusablePlugin {
    /// Its type.
    pub plugin: String,
    /// The metric label: the failure's code.
    pub code: &'static str,
    /// What asking it gave.
    pub message: String,
}

/// All that is wrong with a node, gravest first.
pub fn findings(snapshot: &Snapshot, noticed: &Noticed) -> Vec<Finding> {
    let Snapshot { node, driver, .. } = snapshot;
    let dropped = noticed.dropped.iter();
    let no_status = noticed.no_device_status;
    let mut findings: Vec<Finding> = nri_disconnected::find(snapshot)
        .into_iter()
        .chain(probes_unavailable::find(node, noticed.uncounted.as_ref()))
        .chain(claim_in_use::find(&snapshot.claims, snapshot.taken))
        .chain(leftover::find(&snapshot.leftovers, snapshot.taken))
        .chain(orphan_lease::find(node, &noticed.leases))
        .chain(plugin_unusable::find(node, &noticed.unusable))
        .chain(dropped.map(|dropped| dropped_fields::finding(*dropped, driver, node)))
        .chain(no_status.then(|| dropped_fields::device_status(driver, node)))
        .collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn about_node(rule: &str, severity: Severity, node: &NodeName, message: String) -> Finding {
    Finding {
        rule: rule.to_owned(),
        severity,
        subject: format!("node//{node}"),
        message,
    }
}

#[cfg(test)]
mod tests;
