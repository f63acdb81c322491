//! Requests to the API server: counted by outcome, and each kind of failure said in words.
//!
//! Owns the counters that the metrics read. It never sends a request and never decides whether one
//! is repeated.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use kube::core::{Status, response::StatusCause};

use crate::chain::Chain;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As wanted.
    Ok,
    /// 401, 403, or 422 for a field that is not ours to write: we may not.
    Denied,
    /// 404: what it was about is gone.
    Missing,
    /// 409: somebody was faster.
    Conflict,
    /// 422: the server does not take what we wrote.
    Invalid,
    /// Any other answer.
    Refused,
    /// No answer.
    Unreachable,
}

impl Outcome {
    /// All of them, in the order of their counters.
    const ALL: [Self; 7] = [
        Self::Ok,
        Self::Denied,
        Self::Missing,
        Self::Conflict,
        Self::Invalid,
        Self::Refused,
        Self::Unreachable,
    ];

    /// What an error means.
    pub fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                401 | 403 => Self::Denied,
                404 => Self::Missing,
                409 => Self::Conflict,
                422 if forbids_field(status) => Self::Denied,
                422 => Self::Invalid,
                _ => Self::Refused,
            },
            _ => Self::Unreachable,
        }
    }

    /// The metric label.
    pub fn code(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Requests of one kind.
#[derive(Debug)]
pub struct Calls {
    /// What they do, as the log says it: "ResourceSlices are not published".
    fails: &'static str,
    /// The right that they need.
    right: &'static str,
    counts: [AtomicU64; Outcome::ALL.len()],
    denied: AtomicBool,
}

impl Calls {
    fn new(fails: &'static str, right: &'static str) -> Self {
        Self {
            fails,
            right,
            counts: [const { AtomicU64::new(0) }; Outcome::ALL.len()],
            denied: AtomicBool::new(false),
        }
    }

    /// Counts a request that went well.
    pub fn succeeded(&self) {
        self.denied.store(false, Ordering::Relaxed);
        self.count(Outcome::Ok);
    }

    /// Counts a request that failed and logs why; a denial only once until one goes well.
    pub fn failed(&self, object: &str, error: &kube::Error) -> Outcome {
        let outcome = Outcome::of(error);
        self.count(outcome);
        let (fails, right, words) = (self.fails, self.right, words(error));
        match outcome {
            Outcome::Denied => {
                if !self.denied.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        object,
                        "{fails}: {words}; grant {right} to netclaim's service account (said once)"
                    );
                }
            }
            Outcome::Missing | Outcome::Conflict => tracing::debug!(object, "{fails}: {words}"),
            _ => tracing::warn!(object, "{fails} for the moment: {words}; it is tried again"),
        }
        outcome
    }

    /// Counts a request that failed for a cause that was logged.
    pub fn failed_again(&self, error: &kube::Error) {
        self.count(Outcome::of(error));
    }

    /// How many requests ended how, by metric label.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        Outcome::ALL.map(Outcome::code).into_iter().zip(counts)
    }

    fn count(&self, outcome: Outcome) {
        // The counters are in the order of the enum.
        if let Some(count) = self.counts.get(outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What we asked of the API server since the start.
#[derive(Debug)]
pub struct ApiCounters {
    /// Watching and writing our `ResourceSlices`.
    pub slices: Calls,
    /// Watching claims that pods share.
    pub claims: Calls,
    /// Writing the status of claims.
    pub statuses: Calls,
    /// Writing Events.
    pub events: Calls,
    /// Events that were not even tried, because too many waited.
    pub events_dropped: AtomicU64,
}

impl ApiCounters {
    /// All zero.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            slices: Calls::new(
                "ResourceSlices are not published",
                "get, list, watch, create, update and delete on resourceslices.resource.k8s.io \
                 and get on nodes",
            ),
            claims: Calls::new(
                "claims that pods share are not followed",
                "get and watch on resourceclaims.resource.k8s.io and get on pods",
            ),
            statuses: Calls::new(
                "claim status is not written",
                "get on resourceclaims.resource.k8s.io, patch on resourceclaims/status and, since \
                 Kubernetes 1.36, associated-node:patch on resourceclaims/driver",
            ),
            events: Calls::new(
                "Events are not written",
                "create and patch on events.events.k8s.io",
            ),
            events_dropped: AtomicU64::new(0),
        })
    }
}

/// Whether all that is wrong with an object is who wrote it: since Kubernetes 1.36 the right to
/// write a driver's `status.devices` is asked for where objects are validated
/// (`AuthorizedForDeviceStatus` in pkg/registry/resource/utils.go).
fn forbids_field(status: &Status) -> bool {
    let causes = status.details.as_ref().map(|details| &details.causes);
    let forbidden = |cause: &StatusCause| cause.reason == "FieldValueForbidden";
    causes.is_some_and(|causes| !causes.is_empty() && causes.iter().all(forbidden))
}

/// What the server said, or what kept us from hearing it.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => Chain(other).to_string(),
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
