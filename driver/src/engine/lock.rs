//! One verb at a time for each pod.

use std::{collections::HashMap, sync::Arc, time::Instant};

use netclaim_core::name::PodUid;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::mutex::locked;

/// Locks by pod: sandboxes of one pod wait for each other, other pods do not.
///
/// The pod and not the sandbox, because a pod's new sandbox must wait until its old one is undone.
#[derive(Debug, Default)]
pub(super) struct PodLocks(std::sync::Mutex<HashMap<PodUid, Arc<Mutex<()>>>>);

impl PodLocks {
    /// The pod's lock, or nothing when it is still held at `until`.
    pub(super) async fn lock(&self, pod: &PodUid, until: Instant) -> Option<OwnedMutexGuard<()>> {
        tokio::time::timeout_at(super::in_time(until), self.wait(pod))
            .await
            .ok()
    }

    /// The pod's lock, however long it takes.
    pub(super) async fn wait(&self, pod: &PodUid) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = locked(&self.0);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(pod.clone()).or_default())
        };
        lock.lock_owned().await
    }
}
