//! The one line that a fact prints.
//!
//! Owns the fields: `claim` and `pod` as `namespace/name`, `key` as sandbox and interface. It decides
//! nothing, and a fact that says nothing of somebody's pod prints no `pod`.

use netclaim_core::{
    attachment::{Attachment, ProbeState},
    fact::Fact,
};
use tracing::field::display;

use super::Recorded;

pub(super) fn log(recorded: &Recorded) {
    let at = recorded.attachment();
    let claim = at.map(|at| display(&at.claim));
    let pod = at.map(|at| display(&at.pod));
    match &recorded.fact {
        Fact::Lost => tracing::info!("there is no ledger: what is here is looked for"),
        Fact::Rebuilt => tracing::info!("the ledger is whole"),
        Fact::Rebooted => tracing::info!("the node has booted"),
        Fact::TakenOver { attachment, .. } => {
            tracing::warn!(key = %attachment.key, claim, pod, "taken over");
        }
        Fact::Prepared(of) => {
            let devices = of.devices.len();
            tracing::info!(claim = %of.claim, pod = %of.pod, devices, "prepared");
        }
        Fact::Refused(refused) => tracing::warn!(
            claim = %refused.claim, pod = refused.pod.as_ref().map(display),
            reason = %refused.failure.reason, "refused: {}", refused.failure.message
        ),
        Fact::Waiting { claim, pods } => {
            let pods: Vec<String> = pods.iter().map(ToString::to_string).collect();
            tracing::info!(%claim, ?pods, "pods wait for it");
        }
        Fact::Attaching(at) => tracing::debug!(key = %at.key, claim, pod, "attaching"),
        Fact::Attached {
            key, timings, late, ..
        } => {
            let micros: u64 = timings.iter().map(|timing| timing.micros).sum();
            tracing::info!(%key, claim, pod, late, micros, "attached");
        }
        Fact::AttachFailed { key, failure, .. } => tracing::warn!(
            %key, claim, pod, step = failure.step.code(), reason = %failure.reason,
            "attach failed: {}", failure.message
        ),
        Fact::ProbeChanged { key, probe } => match probe {
            ProbeState::Counting { mode, .. } => {
                tracing::debug!(%key, claim, pod, ?mode, "counting");
            }
            ProbeState::Missing { failure, .. } => tracing::warn!(
                %key, claim, pod, reason = %failure.reason, "not counted: {}", failure.message
            ),
        },
        Fact::Detaching { key } => tracing::debug!(%key, claim, pod, "detaching"),
        Fact::Detached { key, .. } => tracing::info!(%key, claim, pod, "detached"),
        Fact::LeftBehind(left) => tracing::warn!(
            key = %left.attachment.key, claim, pod, attempts = left.attempts,
            "left behind: {}", left.failure.message
        ),
        Fact::Cleared { key } => tracing::info!(%key, claim, pod, "leftover cleared"),
        Fact::Unprepared { claim } => tracing::info!(%claim, "unprepared"),
    }
}

impl Recorded {
    /// Of which attachment the fact is.
    fn attachment(&self) -> Option<&Attachment> {
        let key = match &self.fact {
            Fact::TakenOver { attachment, .. } | Fact::Attaching(attachment) => {
                return Some(attachment);
            }
            Fact::LeftBehind(left) => return Some(&left.attachment),
            Fact::Attached { key, .. }
            | Fact::AttachFailed { key, .. }
            | Fact::ProbeChanged { key, .. }
            | Fact::Detaching { key }
            | Fact::Detached { key, .. }
            | Fact::Cleared { key } => key,
            Fact::Lost
            | Fact::Rebuilt
            | Fact::Rebooted
            | Fact::Prepared(_)
            | Fact::Refused(_)
            | Fact::Waiting { .. }
            | Fact::Unprepared { .. } => return None,
        };
        let held = self.before.held(key).map(|held| &held.attachment);
        let mut left = self.before.leftovers().map(|left| &left.attachment);
        held.or_else(|| left.find(|at| at.key == *key))
    }
}
