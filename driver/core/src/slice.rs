//! Our `ResourceSlices`: what they should say, and the fewest writes that make it so.
//!
//! Owns the names, the cutting and the generation of our pool. It never talks to the API server;
//! rows are `resource.k8s.io/v1`'s JSON, reduced to the fields that we write.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    inventory::{Attribute, Device, Inventory, LinkState, Mode, describe},
    name::{DeviceName, DriverName, NodeName},
};

mod dropped;

pub use dropped::{Dropped, dropped};

/// Devices of one slice: the API takes 128, or 64 as soon as one of them carries a taint.
pub const MAX_DEVICES: usize = 64;

/// Key of the taint that a device without a working link carries.
pub const TAINT: &str = "netclaim.dev/link";

/// Capacity of which each attachment of a shared device takes one.
pub const CAPACITY: &str = "maxVirtualDevices";

/// `spec` of a `ResourceSlice`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceSpec {
    /// Ours.
    pub driver: String,
    /// Which pool, and which state of it.
    pub pool: Pool,
    /// The node that has the devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Row>,
}

/// The devices of one node.
///
/// A consumer believes a pool once it has seen `resource_slice_count` slices of one generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// The node's name.
    pub name: String,
    /// Rises with every change of any device.
    pub generation: i64,
    /// Slices of this generation.
    pub resource_slice_count: i64,
}

/// One device of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// A DNS label, unique in the pool.
    pub name: String,
    /// By name: `{"string": …}`, `{"int": …}` or `{"bool": …}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Value>,
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: BTreeMap<String, Capacity>,
    /// What keeps the scheduler away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Whether several claims may hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_multiple_allocations: Option<bool>,
}

/// How much of something a device has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// A quantity.
    pub value: String,
    /// How much a claim may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_policy: Option<RequestPolicy>,
}

/// How much a claim takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestPolicy {
    /// What a claim takes that does not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// All that a claim may ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub valid_values: Vec<String>,
}

/// A taint of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// [`TAINT`].
    pub key: String,
    /// `down` or `gone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `NoSchedule`: pods that hold the device keep running.
    pub effect: String,
    /// Filled in by the API server and carried over by us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
}

/// One request to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A slice that is not there.
    Create {
        /// Its name.
        name: String,
        /// What it says.
        spec: SliceSpec,
    },
    /// A slice that says something else.
    Update {
        /// Its name.
        name: String,
        /// What it says.
        spec: SliceSpec,
    },
    /// A slice too many.
    Delete {
        /// Its name.
        name: String,
    },
}

/// What the API server is known to hold of our pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Our slices by name.
    pub slices: BTreeMap<String, SliceSpec>,
    /// Highest generation that was ever seen, also when no slice is left; zero before the first.
    pub generation: i64,
    /// What the server does not keep.
    pub dropped: BTreeSet<Dropped>,
}

/// Whose slices they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The driver.
    pub driver: DriverName,
    /// The node, and so the pool.
    pub node: NodeName,
}

impl Owner {
    /// Names the slice with this index: `<node>-<driver>-<hash>-<index>`.
    ///
    /// Always the same, so that a slice which the kubelet deleted comes back as itself and none is
    /// created twice. The hash tells apart pairs whose names join to the same text.
    pub fn slice_name(&self, index: usize) -> String {
        let (node, driver) = (self.node.as_str(), self.driver.as_str());
        let hash = fnv1a(format!("{node}\0{driver}").as_bytes());
        let start = |name: &str| -> String {
            let cut: String = name.chars().take(100).collect();
            cut.trim_end_matches(['.', '-']).to_owned()
        };
        format!("{}-{}-{hash:08x}-{index}", start(node), start(driver))
    }
}

/// Plans the writes after which the published slices say what the inventory says.
///
/// Nothing is written, and the generation stays, while all devices are as published: a slice that
/// somebody deleted comes back with the generation of the others. Otherwise the generation rises in
/// every slice, as the API asks of a pool. What the server does not keep is sent and not compared.
pub fn plan(owner: &Owner, inventory: &Inventory, stored: &Stored) -> Vec<Write> {
    let rows: Vec<Row> = inventory.devices.values().map(row).collect();
    let cut: Vec<&[Row]> = rows.chunks(MAX_DEVICES).collect();
    let desired = |generation| desired(owner, &cut, generation);

    let published = &stored.slices;
    let kept = desired(stored.generation.max(1));
    let stays = published.iter().all(|(name, spec)| {
        let wanted = kept.get(name);
        wanted.is_some_and(|wanted| dropped::same(wanted, spec, &stored.dropped))
    });
    if stays {
        let missing = kept.into_iter();
        return missing
            .filter(|(name, _)| !published.contains_key(name))
            .map(|(name, spec)| Write::Create { name, spec })
            .collect();
    }
    rewrite(desired(stored.generation + 1), published)
}

/// Reads back what an earlier instance of the driver published.
///
/// A device that is not written the way we write is left out: it is then found anew.
pub fn read(published: &BTreeMap<String, SliceSpec>) -> Inventory {
    let rows = published.values().flat_map(|spec| &spec.devices);
    let devices = rows.filter_map(read_row);
    Inventory {
        devices: devices
            .map(|device| (device.name.clone(), device))
            .collect(),
        ..Inventory::default()
    }
}

/// The slices by name, were the pool of this generation.
fn desired(owner: &Owner, cut: &[&[Row]], generation: i64) -> BTreeMap<String, SliceSpec> {
    let pool = Pool {
        name: owner.node.to_string(),
        generation,
        resource_slice_count: i64::try_from(cut.len()).unwrap_or(i64::MAX),
    };
    let slice = |(index, rows): (usize, &&[Row])| {
        let spec = SliceSpec {
            driver: owner.driver.to_string(),
            pool: pool.clone(),
            node_name: Some(owner.node.to_string()),
            devices: rows.to_vec(),
        };
        (owner.slice_name(index), spec)
    };
    cut.iter().enumerate().map(slice).collect()
}

/// Every slice anew, and those too many away.
fn rewrite(
    desired: BTreeMap<String, SliceSpec>,
    published: &BTreeMap<String, SliceSpec>,
) -> Vec<Write> {
    let extra = published.keys().filter(|name| !desired.contains_key(*name));
    let deletes: Vec<Write> = extra
        .map(|name| Write::Delete { name: name.clone() })
        .collect();
    let writes = desired
        .into_iter()
        .map(|(name, spec)| match published.get(&name) {
            Some(old) => Write::Update {
                spec: with_times(spec, old),
                name,
            },
            None => Write::Create { name, spec },
        });
    writes.chain(deletes).collect()
}

/// Carries over since when a taint is there; the server would set it anew.
fn with_times(mut spec: SliceSpec, old: &SliceSpec) -> SliceSpec {
    for row in &mut spec.devices {
        let Some(known) = old.devices.iter().find(|known| known.name == row.name) else {
            continue;
        };
        for taint in &mut row.taints {
            let same = known.taints.iter().find(|known| {
                (&known.key, &known.value, &known.effect)
                    == (&taint.key, &taint.value, &taint.effect)
            });
            taint.time_added = same.and_then(|same| same.time_added.clone());
        }
    }
    spec
}

fn row(device: &Device) -> Row {
    let attributes = device.attributes.iter();
    let shared = device.mode == Mode::Shared;
    Row {
        name: device.name.to_string(),
        attributes: attributes
            .map(|(name, value)| (name.clone(), attribute(value)))
            .collect(),
        capacity: if shared {
            BTreeMap::from([(CAPACITY.to_owned(), capacity(device.max_virtual_devices))])
        } else {
            BTreeMap::new()
        },
        taints: taint(device.state).into_iter().collect(),
        allow_multiple_allocations: shared.then_some(true),
    }
}

fn attribute(value: &Attribute) -> Value {
    match value {
        Attribute::String(value) => json!({ "string": value }),
        Attribute::Int(value) => json!({ "int": value }),
        Attribute::Bool(value) => json!({ "bool": value }),
    }
}

/// One for each attachment: no claim can ask for more or less.
fn capacity(max: u32) -> Capacity {
    Capacity {
        value: max.to_string(),
        request_policy: Some(RequestPolicy {
            default: Some("1".to_owned()),
            valid_values: vec!["1".to_owned()],
        }),
    }
}

fn taint(state: LinkState) -> Option<Taint> {
    let value = match state {
        LinkState::Up => return None,
        LinkState::Down => "down",
        LinkState::Gone => "gone",
    };
    Some(Taint {
        key: TAINT.to_owned(),
        value: Some(value.to_owned()),
        effect: "NoSchedule".to_owned(),
        time_added: None,
    })
}

fn read_row(row: &Row) -> Option<Device> {
    let attributes: BTreeMap<String, Attribute> = row
        .attributes
        .iter()
        .filter_map(|(name, value)| {
            let value = Attribute::deserialize(value).ok()?;
            Some((name.clone(), value))
        })
        .collect();
    let text = |name: &str| match attributes.get(name) {
        Some(Attribute::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let mode = match text(describe::MODE)? {
        "shared" => Mode::Shared,
        "exclusive" => Mode::Exclusive,
        _ => return None,
    };
    let link = text("ifName")?.to_owned();
    let taint = row.taints.iter().find(|taint| taint.key == TAINT);
    let capacity = row.capacity.get(CAPACITY);
    Some(Device {
        name: DeviceName::parse(row.name.as_str()).ok()?,
        link,
        mode,
        state: match taint.and_then(|taint| taint.value.as_deref()) {
            None => LinkState::Up,
            Some("gone") => LinkState::Gone,
            Some(_) => LinkState::Down,
        },
        max_virtual_devices: capacity.map_or(Some(1), |capacity| capacity.value.parse().ok())?,
        held_by_node: false,
        attributes,
    })
}

/// FNV-1a, 32 bits.
fn fnv1a(bytes: &[u8]) -> u32 {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, mix)
}

#[cfg(test)]
mod tests;
