//! Devices: what slices offer, what nodes say of them, and how much is used.

use std::collections::BTreeMap;

use super::{
    AllocatedRow, Cluster, DeviceName, DeviceRow, DriverName, Kind, NodeName, PoolName, SliceRow,
};
use crate::{
    inventory::{Attribute, LinkState, Mode},
    snapshot::DeviceUse,
};

/// Which device, in the words of an allocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId {
    /// Whose.
    pub driver: DriverName,
    /// In which pool.
    pub pool: PoolName,
    /// Its name there.
    pub device: DeviceName,
}

/// A device, joined.
#[derive(Clone, Copy, Debug)]
pub struct DeviceLine<'a> {
    /// Whose.
    pub driver: &'a DriverName,
    /// In which pool; none when only the node spoke of it.
    pub pool: Option<&'a PoolName>,
    /// Its name there.
    pub name: &'a DeviceName,
    /// The node that has it, if it is one node.
    pub node: Option<&'a NodeName>,
    /// What the slice says.
    pub row: Option<&'a DeviceRow>,
    /// What the node says.
    pub seen: Option<&'a DeviceUse>,
    /// How many attachments use it.
    pub used: Option<u32>,
}

impl DeviceId {
    pub(super) fn of(row: &AllocatedRow) -> Self {
        Self {
            driver: row.driver.clone(),
            pool: row.allocated.pool.clone(),
            device: row.allocated.device.clone(),
        }
    }
}

impl<'a> DeviceLine<'a> {
    /// What stays the same while the device changes.
    ///
    /// A node's own pool has the node's name, so a device keeps its identity when its slice comes.
    pub fn id(&self) -> Option<DeviceId> {
        let own = || PoolName::parse(self.node?.as_str()).ok();
        Some(DeviceId {
            driver: self.driver.clone(),
            pool: self.pool.cloned().or_else(own)?,
            device: self.name.clone(),
        })
    }

    /// The link on the node.
    pub fn link(&self) -> Option<&'a str> {
        let seen = self.seen.map(|seen| seen.device.link.as_str());
        seen.or_else(|| self.text("ifName"))
    }

    /// The kind of link.
    pub fn kind(&self) -> Option<&'a str> {
        self.text("kind")
    }

    /// Whether pods share it.
    pub fn mode(&self) -> Option<Mode> {
        let said = || match self.text("mode")? {
            "shared" => Some(Mode::Shared),
            "exclusive" => Some(Mode::Exclusive),
            _ => None,
        };
        self.seen.map(|seen| seen.device.mode).or_else(said)
    }

    /// Whether it can be used: what the node says, or what a taint says for it.
    pub fn state(&self) -> Option<LinkState> {
        let tainted = || {
            let taints = self.row?.taints.iter();
            taints
                .filter_map(|taint| taint.strip_prefix("netclaim.dev/link="))
                .find_map(|value| match value.split(':').next() {
                    Some("down") => Some(LinkState::Down),
                    Some("gone") => Some(LinkState::Gone),
                    _ => None,
                })
        };
        self.seen.map(|seen| seen.device.state).or_else(tainted)
    }

    /// Most attachments at once.
    pub fn max(&self) -> Option<u32> {
        let seen = self.seen.map(|seen| seen.device.max_virtual_devices);
        seen.or_else(|| self.row?.max)
    }

    /// All attributes, from the slice where there is one.
    pub fn attributes(&self) -> Vec<(&'a str, &'a Attribute)> {
        if let Some(row) = self.row {
            return row.attributes.iter().map(|(k, v)| (&**k, v)).collect();
        }
        let seen = self.seen.iter();
        seen.flat_map(|seen| &seen.device.attributes)
            .map(|(k, v)| (k.as_str(), v))
            .collect()
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        let seen = || match self.seen?.device.attributes.get(name)? {
            Attribute::String(text) => Some(text.as_str()),
            Attribute::Int(_) | Attribute::Bool(_) => None,
        };
        let row = self.row.and_then(|row| row.text(self.driver, name));
        row.or_else(seen)
    }
}

impl Cluster {
    /// Every device that is offered or that a node knows, by driver, pool and name.
    pub fn devices(&self) -> impl Iterator<Item = DeviceLine<'_>> {
        let newest = self.newest();
        let offered = self
            .slices
            .values()
            .filter(move |slice| {
                newest.get(&(&slice.driver, &slice.pool)) == Some(&slice.generation)
            })
            .flat_map(move |slice| {
                slice
                    .devices
                    .iter()
                    .map(move |row| self.offered(slice, row))
            });
        offered.chain(self.unpublished())
    }

    /// Devices that nodes know and no slice offers.
    fn unpublished(&self) -> impl Iterator<Item = DeviceLine<'_>> {
        self.nodes.values().flat_map(move |node| {
            let snapshot = &node.snapshot;
            let devices = snapshot.devices.iter();
            devices
                .filter(move |seen| !self.is_offered(&snapshot.driver, &snapshot.node, seen))
                .map(move |seen| DeviceLine {
                    driver: &snapshot.driver,
                    pool: None,
                    name: &seen.device.name,
                    node: Some(&snapshot.node),
                    row: None,
                    seen: Some(seen),
                    used: Some(seen.used),
                })
        })
    }

    /// One device, without joining all others.
    pub fn device(&self, id: &DeviceId) -> Option<DeviceLine<'_>> {
        let pool = || {
            let slices = self.slices.values();
            slices.filter(|slice| slice.driver == id.driver && slice.pool == id.pool)
        };
        let newest = pool().map(|slice| slice.generation).max();
        let newest = pool().filter(|slice| Some(slice.generation) == newest);
        let mut offered =
            newest.flat_map(|slice| slice.devices.iter().map(move |row| (slice, row)));
        let offered = offered.find(|(_, row)| row.name == id.device);
        let offered = offered.map(|(slice, row)| self.offered(slice, row));
        offered.or_else(|| {
            self.unpublished()
                .find(|line| line.id().as_ref() == Some(id))
        })
    }

    fn offered<'a>(&'a self, slice: &'a SliceRow, row: &'a DeviceRow) -> DeviceLine<'a> {
        let seen = slice.node.as_ref().and_then(|node| {
            let snapshot = &self.nodes.get(node)?.snapshot;
            let mut devices = snapshot.devices.iter();
            devices.find(|seen| snapshot.driver == slice.driver && seen.device.name == row.name)
        });
        DeviceLine {
            driver: &slice.driver,
            pool: Some(&slice.pool),
            name: &row.name,
            node: slice.node.as_ref(),
            row: Some(row),
            seen,
            used: self.used(slice, row).or(seen.map(|seen| seen.used)),
        }
    }

    /// What the API server says; it knows of allocations before the node does.
    fn used(&self, slice: &SliceRow, row: &DeviceRow) -> Option<u32> {
        let id = DeviceId {
            driver: slice.driver.clone(),
            pool: slice.pool.clone(),
            device: row.name.clone(),
        };
        let known = self.is_synced(Kind::ResourceClaims);
        known.then(|| self.used.get(&id).copied().unwrap_or(0))
    }

    fn is_offered(&self, driver: &DriverName, node: &NodeName, seen: &DeviceUse) -> bool {
        self.slices
            .values()
            .filter(|slice| slice.driver == *driver && slice.node.as_ref() == Some(node))
            .flat_map(|slice| &slice.devices)
            .any(|row| row.name == seen.device.name)
    }

    /// The newest generation of each pool: older slices are about to go.
    fn newest(&self) -> BTreeMap<(&DriverName, &PoolName), i64> {
        let mut newest = BTreeMap::new();
        for slice in self.slices.values() {
            let known = newest
                .entry((&slice.driver, &slice.pool))
                .or_insert(slice.generation);
            *known = slice.generation.max(*known);
        }
        newest
    }
}
