//! What the API server does not keep: fields of features that are switched off.

use std::collections::BTreeSet;

use super::SliceSpec;

/// A feature whose fields the server dropped from a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dropped {
    /// `allowMultipleAllocations` and `requestPolicy`.
    Sharing,
    /// `taints`.
    Taints,
}

/// Compares what was sent with what was kept.
pub fn dropped(sent: &SliceSpec, stored: &SliceSpec) -> BTreeSet<Dropped> {
    let pairs = || sent.devices.iter().zip(&stored.devices);
    let sharing = pairs().any(|(sent, stored)| {
        sent.allow_multiple_allocations.is_some() && stored.allow_multiple_allocations.is_none()
    });
    let taints = pairs().any(|(sent, stored)| !sent.taints.is_empty() && stored.taints.is_empty());
    let sharing = sharing.then_some(Dropped::Sharing);
    let taints = taints.then_some(Dropped::Taints);
    sharing.into_iter().chain(taints).collect()
}

/// Whether a slice says what is wanted, but for what the server does not keep.
pub(super) fn same(wanted: &SliceSpec, stored: &SliceSpec, dropped: &BTreeSet<Dropped>) -> bool {
    let kept = |spec: &SliceSpec| {
        let mut spec = spec.clone();
        for row in &mut spec.devices {
            if dropped.contains(&Dropped::Sharing) {
                row.allow_multiple_allocations = None;
                for capacity in row.capacity.values_mut() {
                    capacity.request_policy = None;
                }
            }
            if dropped.contains(&Dropped::Taints) {
                row.taints.clear();
            }
            for taint in &mut row.taints {
                taint.time_added = None;
            }
        }
        spec
    };
    kept(wanted) == kept(stored)
}
