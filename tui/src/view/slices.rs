//! Devices: what nodes offer, and how much of it is used.

use netclaim_core::{
    cluster::{Cluster, DeviceLine},
    inventory::{LinkState, Mode},
};

use super::claims::column;
use crate::{
    table::{Column, Cut, RowId, Scene, Table},
    theme::Mark,
    value::Value,
};

/// The table of devices.
#[derive(Debug)]
pub(crate) struct Slices;

impl Table<9> for Slices {
    type Line<'a> = DeviceLine<'a>;

    const COLUMNS: [Column; 9] = [
        column("POOL", 'P', 12, 40, 0, Cut::Middle),
        column("NODE", 'O', 12, 32, 4, Cut::Middle),
        column("DEVICE", 'D', 8, 40, 0, Cut::Middle),
        column("LINK", 'L', 6, 15, 2, Cut::End),
        column("KIND", 'K', 6, 12, 3, Cut::End),
        column("MODE", 'M', 9, 9, 2, Cut::End),
        column("STATE", 'S', 9, 9, 0, Cut::End),
        column("USED", 'U', 7, 11, 0, Cut::Right),
        column("DRIVER", 'V', 27, 63, 5, Cut::Middle),
    ];

    fn lines(cluster: &Cluster) -> impl Iterator<Item = DeviceLine<'_>> {
        cluster.devices()
    }

    fn line<'a>(cluster: &'a Cluster, id: &RowId) -> Option<DeviceLine<'a>> {
        match id {
            RowId::Device(id) => cluster.device(id),
            RowId::Claim(_) | RowId::Interface(_) => None,
        }
    }

    fn id(line: DeviceLine<'_>) -> Option<RowId> {
        line.id().map(RowId::Device)
    }

    fn namespace<'a>(_: DeviceLine<'a>, _: Scene<'a>) -> Option<&'a str> {
        None
    }

    fn order<'a>(line: DeviceLine<'a>, _: Scene<'a>) -> [&'a str; 4] {
        [
            pool(line).unwrap_or(""),
            line.name.as_str(),
            line.driver.as_str(),
            "",
        ]
    }

    fn cells<'a>(line: DeviceLine<'a>, _scene: Scene<'a>) -> [Value<'a>; 9] {
        [
            Value::text(pool(line)),
            Value::text(line.node.map(netclaim_core::name::NodeName::as_str)),
            Value::text(Some(line.name.as_str())),
            Value::text(line.link()),
            Value::text(line.kind()),
            Value::text(line.mode().map(mode)),
            line.state().map_or(Value::Unknown, |state| {
                let (mark, word) = link(state);
                Value::State(mark, word)
            }),
            line.used
                .map_or(Value::Unknown, |used| Value::Share(used, line.max())),
            Value::text(Some(line.driver.as_str())),
        ]
    }
}

/// A mode in a word.
pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Shared => "shared",
        Mode::Exclusive => "exclusive",
    }
}

/// A link's state as a mark and a word.
pub(super) fn link(state: LinkState) -> (Mark, &'static str) {
    match state {
        LinkState::Up => (Mark::Good, "up"),
        LinkState::Down => (Mark::Bad, "down"),
        LinkState::Gone => (Mark::Bad, "gone"),
    }
}

/// The pool; a node's own pool has its name before the slice is published.
fn pool(line: DeviceLine<'_>) -> Option<&str> {
    let pool = line.pool.map(netclaim_core::name::PoolName::as_str);
    pool.or_else(|| line.node.map(netclaim_core::name::NodeName::as_str))
}
