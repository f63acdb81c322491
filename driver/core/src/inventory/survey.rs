//! Turns what was seen over time into two views of the devices: what slices say, and what is.
//!
//! Owns the times. A link is offered once it has lasted, is published as down or gone only after it
//! has been so for a while, and whatever is allocated stays published whatever becomes of it: a
//! device that vanished from the slice under a running pod helps nobody. The pace holds back only
//! what is published: whoever prepares a claim or answers for a device's health sees what is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Attribute, Attributes, Device, Inventory, LinkState, Mode, describe,
    link::{Link, Seen},
    node::NodeAddresses,
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
    /// State of the device as it is: gone and back at once, down once that has lasted.
    state: LinkState,
    /// When the published device changed last; none since it appeared.
    changed: Option<Timestamp>,
}

impl Track {
    fn new(now: Timestamp, index: Option<u32>, state: LinkState) -> Self {
        Self {
            index,
            seen: state,
            since: now,
            state,
            changed: None,
        }
    }
}

/// The node's links over time.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    published: Inventory,
    tracks: BTreeMap<DeviceName, Track>,
    first_seen: BTreeMap<u32, Timestamp>,
    /// Indices of links that were once a pod's.
    of_pods: BTreeSet<u32>,
    left_out: BTreeMap<String, LeftOut>,
    started: Option<Timestamp>,
    due: Option<Timestamp>,
}

impl Survey {
    /// The devices as slices are to say.
    pub fn published(&self) -> &Inventory {
        &self.published
    }

    /// The same devices as they are at this moment.
    pub fn inventory(&self) -> Inventory {
        let mut inventory = self.published.clone();
        for (name, device) in &mut inventory.devices {
            if let Some(track) = self.tracks.get(name) {
                device.state = track.state;
            }
        }
        inventory
    }

    /// Whether the links that were there at the start have had the time to be offered: a slice
    /// that was written before would list some of them and be written again at once.
    pub fn is_settled(&self, now: Timestamp) -> bool {
        let young = || self.left_out.values().any(|why| *why == LeftOut::Young);
        self.started
            .is_some_and(|started| now >= started.plus(SETTLES_AFTER) || !young())
    }

    /// The links that are not offered, by name, and why.
    pub fn left_out(&self) -> &BTreeMap<String, LeftOut> {
        &self.left_out
    }

    /// When to look again even if nothing changes.
    pub fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Takes over what an earlier instance published, so that a restart changes no slice: of a
    /// device that was seen meanwhile, what slices said of it counts from here on.
    pub fn adopt(&mut self, now: Timestamp, published: Inventory) {
        for (name, mut device) in published.devices {
            if let Some(seen) = self.published.devices.get(&name) {
                device.link.clone_from(&seen.link);
                device.held_by_node = seen.held_by_node;
            } else {
                let track = Track::new(now, None, device.state);
                self.tracks.insert(name.clone(), track);
            }
            self.published.devices.insert(name, device);
        }
    }

    /// Takes in what is seen now.
    pub fn observe(&mut self, now: Timestamp, seen: &Seen, ledger: &Ledger, rules: &Rules<'_>) {
        let allocated = Allocated::of(ledger);
        self.started.get_or_insert(now);
        self.due = None;
        self.left_out.clear();
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
        self.keep_allocated(now, &allocated, rules);
        let left_out = self.named_by_left_out(&allocated);
        for name in left_out {
            self.forget(&name);
        }
        self.miss(now, &present, &allocated);
        let offered = |link: &Link| !self.left_out.contains_key(&link.name);
        self.published.node = NodeAddresses::of(seen, offered);
    }

    /// What the ledger allocated exists, even if nobody has seen it since the driver started.
    fn keep_allocated(&mut self, now: Timestamp, allocated: &Allocated<'_>, rules: &Rules<'_>) {
        for (name, prepared) in &allocated.devices {
            if self.published.devices.contains_key(*name) {
                continue;
            }
            let state = if allocated.moved.contains(*name) {
                LinkState::Up
            } else {
                LinkState::Gone
            };
            let track = Track::new(now, None, state);
            self.tracks.insert((*name).clone(), track);
            let device = unseen(prepared, state, rules);
            self.published.devices.insert((*name).clone(), device);
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
        if let Some(prepared) = allocated.devices.get(&name) {
            return Ok(offer::device_of(name, link, prepared.mode, rules));
        }
        let device = offer::device(name, link, rules);
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
        allocated.devices.iter().find_map(|(name, prepared)| {
            let known = self.published.device(name);
            let known = known.map_or(&prepared.link, |device| &device.link);
            let index = self.tracks.get(*name).and_then(|track| track.index);
            let same = index == Some(link.index) || link.answers_to(known);
            let taken = links
                .iter()
                .any(|other| other.index != link.index && other.name == *known);
            (same && !taken).then(|| (*name).clone())
        })
    }

    fn see(&mut self, now: Timestamp, index: u32, fresh: Device, allocated: &Allocated<'_>) {
        let name = fresh.name.clone();
        let Some(known) = self.published.devices.get(&name) else {
            let track = Track::new(now, Some(index), fresh.state);
            self.tracks.insert(name.clone(), track);
            self.published.devices.insert(name, fresh);
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
        let devices = self.published.devices.values();
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
            .published
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
            self.published.devices.get_mut(name),
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
        let (published, is) = (device.state, track.state);
        let unsure = seen.state != LinkState::Up && now < believed;
        let state = if unsure { published } else { seen.state };
        track.state = match seen.state {
            LinkState::Down if unsure && is == LinkState::Up => is,
            state => state,
        };
        let target = Device { state, ..seen };
        let calm = track.changed.map(|changed| changed.plus(CHANGES_EVERY));
        let calm = calm.filter(|calm| now < *calm && target != *device);
        if target != *device && calm.is_none() {
            *device = target;
            track.changed = Some(now);
        }
        for wait in unsure.then_some(believed).into_iter().chain(calm) {
            self.look_again(wait);
        }
    }

    fn forget(&mut self, name: &DeviceName) {
        self.tracks.remove(name);
        self.published.devices.remove(name);
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
    let described = offer::device_of(name, &link, prepared.mode, rules);
    let known = ["name", "ifName"];
    Device {
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
    // What was made up from the ledger alone says too little to be kept.
    let is_described = known.attributes.contains_key(describe::MODE);
    let mut merged = if is_allocated && is_described {
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
