//! Flows as somebody watches them: which interfaces, the busiest flows first, at which rates.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Flow, FlowId, Passed, Recording, Sampled, Seen, Table};
use crate::{
    attachment::{Attachment, Key, Phase, ProbeState},
    claim::{ClaimRef, PodRef},
    failure::Failure,
    ledger::{Held, Ledger},
    name::{ClaimUid, IfName},
    rate::per_second,
    time::Timestamp,
};

/// Whose flows are wanted: of all interfaces that are not excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those of one claim only.
    pub claim: Option<ClaimUid>,
    /// Those of this name only.
    pub if_name: Option<IfName>,
}

/// Why there are no flows to be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwatched {
    /// No such claim has an interface here.
    #[error(
        "no pod of this node has an interface of the claim with UID {claim}; dra-top shows on which \
         node a claim is, and an interface that is not attached has no flows"
    )]
    NoClaim {
        /// Its UID.
        claim: ClaimUid,
    },
    /// No interface that is wanted has this name.
    #[error("no pod of this node has an interface {if_name} of a claim that is asked for")]
    NoInterface {
        /// The name.
        if_name: IfName,
    },
    /// Its claim does not want them to be recorded.
    #[error(
        "flows of {if_name} are not recorded, because claim {claim} does not ask for them; write \
         `observe: {{flows: true}}` beside `config` in the configuration of the claim, its template \
         or its DeviceClass, and make the pod anew"
    )]
    NotAsked {
        /// The claim.
        claim: ClaimRef,
        /// The interface.
        if_name: IfName,
    },
}

/// The flows that somebody watches, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// When.
    pub taken: Timestamp,
    /// The time since the moment before, over which rates are; none the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Of each interface.
    pub interfaces: Vec<InterfaceFlows>,
    /// The place that all flows of the node share, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
}

/// The flows of one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceFlows {
    /// Which interface.
    pub key: Key,
    /// The claim that asked for it.
    pub claim: ClaimRef,
    /// The pod that has it.
    pub pod: PodRef,
    /// What is recorded; none while that is about to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
}

/// Whether the flows of an interface are recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Recorded {
    /// They are.
    Observed {
        /// Those with most bytes in the last interval first, then those with most in all.
        flows: Vec<Line>,
        /// How many there are beside.
        more: u64,
    },
    /// They are not, for this reason.
    Unavailable {
        /// Why.
        failure: Failure,
    },
}

/// One flow and how fast it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which.
    pub id: FlowId,
    /// How much passed.
    #[serde(flatten)]
    pub flow: Flow,
    /// Bytes per second in the last interval; none the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
}

/// Bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speed {
    /// Received by the pod.
    pub rx: u64,
    /// Sent by it.
    pub tx: u64,
}

/// One who watches, and what was seen last.
#[derive(Clone, Debug)]
pub struct Watch {
    wanted: Wanted,
    most: usize,
    before: Option<(Timestamp, BTreeMap<Key, Seen>)>,
}

impl Wanted {
    /// Whether there are such interfaces in the pods, and their claims ask for flows. To want all of
    /// a node is never wrong: some may come.
    pub fn check(&self, ledger: &Ledger) -> Result<(), Unwatched> {
        if *self == Self::default() || self.observed(ledger).next().is_some() {
            return Ok(());
        }
        if let Some(silent) = self.attached(ledger).next() {
            return Err(Unwatched::NotAsked {
                claim: silent.claim.clone(),
                if_name: silent.key.if_name.clone(),
            });
        }
        let any_of_claim = Self {
            if_name: None,
            ..self.clone()
        };
        match (&self.claim, &self.if_name) {
            (Some(claim), _) if any_of_claim.attached(ledger).next().is_none() => {
                let claim = claim.clone();
                Err(Unwatched::NoClaim { claim })
            }
            (_, Some(if_name)) => Err(Unwatched::NoInterface {
                if_name: if_name.clone(),
            }),
            (_, None) => Ok(()),
        }
    }

    /// The interfaces in the pods that are wanted and whose claims ask for flows.
    pub fn observed<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = &'a Attachment> {
        self.attached(ledger).filter(|at| at.device.observe_flows)
    }

    fn attached<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = &'a Attachment> {
        self.held(ledger).map(|held| &held.attachment)
    }

    fn held<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = &'a Held> {
        ledger.attachments().filter(|held| {
            let at = &held.attachment;
            let excluded = self.claim.as_ref().is_some_and(|uid| *uid != at.claim.uid)
                || self.if_name.as_ref().is_some_and(|n| *n != at.key.if_name);
            is_in(held) && !excluded
        })
    }
}

impl Watch {
    /// Begins to watch, at most this many flows of an interface.
    pub fn new(wanted: Wanted, most: usize) -> Self {
        Self {
            wanted,
            most,
            before: None,
        }
    }

    /// Whose flows are watched.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// What there is now. Rates are over the time since this was asked last.
    ///
    /// `sampled` was read between the ledgers: what had its slot in only one of them may have got
    /// the flows of another pod.
    pub fn next(
        &mut self,
        (earlier, ledger): (&Ledger, &Ledger),
        sampled: Sampled,
        now: Timestamp,
    ) -> Flows {
        let Sampled { mut by_slot, table } = sampled;
        let before = self.before.take();
        let interval = before.as_ref().map(|(taken, _)| now.since(*taken));
        let interval = interval.filter(|interval| !interval.is_zero());
        let (mut seen, mut interfaces) = (BTreeMap::new(), Vec::new());
        for held in self.wanted.held(ledger) {
            let at = &held.attachment;
            if !at.device.observe_flows {
                continue;
            }
            let same = earlier.held(&at.key).filter(|then| is_in(then));
            let slot = at
                .slot
                .filter(|_| same.is_some_and(|then| then.attachment.slot == at.slot));
            let recording = slot.and_then(|slot| by_slot.remove(&slot));
            let seen_then = before.as_ref().and_then(|(_, seen)| seen.get(&at.key));
            let recorded = recording.or_else(|| without_slot(held)).map(|recording| {
                let flows = match recording {
                    Ok(flows) => flows,
                    Err(failure) => return Recorded::Unavailable { failure },
                };
                let recorded = observed(&flows, seen_then.zip(interval), self.most);
                seen.insert(at.key.clone(), flows);
                recorded
            });
            interfaces.push(InterfaceFlows {
                key: at.key.clone(),
                claim: at.claim.clone(),
                pod: at.pod.clone(),
                recorded,
            });
        }
        self.before = Some((now, seen));
        Flows {
            taken: now,
            interval,
            interfaces,
            table,
        }
    }
}

/// Whether it is in its pod.
fn is_in(held: &Held) -> bool {
    matches!(held.phase, Phase::Attached { .. })
}

/// Where every slot is in use there is none for flows either.
fn without_slot(held: &Held) -> Option<Recording> {
    match &held.phase {
        Phase::Attached {
            probe: Some(ProbeState::Missing { failure, .. }),
            ..
        } if held.attachment.slot.is_none() => Some(Err(failure.clone())),
        _ => None,
    }
}

fn observed(flows: &Seen, earlier: Option<(&Seen, Duration)>, most: usize) -> Recorded {
    let mut lines: Vec<Line> = flows
        .iter()
        .map(|(id, flow)| Line {
            id: *id,
            flow: *flow,
            speed: earlier.map(|(seen, interval)| Speed::over(seen.get(id), flow, interval)),
        })
        .collect();
    // Equal ones stay in the order of their ends, so that lines do not jump.
    lines.sort_by_key(|line| {
        let speed = line.speed.unwrap_or_default();
        Reverse((speed.rx.saturating_add(speed.tx), line.flow.bytes()))
    });
    let more = lines.len().saturating_sub(most);
    lines.truncate(most);
    Recorded::Observed {
        flows: lines,
        more: more as u64,
    }
}

impl Speed {
    fn over(earlier: Option<&Flow>, now: &Flow, interval: Duration) -> Self {
        let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let speed = |of: fn(&Flow) -> Passed| {
            let before = earlier.map_or(0, |flow| of(flow).bytes);
            let now = of(now).bytes;
            // One that was forgotten and came again began anew.
            per_second(now.checked_sub(before).unwrap_or(now), millis)
        };
        Self {
            rx: speed(|flow| flow.rx),
            tx: speed(|flow| flow.tx),
        }
    }
}
