//! How a fact changes the ledger: the only place that writes it.

use super::{ENDED_KEPT, Failed, Held, Ledger, REFUSED_KEPT, Refusal};
use crate::{
    attachment::{Attachment, Ended, Key, Leftover, Moment, Phase, ProbeState},
    counters::Counters,
    fact::{Fact, Refused},
    failure::{Failure, Timing},
    name::ClaimUid,
    time::Timestamp,
};

impl Ledger {
    /// Takes a fact in. Facts about what is not known change nothing: a journal may repeat itself.
    pub fn apply(&mut self, at: Timestamp, fact: &Fact) {
        self.generation += 1;
        match fact {
            Fact::Prepared(claim) => {
                self.refused.remove(&claim.claim.uid);
                self.prepared.entry(claim.claim.uid.clone()).or_insert(at);
                self.claims.insert(claim.claim.uid.clone(), claim.clone());
            }
            Fact::Refused(refused) => self.refuse(at, refused),
            Fact::Attaching(attachment) => self.promise(at, attachment),
            Fact::Attached {
                key,
                result,
                probe,
                late,
                timings,
            } => {
                let phase = Phase::Attached {
                    result: result.clone(),
                    probe: probe.clone(),
                    at,
                    late: *late,
                };
                self.attached(at, key, phase, timings);
            }
            Fact::AttachFailed {
                key,
                failure,
                timings,
            } => {
                self.failed(at, key, failure, timings);
            }
            Fact::ProbeChanged { key, probe } => self.probe_changed(at, key, probe),
            Fact::Detaching { key } => {
                if let Some(held) = self.attachments.get_mut(key) {
                    held.phase = Phase::Detaching;
                    held.timeline.push(moment(at, Moment::DETACHING));
                }
            }
            Fact::Detached { key, last, timings } => {
                self.end(at, key, *last, None, timings);
                self.leftovers.remove(key);
            }
            Fact::LeftBehind(leftover) => self.leave_behind(at, leftover),
            Fact::Cleared { key } => {
                self.leftovers.remove(key);
            }
            Fact::Unprepared { claim } => self.forget(claim),
        }
    }

    fn refuse(&mut self, at: Timestamp, refused: &Refused) {
        let before = self.refused.get(&refused.claim.uid);
        self.refused.insert(
            refused.claim.uid.clone(),
            Refusal {
                at,
                since: before.map_or(at, |before| before.since),
                refused: refused.clone(),
            },
        );
        while self.refused.len() > REFUSED_KEPT {
            let oldest = self.refused.iter().min_by_key(|(_, refusal)| refusal.at);
            let Some(uid) = oldest.map(|(uid, _)| uid.clone()) else {
                return;
            };
            self.refused.remove(&uid);
        }
    }

    fn promise(&mut self, at: Timestamp, attachment: &Attachment) {
        self.refused.remove(&attachment.claim.uid);
        let held = Held {
            attachment: attachment.clone(),
            phase: Phase::Attaching,
            since: at,
            order: self.generation,
            failure: None,
            timeline: vec![moment(at, Moment::ATTACHING)],
        };
        self.attachments.insert(attachment.key.clone(), held);
    }

    fn attached(&mut self, at: Timestamp, key: &Key, phase: Phase, timings: &[Timing]) {
        let Some(held) = self.attachments.get_mut(key) else {
            return;
        };
        held.phase = phase;
        held.timeline
            .extend(timings.iter().map(|timing| timed(at, timing)));
        held.timeline.push(moment(at, Moment::ATTACHED));
        if let Phase::Attached { probe, .. } = &held.phase
            && matches!(probe, ProbeState::Missing { .. })
        {
            held.timeline.push(counted(at, probe));
        }
        let claim = held.attachment.claim.uid.clone();
        self.failures.remove(&(claim, key.if_name.clone()));
    }

    /// The attachment stays until what was done for it is undone: a crash must not forget it.
    fn failed(&mut self, at: Timestamp, key: &Key, failure: &Failure, timings: &[Timing]) {
        let Some(held) = self.attachments.get_mut(key) else {
            return;
        };
        held.phase = Phase::Detaching;
        held.failure = Some(failure.clone());
        held.timeline
            .extend(timings.iter().map(|timing| timed(at, timing)));
        held.timeline.push(Moment {
            failure: Some(failure.clone()),
            ..moment(at, Moment::FAILED)
        });
        let claim = held.attachment.claim.uid.clone();
        if self.claims.contains_key(&claim) {
            let failed = Failed {
                at,
                sandbox: key.sandbox.clone(),
                failure: failure.clone(),
            };
            self.failures.insert((claim, key.if_name.clone()), failed);
        }
    }

    fn probe_changed(&mut self, at: Timestamp, key: &Key, new: &ProbeState) {
        let Some(held) = self.attachments.get_mut(key) else {
            return;
        };
        let Phase::Attached { probe, .. } = &mut held.phase else {
            return;
        };
        *probe = new.clone();
        held.timeline.push(counted(at, new));
    }

    fn end(
        &mut self,
        at: Timestamp,
        key: &Key,
        last: Option<Counters>,
        left: Option<&Failure>,
        timings: &[Timing],
    ) {
        let Some(mut held) = self.attachments.remove(key) else {
            return;
        };
        let what = if left.is_some() {
            Moment::LEFT_BEHIND
        } else {
            Moment::DETACHED
        };
        held.timeline
            .extend(timings.iter().map(|timing| timed(at, timing)));
        held.timeline.push(Moment {
            failure: left.cloned(),
            ..moment(at, what)
        });
        self.ended.push_back(Ended {
            attachment: held.attachment,
            since: held.since,
            at,
            last,
            failure: held.failure.or_else(|| left.cloned()),
            timeline: held.timeline,
        });
        while self.ended.len() > ENDED_KEPT {
            self.ended.pop_front();
        }
    }

    fn leave_behind(&mut self, at: Timestamp, leftover: &Leftover) {
        let key = &leftover.attachment.key;
        self.end(at, key, None, Some(&leftover.failure), &[]);
        let since = self
            .leftovers
            .get(key)
            .map_or(leftover.since, |known| known.since);
        self.leftovers.insert(
            key.clone(),
            Leftover {
                since,
                ..leftover.clone()
            },
        );
    }

    fn forget(&mut self, claim: &ClaimUid) {
        self.claims.remove(claim);
        self.prepared.remove(claim);
        self.refused.remove(claim);
        self.failures.retain(|(uid, _), _| uid != claim);
    }
}

fn moment(at: Timestamp, what: &str) -> Moment {
    Moment {
        at,
        what: what.to_owned(),
        timing: None,
        failure: None,
    }
}

fn counted(at: Timestamp, probe: &ProbeState) -> Moment {
    match probe {
        ProbeState::Counting { .. } => moment(at, Moment::COUNTING),
        ProbeState::Missing { failure } => Moment {
            failure: Some(failure.clone()),
            ..moment(at, Moment::NOT_COUNTED)
        },
    }
}

fn timed(at: Timestamp, timing: &Timing) -> Moment {
    let what = match &timing.plugin {
        Some(plugin) => format!("{} {plugin}", timing.step.code()),
        None => timing.step.code().to_owned(),
    };
    Moment {
        at,
        what,
        timing: Some(timing.clone()),
        failure: None,
    }
}
