//! Which claim's status is to be written, and when: level-triggered, one write per claim at a time.
//!
//! Knows what is wanted and what was written last; whatever happens in between is never queued.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use netclaim_core::{
    claim::ClaimRef,
    name::ClaimUid,
    status::{self, DeviceStatus},
};
use tokio::time::Instant;

/// Wait after the first failure; it doubles with each further one.
const MIN_BACKOFF: Duration = Duration::from_millis(500);

/// Longest wait between two tries.
const MAX_BACKOFF: Duration = Duration::from_mins(1);

/// How long what is on its way may take before it is told. A pod that comes or goes as it should
/// costs the API server one write; each more is read by everybody who watches claims.
const PASSING: Duration = Duration::from_secs(3);

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    /// Of which claim.
    pub claim: ClaimRef,
    /// All our devices.
    pub devices: Vec<DeviceStatus>,
    /// The node knows the claim no more: it is written only if it is still allocated.
    pub last: bool,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As wanted.
    Written,
    /// The claim is gone, is another one, or is not allocated: nothing is to be said of it.
    Gone,
    /// Not at all; to be tried again.
    Failed,
}

/// What is known of one claim.
#[derive(Debug)]
struct Entry {
    claim: ClaimRef,
    wanted: Digest,
    written: Digest,
    /// What is wanted; empty once it is written.
    devices: Vec<DeviceStatus>,
    /// The ledger speaks of it no more.
    last: bool,
    gone: bool,
    busy: bool,
    failures: u32,
    /// After a failure.
    not_before: Option<Instant>,
    /// While the wanted status tells of what is on its way.
    settles: Option<Instant>,
}

/// A status by its hash: the statuses of all claims, kept in full as wanted and as written, would
/// be most of what the driver of a full node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest(u64);

impl Digest {
    fn of(devices: &[DeviceStatus]) -> Self {
        let mut hasher = DefaultHasher::new();
        devices.hash(&mut hasher);
        Self(hasher.finish())
    }

    /// Nothing is said.
    fn empty() -> Self {
        Self::of(&[])
    }
}

impl Entry {
    fn new(claim: ClaimRef) -> Self {
        Self {
            claim,
            wanted: Digest::empty(),
            written: Digest::empty(),
            devices: Vec::new(),
            last: false,
            gone: false,
            busy: false,
            failures: 0,
            not_before: None,
            settles: None,
        }
    }

    fn want(&mut self, devices: Vec<DeviceStatus>, now: Instant) {
        let passing = status::is_passing(&devices);
        self.settles = passing.then(|| self.settles.unwrap_or(now + PASSING));
        self.wanted = Digest::of(&devices);
        self.devices = devices;
        self.forget_written();
    }

    /// A write that is under way may end with something else written.
    fn forget_written(&mut self) {
        if !self.busy && self.wanted == self.written {
            self.devices = Vec::new();
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.is_wanting() && self.due().is_none_or(|at| at <= now)
    }

    fn due(&self) -> Option<Instant> {
        self.not_before.max(self.settles)
    }

    fn is_wanting(&self) -> bool {
        !self.busy && !self.gone && self.written != self.wanted
    }

    /// Whether nothing is left to be done or to be known.
    fn is_over(&self) -> bool {
        self.last && !self.busy && (self.gone || self.written == Digest::empty())
    }
}

/// The claims by UID.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: BTreeMap<ClaimUid, Entry>,
}

impl Queue {
    /// Takes in what is wanted of all claims; of one that is missing, that it says nothing.
    pub(super) fn want(
        &mut self,
        all: impl IntoIterator<Item = (ClaimRef, Vec<DeviceStatus>)>,
        now: Instant,
    ) {
        for entry in self.entries.values_mut() {
            entry.last = true;
        }
        for (claim, devices) in all {
            let entry = self.entries.entry(claim.uid.clone());
            let entry = entry.or_insert_with(|| Entry::new(claim));
            entry.last = false;
            entry.want(devices, now);
        }
        for entry in self.entries.values_mut().filter(|entry| entry.last) {
            entry.want(Vec::new(), now);
        }
        self.entries.retain(|_, entry| !entry.is_over());
    }

    /// The next write, which is under way from here on.
    pub(super) fn next(&mut self, now: Instant) -> Option<Job> {
        let entry = self.entries.values_mut().find(|entry| entry.is_due(now))?;
        entry.busy = true;
        Some(Job {
            claim: entry.claim.clone(),
            devices: entry.devices.clone(),
            last: entry.last,
        })
    }

    /// A write ended.
    pub(super) fn done(&mut self, job: &Job, ending: Ending, now: Instant) {
        let Some(entry) = self.entries.get_mut(&job.claim.uid) else {
            return;
        };
        entry.busy = false;
        match ending {
            Ending::Written => {
                entry.written = Digest::of(&job.devices);
                entry.forget_written();
                entry.failures = 0;
                entry.not_before = None;
            }
            // What was wanted meanwhile still has to be written.
            Ending::Gone => entry.gone = job.last == entry.last,
            Ending::Failed => {
                let wait = MIN_BACKOFF.saturating_mul(1 << entry.failures.min(16));
                entry.not_before = Some(now + wait.min(MAX_BACKOFF));
                entry.failures += 1;
            }
        }
        if entry.is_over() {
            self.entries.remove(&job.claim.uid);
        }
    }

    /// When a write that failed is to be tried again, or what has not settled is to be told; one that
    /// is due already waits for its turn.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let wanting = self.entries.values().filter(|entry| entry.is_wanting());
        let times = wanting.filter_map(Entry::due);
        times.filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests;
