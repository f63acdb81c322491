//! What the interfaces dropped, told in a snapshot.

use super::{InterfaceState, Snapshot};
use crate::{
    drops::{DropsState, Known},
    ledger::Ledger,
};

impl Snapshot {
    /// The same with the drops of the interfaces that are there. An interface that is not among
    /// those which are counted has none, which is not zero.
    #[must_use]
    pub fn with_drops(mut self, ledger: &Ledger, known: &Known) -> Self {
        let dropped = match known {
            Ok(dropped) => dropped.as_deref(),
            Err(failure) => {
                let failure = failure.clone();
                self.drops = Some(DropsState::Missing { failure });
                return self;
            }
        };
        let lost = dropped.map_or(0, |dropped| dropped.lost);
        self.drops = Some(DropsState::Counting { lost });
        let rows = self.interfaces.iter_mut();
        for row in rows.filter(|row| row.state == InterfaceState::Attached) {
            // What is not counted has no slot of its own: the drops there are another's.
            let key = row.key.as_ref().filter(|_| row.counters.is_some());
            let slot = key.and_then(|key| ledger.held(key)?.attachment.slot);
            row.drops = slot.and_then(|slot| dropped?.by_slot.get(&slot).cloned());
        }
        self
    }
}
