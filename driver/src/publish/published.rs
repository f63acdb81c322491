//! Our slices as the API server has them, from its watch and from its replies.

use std::collections::{BTreeMap, BTreeSet};

use kube::{ResourceExt as _, runtime::watcher};
use netclaim_core::slice::{Dropped, Stored};

use super::SliceObject;

/// The slices by name.
#[derive(Debug, Default)]
pub(super) struct Published {
    slices: BTreeMap<String, SliceObject>,
    listing: BTreeMap<String, SliceObject>,
    generation: i64,
    synced: bool,
}

impl Published {
    /// Whether all of them are known.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    /// What they say, for the plan.
    pub(super) fn stored(&self, dropped: &BTreeSet<Dropped>) -> Stored {
        let slices = self.slices.iter();
        Stored {
            slices: slices
                .map(|(name, slice)| (name.clone(), slice.spec.clone()))
                .collect(),
            generation: self.generation,
            dropped: dropped.clone(),
        }
    }

    /// One of them.
    pub(super) fn get(&self, name: &str) -> Option<&SliceObject> {
        self.slices.get(name)
    }

    /// Takes in what the watch says.
    pub(super) fn hear(&mut self, event: watcher::Event<SliceObject>) {
        match event {
            watcher::Event::Init => self.listing.clear(),
            watcher::Event::InitApply(slice) => {
                self.listing.insert(slice.name_any(), slice);
            }
            watcher::Event::InitDone => {
                self.slices.clear();
                for slice in std::mem::take(&mut self.listing).into_values() {
                    self.set(slice);
                }
                self.synced = true;
            }
            watcher::Event::Apply(slice) => {
                if !self.is_older(&slice) {
                    self.set(slice);
                }
            }
            watcher::Event::Delete(slice) => {
                if !self.is_older(&slice) {
                    self.forget(&slice.name_any());
                }
            }
        }
    }

    /// Takes in the reply to a write, before the watch tells of it.
    pub(super) fn set(&mut self, slice: SliceObject) {
        self.generation = self.generation.max(slice.spec.pool.generation);
        self.slices.insert(slice.name_any(), slice);
    }

    /// It is not there any more.
    pub(super) fn forget(&mut self, name: &str) {
        self.slices.remove(name);
    }

    /// Whether the watch tells of something that a reply has overtaken.
    ///
    /// Resource versions of one kind are ordered numbers; where they are not, the watch is believed
    /// and a write too many ends as a conflict.
    fn is_older(&self, told: &SliceObject) -> bool {
        let version = |slice: &SliceObject| slice.resource_version()?.parse::<u64>().ok();
        let known = self.get(&told.name_any()).and_then(version);
        matches!((known, version(told)), (Some(known), Some(told)) if told < known)
    }
}
