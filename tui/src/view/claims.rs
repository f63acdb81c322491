//! Claims: who asked for what, and why it is not there.

use std::borrow::Cow;

use netclaim_core::cluster::{ClaimLine, ClaimPhase, Cluster};

use super::trouble_of;
use crate::{
    table::{Column, Cut, RowId, Scene, Table},
    theme::Mark,
    value::Value,
};

/// The table of claims.
#[derive(Debug)]
pub(crate) struct Claims;

impl Table<8> for Claims {
    type Line<'a> = ClaimLine<'a>;

    const COLUMNS: [Column; 8] = [
        column("NAMESPACE", 'N', 9, 24, 3, Cut::Middle),
        column("CLAIM", 'C', 20, 63, 0, Cut::Middle),
        column("STATE", 'S', 11, 11, 0, Cut::End),
        column("POD", 'P', 18, 48, 1, Cut::Middle),
        column("NODE", 'O', 11, 32, 4, Cut::Middle),
        column("DEVICE", 'D', 6, 24, 2, Cut::End),
        column("AGE", 'A', 6, 6, 5, Cut::Right),
        column("REASON", 'R', 26, 200, 0, Cut::End),
    ];

    fn lines(cluster: &Cluster) -> impl Iterator<Item = ClaimLine<'_>> {
        cluster.claims()
    }

    fn line<'a>(cluster: &'a Cluster, id: &RowId) -> Option<ClaimLine<'a>> {
        match id {
            RowId::Claim(uid) => cluster.claim(uid),
            RowId::Device(_) | RowId::Interface(_) => None,
        }
    }

    fn id(line: ClaimLine<'_>) -> Option<RowId> {
        Some(RowId::Claim(line.claim.uid.clone()))
    }

    fn namespace<'a>(line: ClaimLine<'a>, _: Scene<'a>) -> Option<&'a str> {
        Some(line.claim.namespace.as_str())
    }

    fn order<'a>(line: ClaimLine<'a>, _: Scene<'a>) -> [&'a str; 4] {
        let claim = line.claim;
        [
            claim.namespace.as_str(),
            claim.name.as_str(),
            claim.uid.as_str(),
            "",
        ]
    }

    fn cells<'a>(line: ClaimLine<'a>, scene: Scene<'a>) -> [Value<'a>; 8] {
        let (mark, word) = state(line);
        [
            Value::text(Some(line.claim.namespace.as_str())),
            Value::text(Some(line.claim.name.as_str())),
            Value::State(mark, word),
            Value::text(line.pod.map(|pod| pod.name.as_str())),
            Value::text(line.node().map(netclaim_core::name::NodeName::as_str)),
            Value::list(line.devices().map(|device| device.device.as_str())),
            line.row.map_or(Value::Unknown, |row| {
                Value::Age(scene.now.since(row.created))
            }),
            Value::reason(reason(line, scene), line.claim),
        ]
    }
}

/// What is not as it should be: of the claim, or else of its node.
fn reason<'a>(line: ClaimLine<'a>, scene: Scene<'a>) -> Option<Cow<'a, str>> {
    let of_node = || trouble_of(scene.cluster, line.node()?, scene.now).map(Cow::Owned);
    line.reason(scene.cluster).or_else(of_node)
}

/// A claim's phase as a mark and a word; one that others wait for is not quite well.
pub(crate) fn state(line: ClaimLine<'_>) -> (Mark, &'static str) {
    match line.phase() {
        ClaimPhase::Ready if line.awaited().is_some() => (Mark::Warning, "ready"),
        ClaimPhase::Failed => (Mark::Bad, "failed"),
        ClaimPhase::Pending => (Mark::Waiting, "pending"),
        ClaimPhase::Allocated => (Mark::Waiting, "allocated"),
        ClaimPhase::Prepared => (Mark::Waiting, "prepared"),
        ClaimPhase::Attaching => (Mark::Busy, "attaching"),
        ClaimPhase::Ready => (Mark::Good, "ready"),
        ClaimPhase::Detaching => (Mark::Busy, "detaching"),
        ClaimPhase::Deleting => (Mark::Over, "deleting"),
    }
}

/// A column; the fields in the order in which they are read.
pub(super) const fn column(
    title: &'static str,
    letter: char,
    min: u16,
    max: u16,
    rank: u8,
    cut: Cut,
) -> Column {
    Column {
        title,
        letter,
        min,
        max,
        rank,
        cut,
    }
}
