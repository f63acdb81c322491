//! Whose turn it is: which nodes are listened to where not all can be at once.
//!
//! Pure: the time comes in, and what it says has to be done is done by others.

use std::{collections::BTreeMap, time::Instant};

use netclaim_core::name::NodeName;

use super::pause::Pause;

/// Nodes that are listened to at once: each costs the API server, a kubelet and a runtime a
/// connection.
pub(super) const PLACES: usize = 8;
/// Places that the screen's nodes may keep; what is left goes round among all others.
const KEPT: usize = PLACES - 1;
/// Snapshots that make a turn: a rate needs two.
const ENOUGH: u32 = 2;

/// All nodes that can be listened to.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<NodeName, Turn>);

/// How it stands with a node.
#[derive(Debug)]
struct Turn {
    stand: Stand,
    /// When its last turn ended, well or not.
    last: Option<Instant>,
    /// How long it waits when it fails next.
    pause: Pause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Waiting,
    Listening { heard: u32 },
    Failed { until: Instant },
}

/// What has to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whose turn is over.
    pub hang_up: Vec<NodeName>,
    /// Whose turn begins.
    pub call: Vec<NodeName>,
}

impl Turns {
    /// A node can be listened to, or can be again: it is tried at once.
    pub(super) fn join(&mut self, node: &NodeName) {
        let turn = self.0.entry(node.clone()).or_insert(Turn {
            stand: Stand::Waiting,
            last: None,
            pause: Pause::first(),
        });
        if let Stand::Failed { .. } = turn.stand {
            turn.stand = Stand::Waiting;
            turn.pause = Pause::first();
        }
    }

    /// Whether a node can be listened to.
    pub(super) fn has(&self, node: &NodeName) -> bool {
        self.0.contains_key(node)
    }

    /// A node cannot be listened to any more.
    pub(super) fn leave(&mut self, node: &NodeName) {
        self.0.remove(node);
    }

    /// A node spoke; whether it did so for the first time in this turn.
    pub(super) fn heard(&mut self, node: &NodeName) -> bool {
        let Some(turn) = self.0.get_mut(node) else {
            return false;
        };
        let Stand::Listening { heard } = &mut turn.stand else {
            return false;
        };
        *heard += 1;
        turn.pause = Pause::first();
        *heard == 1
    }

    /// A node does not speak, or not any more: it waits, longer each time.
    pub(super) fn failed(&mut self, node: &NodeName, now: Instant) {
        if let Some(turn) = self.0.get_mut(node) {
            turn.stand = Stand::Failed {
                until: now + turn.pause.take(),
            };
            turn.last = Some(now);
        }
    }

    /// Ends turns and begins others: first for the nodes that the screen wants, in their order,
    /// then for the one that has waited longest.
    pub(super) fn plan(&mut self, wanted: &[NodeName], now: Instant) -> Plan {
        for turn in self.0.values_mut() {
            if matches!(turn.stand, Stand::Failed { until } if until <= now) {
                turn.stand = Stand::Waiting;
            }
        }
        let kept = self.kept(wanted);
        let queue = self.queue(&kept);
        let free = PLACES.saturating_sub(self.listening().count());
        let short = queue.len().saturating_sub(free);
        let over = self.listening().filter(|(node, heard)| {
            *heard >= ENOUGH && !kept.contains(node) && self.0.len() > PLACES
        });
        let hang_up = over.take(short).map(|(node, _)| node.clone());
        let hang_up = hang_up.collect::<Vec<_>>();
        let call = queue.into_iter().take(free + hang_up.len());
        let plan = Plan {
            call: call.collect(),
            hang_up,
        };
        self.follow(&plan, now);
        plan
    }

    /// When there is something to plan although nothing happens.
    pub(super) fn next(&self) -> Option<Instant> {
        let turns = self.0.values();
        let ends = turns.filter_map(|turn| match turn.stand {
            Stand::Failed { until } => Some(until),
            Stand::Waiting | Stand::Listening { .. } => None,
        });
        ends.min()
    }

    /// The nodes that keep a place while they are wanted.
    fn kept(&self, wanted: &[NodeName]) -> Vec<NodeName> {
        let able = wanted.iter().filter(|node| {
            let turn = self.0.get(node);
            turn.is_some_and(|turn| !matches!(turn.stand, Stand::Failed { .. }))
        });
        able.take(KEPT).cloned().collect()
    }

    fn queue(&self, kept: &[NodeName]) -> Vec<NodeName> {
        let waiting = self.0.iter();
        let mut waiting = waiting
            .filter(|(_, turn)| turn.stand == Stand::Waiting)
            .map(|(node, turn)| {
                let place = kept.iter().position(|kept| kept == node);
                (place.unwrap_or(KEPT), turn.last, node)
            })
            .collect::<Vec<_>>();
        waiting.sort_unstable();
        waiting.into_iter().map(|(.., node)| node.clone()).collect()
    }

    fn listening(&self) -> impl Iterator<Item = (&NodeName, u32)> {
        self.0.iter().filter_map(|(node, turn)| match turn.stand {
            Stand::Listening { heard } => Some((node, heard)),
            Stand::Waiting | Stand::Failed { .. } => None,
        })
    }

    fn follow(&mut self, plan: &Plan, now: Instant) {
        for node in &plan.hang_up {
            if let Some(turn) = self.0.get_mut(node) {
                turn.stand = Stand::Waiting;
                turn.last = Some(now);
            }
        }
        for node in &plan.call {
            if let Some(turn) = self.0.get_mut(node) {
                turn.stand = Stand::Listening { heard: 0 };
            }
        }
    }
}

#[cfg(test)]
mod tests;
