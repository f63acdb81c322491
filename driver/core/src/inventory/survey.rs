//! Turns what was seen over time into the [`Inventory`]: slow to believe, slow to forget.
//!
//! Owns the times. A link is offered once it has lasted, called down or gone only after it has been
//! so for a while, and whatever is allocated stays published whatever becomes of it: a device that
//! vanished from the slice under a running pod helps nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Attribute, Attributes, Device, Inventory, LinkState, Mode, describe,
    link::{Link, Seen},
    offer::{self, LeftOut, Rules},
};
use crate::{claim::PreparedDevice, ledger::Ledger, name::DeviceName, time::Timestamp};

/// Age from which a link is offered: CNI plugins make links, rename and move them within it.
pub const SETTLES_AFTER: Duration = Duration::from_secs(2);

/// How long a link must be down or gone to be called so.
pub const DOWN_AFTER: Duration = Duration::from_secs(5);

/// Shortest time between two changes of one device: a flapping link must not flood the API server.
pub const CHANGES_EVERY: Duration = Duration::from_mins(1);

/// How long a device that is gone and not allocated stays, tainted.
pub const FORGOTTEN_AFTER: Duration = Duration::from_mins(1);

/// What is remembered of one device.
#[derive(Clone, Debug)]
struct Track {
    /// Index of the link that backs it, the last time it was there.
    index: Option<u32>,
    /// State of the link as last seen.
    seen: LinkState,
    /// Since when it is seen so.
    since: Timestamp,
    /// When the device changed last; none since it appeared.
    changed: Option<Timestamp>,
}

/// The node's links over time.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    inventory: Inventory,
    tracks: BTreeMap<DeviceName, Track>,
    first_seen: BTreeMap<u32, Timestamp>,
    /// Indices of links that were once a pod's.
    of_pods: BTreeSet<u32>,
    left_out: BTreeMap<String, LeftOut>,
    due: Option<Timestamp>,
}

impl Survey {
    /// The devices as they are to be published.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The links that are not offered, by name, and why.
    pub fn left_out(&self) -> &BTreeMap<String, LeftOut> {
        &self.left_out
    }

    /// When to look again even if nothing changes.
    pub fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Takes over what an earlier instance published, so that a restart changes no slice.
    pub fn adopt(&mut self, now: Timestamp, published: Inventory) {
        for (name, device) in published.devices {
            let track = Track {
                index: None,
                seen: device.state,
                since: now,
                changed: None,
            };
            let seen = self
                .tracks
                .get(&name)
                .is_some_and(|known| known.index.is_some());
            if !seen {
                self.tracks.insert(name.clone(), track);
                self.inventory.devices.insert(name, device);
            }
        }
    }

    /// Takes in what is seen now; returns whether the inventory changed.
    pub fn observe(
        &mut self,
        now: Timestamp,
        seen: &Seen,
        ledger: &Ledger,
        rules: &Rules<'_>,
    ) -> bool {
        let before = self.inventory.clone();
        let allocated = Allocated::of(ledger);
        self.due = None;
        self.left_out.clear();
        self.keep_allocated(now, &allocated, rules);
        self.remember_ages(now, &seen.links);

        let mut present = BTreeSet::new();
        for link in &seen.links {
            match self.offered(now, link, seen, &allocated, rules) {
                Ok(device) => {
                    present.insert(device.name.clone());
                    self.see(now, link.index, device, &allocated);
                }
                Err(why) => {
                    self.left_out.insert(link.name.clone(), why);
                }
            }
        }
        let left_out = self.named_by_left_out(&allocated);
        for name in left_out {
            self.forget(&name);
        }
        self.miss(now, &present, &allocated);
        self.inventory != before
    }

    /// What the ledger allocated exists, even if nobody has seen it since the driver started.
    fn keep_allocated(&mut self, now: Timestamp, allocated: &Allocated<'_>, rules: &Rules<'_>) {
        for (name, prepared) in &allocated.devices {
            if self.inventory.devices.contains_key(*name) {
                continue;
            }
            let state = if allocated.moved.contains(*name) {
                LinkState::Up
            } else {
                LinkState::Gone
            };
            let track = Track {
                index: None,
                seen: state,
                since: now,
                changed: None,
            };
            self.tracks.insert((*name).clone(), track);
            let device = unseen(prepared, state, rules);
            self.inventory.devices.insert((*name).clone(), device);
        }
    }

    fn remember_ages(&mut self, now: Timestamp, links: &[Link]) {
        let known = std::mem::take(&mut self.first_seen);
        self.first_seen = links
            .iter()
            .map(|link| (link.index, known.get(&link.index).copied().unwrap_or(now)))
            .collect();
        self.of_pods
            .retain(|index| self.first_seen.contains_key(index));
    }

    /// The device that a link makes, or why it makes none.
    fn offered(
        &mut self,
        now: Timestamp,
        link: &Link,
        seen: &Seen,
        allocated: &Allocated<'_>,
        rules: &Rules<'_>,
    ) -> Result<Device, LeftOut> {
        let name = match self.renamed(link, &seen.links, allocated) {
            Some(name) => name,
            None => describe::device_name(&link.name).map_err(|_| LeftOut::Nameless)?,
        };
        let device = offer::device(name, link, rules);
        if allocated.devices.contains_key(&device.name) {
            return Ok(device);
        }
        if let Some(why) = offer::left_out(link, seen, rules.exclude) {
            if why == LeftOut::PeerInPod {
                self.of_pods.insert(link.index);
            }
            return Err(why);
        }
        // A namespace is unmounted before its links end: a pod's veth stays a pod's till then.
        if self.of_pods.contains(&link.index) {
            return Err(LeftOut::PeerInPod);
        }
        let first = self.first_seen.get(&link.index).copied().unwrap_or(now);
        let settles = first.plus(SETTLES_AFTER);
        if now < settles && !self.tracks.contains_key(&device.name) {
            self.look_again(settles);
            return Err(LeftOut::Young);
        }
        if !(rules.filter)(&device.attributes) {
            return Err(LeftOut::Filtered);
        }
        Ok(device)
    }

    /// The allocated device that this link backs under another name than before.
    fn renamed(
        &self,
        link: &Link,
        links: &[Link],
        allocated: &Allocated<'_>,
    ) -> Option<DeviceName> {
        allocated.devices.keys().copied().find_map(|name| {
            let device = self.inventory.device(name)?;
            let track = self.tracks.get(name)?;
            let same = track.index == Some(link.index) || link.answers_to(&device.link);
            let taken = links
                .iter()
                .any(|other| other.index != link.index && other.name == device.link);
            (same && !taken).then(|| name.clone())
        })
    }

    fn see(&mut self, now: Timestamp, index: u32, fresh: Device, allocated: &Allocated<'_>) {
        let name = fresh.name.clone();
        let Some(known) = self.inventory.devices.get(&name) else {
            let track = Track {
                index: Some(index),
                seen: fresh.state,
                since: now,
                changed: None,
            };
            self.tracks.insert(name.clone(), track);
            self.inventory.devices.insert(name, fresh);
            return;
        };
        let is_allocated = allocated.devices.contains_key(&name);
        let merged = merge(known, fresh, is_allocated);
        if let Some(track) = self.tracks.get_mut(&name) {
            track.index = Some(index);
        }
        self.change(now, &name, merged);
    }

    /// Devices, not allocated, of links that are there and may not be offered any more.
    fn named_by_left_out(&self, allocated: &Allocated<'_>) -> Vec<DeviceName> {
        let devices = self.inventory.devices.values();
        devices
            .filter(|device| self.left_out.contains_key(&device.link))
            .map(|device| &device.name)
            .filter(|name| !allocated.devices.contains_key(*name))
            .cloned()
            .collect()
    }

    /// Looks at the devices whose link is not there.
    fn miss(&mut self, now: Timestamp, present: &BTreeSet<DeviceName>, allocated: &Allocated<'_>) {
        let missing: Vec<Device> = self
            .inventory
            .devices
            .values()
            .filter(|device| !present.contains(&device.name))
            .cloned()
            .collect();
        for device in missing {
            let name = device.name.clone();
            if allocated.moved.contains(&name) {
                continue;
            }
            let state = LinkState::Gone;
            self.change(now, &name, Device { state, ..device });
            if allocated.devices.contains_key(&name) {
                continue;
            }
            let Some(track) = self.tracks.get(&name) else {
                continue;
            };
            let forgotten = track.since.plus(DOWN_AFTER + FORGOTTEN_AFTER);
            if now >= forgotten {
                self.forget(&name);
            } else {
                self.look_again(forgotten);
            }
        }
    }

    /// Changes a device to what is seen, as far as the times allow.
    ///
    /// What only this node reads, and the slice does not say, changes at once.
    fn change(&mut self, now: Timestamp, name: &DeviceName, seen: Device) {
        let (Some(track), Some(device)) = (
            self.tracks.get_mut(name),
            self.inventory.devices.get_mut(name),
        ) else {
            return;
        };
        device.link.clone_from(&seen.link);
        device.held_by_node = seen.held_by_node;
        if track.seen != seen.state {
            track.seen = seen.state;
            track.since = now;
        }
        let believed = track.since.plus(DOWN_AFTER);
        let state = if seen.state == LinkState::Up || now >= believed {
            seen.state
        } else {
            device.state
        };
        let wait = (state != seen.state).then_some(believed);
        let target = Device { state, ..seen };
        let calm = track.changed.map(|changed| changed.plus(CHANGES_EVERY));
        let wait = if target == *device {
            wait
        } else if calm.is_some_and(|calm| now < calm) {
            calm
        } else {
            *device = target;
            track.changed = Some(now);
            wait
        };
        if let Some(wait) = wait {
            self.look_again(wait);
        }
    }

    fn forget(&mut self, name: &DeviceName) {
        self.tracks.remove(name);
        self.inventory.devices.remove(name);
    }

    fn look_again(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// What the ledger says of devices.
struct Allocated<'a> {
    /// Devices of prepared claims, of attachments and of leftovers.
    devices: BTreeMap<&'a DeviceName, &'a PreparedDevice>,
    /// Those whose link itself is in a pod: it is absent, and well.
    moved: BTreeSet<DeviceName>,
}

impl<'a> Allocated<'a> {
    fn of(ledger: &'a Ledger) -> Self {
        let held = || ledger.attachments().map(|held| &held.attachment.device);
        let left = ledger.leftovers().map(|left| &left.attachment.device);
        let claimed = ledger.claims().flat_map(|claim| &claim.devices);
        let moved = held().filter(|device| device.mode == Mode::Exclusive);
        Self {
            moved: moved
                .map(|device| device.allocated.device.clone())
                .collect(),
            devices: claimed
                .chain(held())
                .chain(left)
                .map(|device| (&device.allocated.device, device))
                .collect(),
        }
    }
}

/// A device of which only the ledger knows.
fn unseen(prepared: &PreparedDevice, state: LinkState, rules: &Rules<'_>) -> Device {
    let link = Link {
        name: prepared.link.clone(),
        ..Link::default()
    };
    let name = prepared.allocated.device.clone();
    let described = offer::device(name, &link, rules);
    let known = ["name", "ifName"];
    Device {
        mode: prepared.mode,
        state,
        attributes: described
            .attributes
            .into_iter()
            .filter(|(name, _)| known.contains(&name.as_str()))
            .collect(),
        ..described
    }
}

/// What becomes of a known device when its link is seen again.
fn merge(known: &Device, fresh: Device, is_allocated: bool) -> Device {
    let speed = |attributes: &Attributes| attributes.get("speed").cloned();
    let last_speed: Option<Attribute> = speed(&known.attributes);
    let mut merged = if is_allocated {
        frozen(known, fresh)
    } else {
        fresh
    };
    if let (None, Some(last)) = (speed(&merged.attributes), last_speed) {
        merged.attributes.insert("speed".to_owned(), last);
    }
    merged
}

/// Keeps the identity of an allocated device.
fn frozen(known: &Device, fresh: Device) -> Device {
    let volatile = |name: &String| describe::VOLATILE.contains(&name.as_str());
    let kept = known.attributes.clone().into_iter();
    let moving = fresh.attributes.into_iter();
    Device {
        mode: known.mode,
        max_virtual_devices: known.max_virtual_devices,
        attributes: kept
            .filter(|(name, _)| !volatile(name))
            .chain(moving.filter(|(name, _)| volatile(name)))
            .collect(),
        ..fresh
    }
}

#[cfg(test)]
mod tests;
