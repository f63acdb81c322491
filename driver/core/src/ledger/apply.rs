//! How a fact changes the ledger: the only place that writes it.

use std::sync::Arc;

use super::{
    ENDED_KEPT, Failed, Held, Ledger, REFUSED_KEPT, Refusal, TIMELINE_KEPT, Waiting, share,
};
use crate::{
    attachment::{Attachment, Ended, Key, Leftover, Moment, Phase, ProbeState, Timeline},
    claim::{PodRef, PreparedClaim},
    cni::ConfList,
    counters::Counters,
    drops::Drops,
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
            Fact::Lost => self.lost = true,
            Fact::Rebuilt => self.lost = false,
            Fact::Rebooted => self.reboot(at),
            Fact::Prepared(claim) => self.prepare(at, claim),
            Fact::Refused(refused) => self.refuse(at, refused),
            Fact::Waiting { claim, pods } => self.wait(at, claim, pods),
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
            Fact::TakenOver { attachment, result } => {
                self.promise(at, attachment);
                let phase = Phase::Attached {
                    result: result.clone(),
                    probe: None,
                    at,
                    late: false,
                };
                self.attached(at, &attachment.key, phase, &[]);
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
                if let Some(held) = self.attachments.get_mut(key).map(Arc::make_mut) {
                    held.phase = Phase::Detaching { base: held.base() };
                    held.tell(moment(at, Moment::DETACHING));
                }
            }
            Fact::Detached {
                key,
                last,
                drops,
                timings,
            } => {
                self.end(at, key, (*last, drops.as_ref()), None, timings);
                self.leftovers.remove(key);
            }
            Fact::LeftBehind(leftover) => self.leave_behind(at, leftover),
            Fact::Cleared { key } => {
                self.leftovers.remove(key);
            }
            Fact::Unprepared { claim } => self.forget(claim),
        }
    }

    /// Nothing that was counted is left: the pins have gone with the kernel that had them.
    fn reboot(&mut self, at: Timestamp) {
        for held in self.attachments.values_mut().map(Arc::make_mut) {
            held.phase = Phase::Detaching { base: None };
            held.tell(moment(at, Moment::REBOOTED));
        }
    }

    fn prepare(&mut self, at: Timestamp, claim: &PreparedClaim) {
        let uid = &claim.claim.uid;
        self.refused.remove(uid);
        self.prepared.entry(uid.clone()).or_insert(at);
        let mut row = claim.clone();
        for device in &mut row.devices {
            self.share(&mut device.network);
        }
        let before = self.claims.insert(uid.clone(), Arc::new(row));
        if before.is_some_and(|before| before.pod.uid != claim.pod.uid) {
            self.failures.retain(|(failed, _), _| failed != uid);
        }
        if let Some(waiting) = self.waiting.get(uid).cloned() {
            self.wait(at, uid, &waiting.pods);
        }
    }

    /// Claims of one template ask for the same network: it is kept once.
    fn share(&self, network: &mut Arc<ConfList>) {
        let known = self.claims().flat_map(|claim| &claim.devices);
        share(known.map(|device| &device.network), network);
    }

    fn wait(&mut self, at: Timestamp, claim: &ClaimUid, pods: &[PodRef]) {
        let Some(prepared) = self.claims.get(claim) else {
            return;
        };
        let others = pods.iter().filter(|pod| pod.uid != prepared.pod.uid);
        let pods: Vec<PodRef> = others.cloned().collect();
        let before = self.waiting.remove(claim);
        if !pods.is_empty() {
            let since = before.map_or(at, |before| before.since);
            let row = Waiting { since, pods };
            self.waiting.insert(claim.clone(), row);
        }
    }

    /// What another pod is told changes nothing for the one that a claim serves.
    fn refuse(&mut self, at: Timestamp, refused: &Refused) {
        let served = self.claims.get(&refused.claim.uid).map(|claim| &claim.pod);
        if let (Some(served), Some(pod)) = (served, &refused.pod)
            && served.uid != pod.uid
        {
            return;
        }
        let before = self.refused.get(&refused.claim.uid);
        self.refused.insert(
            refused.claim.uid.clone(),
            Arc::new(Refusal {
                at,
                since: before.map_or(at, |before| before.since),
                refused: refused.clone(),
            }),
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
        let mut attachment = attachment.clone();
        self.share(&mut attachment.device.network);
        let key = attachment.key.clone();
        let held = Held {
            attachment,
            phase: Phase::Attaching,
            since: at,
            order: self.generation,
            failure: None,
            timeline: Timeline::new(vec![moment(at, Moment::ATTACHING)]),
        };
        self.attachments.insert(key, Arc::new(held));
    }

    fn attached(&mut self, at: Timestamp, key: &Key, phase: Phase, timings: &[Timing]) {
        let Some(held) = self.attachments.get_mut(key).map(Arc::make_mut) else {
            return;
        };
        held.phase = phase;
        held.tell_timings(at, timings);
        held.tell(moment(at, Moment::ATTACHED));
        if let Phase::Attached {
            probe: Some(probe), ..
        } = &held.phase
        {
            held.tell(counted(at, probe));
        }
        let claim = held.attachment.claim.uid.clone();
        // Whoever came for the pod meanwhile was told that it is busy.
        self.refused.remove(&claim);
        self.failures.remove(&(claim, key.if_name.clone()));
    }

    /// The attachment stays until what was done for it is undone: a crash must not forget it.
    fn failed(&mut self, at: Timestamp, key: &Key, failure: &Failure, timings: &[Timing]) {
        let Some(held) = self.attachments.get_mut(key).map(Arc::make_mut) else {
            return;
        };
        held.phase = Phase::Detaching { base: held.base() };
        held.failure = Some(failure.clone());
        held.tell_timings(at, timings);
        held.tell(Moment {
            failure: Some(failure.clone().into()),
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
        let Some(held) = self.attachments.get_mut(key).map(Arc::make_mut) else {
            return;
        };
        let Phase::Attached { probe, .. } = &mut held.phase else {
            return;
        };
        *probe = Some(new.clone());
        held.tell(counted(at, new));
        if held.timeline.len() > TIMELINE_KEPT {
            // Whoever keeps taking the probe off must not fill the memory; how it was attached stays.
            let attached = held
                .timeline
                .iter()
                .position(|moment| moment.what == Moment::ATTACHED);
            Arc::make_mut(&mut held.timeline).remove(attached.map_or(0, |attached| attached + 1));
        }
    }

    fn end(
        &mut self,
        at: Timestamp,
        key: &Key,
        (last, drops): (Option<Counters>, Option<&Drops>),
        left: Option<&Failure>,
        timings: &[Timing],
    ) {
        let Some(held) = self.attachments.remove(key) else {
            return;
        };
        let mut held = Arc::unwrap_or_clone(held);
        let what = if left.is_some() {
            Moment::LEFT_BEHIND
        } else {
            Moment::DETACHED
        };
        held.tell_timings(at, timings);
        held.tell(Moment {
            failure: left.cloned().map(Box::new),
            ..moment(at, what)
        });
        Arc::make_mut(&mut held.timeline).shrink_to_fit();
        self.ended.push_back(Arc::new(Ended {
            attachment: held.attachment,
            since: held.since,
            at,
            last,
            drops: drops.cloned(),
            failure: held.failure.or_else(|| left.cloned()),
            timeline: held.timeline,
        }));
        while self.ended.len() > ENDED_KEPT {
            self.ended.pop_front();
        }
    }

    fn leave_behind(&mut self, at: Timestamp, leftover: &Leftover) {
        let key = &leftover.attachment.key;
        let counted = (leftover.last, leftover.drops.as_ref());
        self.end(at, key, counted, Some(&leftover.failure), &[]);
        let since = self
            .leftovers
            .get(key)
            .map_or(leftover.since, |known| known.since);
        self.leftovers.insert(
            key.clone(),
            Arc::new(Leftover {
                since,
                ..leftover.clone()
            }),
        );
    }

    fn forget(&mut self, claim: &ClaimUid) {
        self.claims.remove(claim);
        self.prepared.remove(claim);
        self.waiting.remove(claim);
        self.refused.remove(claim);
        self.failures.retain(|(uid, _), _| uid != claim);
    }
}

impl Held {
    fn tell(&mut self, moment: Moment) {
        Arc::make_mut(&mut self.timeline).push(moment);
    }

    fn tell_timings(&mut self, at: Timestamp, timings: &[Timing]) {
        let moments = timings.iter().map(|timing| timed(at, timing));
        Arc::make_mut(&mut self.timeline).extend(moments);
    }
}

fn moment(at: Timestamp, what: &'static str) -> Moment {
    Moment {
        at,
        what: what.into(),
        timing: None,
        failure: None,
    }
}

fn counted(at: Timestamp, probe: &ProbeState) -> Moment {
    match probe {
        ProbeState::Counting { .. } => moment(at, Moment::COUNTING),
        ProbeState::Missing { failure, .. } => Moment {
            failure: Some(failure.clone().into()),
            ..moment(at, Moment::NOT_COUNTED)
        },
    }
}

fn timed(at: Timestamp, timing: &Timing) -> Moment {
    let what = match &timing.plugin {
        Some(plugin) => format!("{} {plugin}", timing.step.code()).into(),
        None => timing.step.code().into(),
    };
    Moment {
        at,
        what,
        timing: Some(timing.clone()),
        failure: None,
    }
}
