//! Interfaces in pods and what passes through them.

use std::borrow::Cow;

use netclaim_core::{
    attachment::{ProbeMode, ProbeState},
    cluster::{Cluster, InterfaceLine},
    counters::Counters,
    snapshot::{Interface, InterfaceState},
    time::Timestamp,
};

use super::{claims::column, trouble_of};
use crate::{
    table::{Column, Cut, RowId, Scene, Table},
    theme::Mark,
    value::Value,
};

/// The table of interfaces.
#[derive(Debug)]
pub(crate) struct Interfaces;

impl Table<21> for Interfaces {
    type Line<'a> = InterfaceLine<'a>;

    const COLUMNS: [Column; 21] = [
        column("NAMESPACE", 'N', 9, 24, 3, Cut::Middle),
        column("POD", 'P', 24, 48, 0, Cut::Middle),
        column("IF", 'F', 4, 15, 0, Cut::End),
        column("STATE", 'S', 11, 11, 0, Cut::End),
        column("ADDRESS", 'A', 13, 43, 1, Cut::End),
        column("RX/s", 'R', 8, 8, 0, Cut::Right),
        column("TX/s", 'T', 8, 8, 0, Cut::Right),
        column("HEARD", 'H', 5, 6, 1, Cut::Right),
        column("RXp/s", 'X', 6, 6, 4, Cut::Right),
        column("TXp/s", 'Y', 6, 6, 4, Cut::Right),
        column("DROPS", 'U', 6, 6, 6, Cut::Right),
        column("PEAK/s", 'K', 8, 8, 8, Cut::Right),
        column("RX", 'V', 7, 8, 9, Cut::Right),
        column("TX", 'W', 7, 8, 9, Cut::Right),
        column("PACKETS", 'C', 7, 7, 10, Cut::Right),
        column("TREND", 'Z', 12, 20, 5, Cut::End),
        column("DEVICE", 'D', 6, 24, 2, Cut::Middle),
        column("NODE", 'O', 11, 32, 7, Cut::Middle),
        column("CLAIM", 'L', 20, 63, 11, Cut::Middle),
        column("PROBE", 'B', 7, 9, 12, Cut::End),
        column("REASON", 'E', 20, 200, 6, Cut::End),
    ];

    fn lines(cluster: &Cluster) -> impl Iterator<Item = InterfaceLine<'_>> {
        cluster.interfaces()
    }

    fn line<'a>(cluster: &'a Cluster, id: &RowId) -> Option<InterfaceLine<'a>> {
        match id {
            RowId::Interface(id) => cluster.interface(id),
            RowId::Claim(_) | RowId::Device(_) => None,
        }
    }

    fn id(line: InterfaceLine<'_>) -> Option<RowId> {
        Some(RowId::Interface(line.id()))
    }

    fn namespace<'a>(line: InterfaceLine<'a>, _: Scene<'a>) -> Option<&'a str> {
        Some(line.claim.namespace.as_str())
    }

    /// What is over comes last.
    fn order<'a>(line: InterfaceLine<'a>, _: Scene<'a>) -> [&'a str; 4] {
        let over = line.state() == Some(InterfaceState::Ended);
        let claim = line.claim;
        let pod = line.pod.map_or("", |pod| pod.name.as_str());
        [
            if over { "1" } else { "0" },
            claim.namespace.as_str(),
            pod,
            line.if_name,
        ]
    }

    fn cells<'a>(line: InterfaceLine<'a>, scene: Scene<'a>) -> [Value<'a>; 21] {
        let rates = line.rates(scene.now);
        let bytes = |pick: fn(_) -> u64| rates.map_or(Value::Unknown, |r| Value::Rate(pick(r)));
        let packets =
            |pick: fn(_) -> u64| rates.map_or(Value::Unknown, |r| Value::Packets(pick(r)));
        let (counters, drops) = (line.counters(), line.drops());
        [
            Value::text(Some(line.claim.namespace.as_str())),
            Value::text(line.pod.map(|pod| pod.name.as_str())),
            Value::text(Some(line.if_name)),
            state(line, scene.now),
            Value::list(line.ips()),
            bytes(|rates| rates.rx.bytes),
            bytes(|rates| rates.tx.bytes),
            heard(line, scene.now),
            packets(|rates| rates.rx.packets),
            packets(|rates| rates.tx.packets),
            drops.map_or(Value::Unknown, |drops| Value::Tally(drops.iter().collect())),
            counters.map_or(Value::Unknown, |counters| Value::Rate(peak(counters))),
            counters.map_or(Value::Unknown, |c| Value::Bytes(c.rx.bytes)),
            counters.map_or(Value::Unknown, |c| Value::Bytes(c.tx.bytes)),
            counters.map_or(Value::Unknown, |c| {
                Value::Count(c.rx.packets + c.tx.packets)
            }),
            trend(line),
            Value::text(Some(line.allocated.device.as_str())),
            Value::text(line.node().map(netclaim_core::name::NodeName::as_str)),
            Value::text(Some(line.claim.name.as_str())),
            Value::text(line.probe().map(probe)),
            Value::reason(reason(line, scene), line.claim),
        ]
    }
}

/// How well an interface is, where that is known.
pub(crate) fn mark(line: InterfaceLine<'_>, now: Timestamp) -> Option<Mark> {
    match state(line, now) {
        Value::State(mark, _) => Some(mark),
        _ => None,
    }
}

/// How far an interface is; being there uncounted, or late, is not quite well. Where its node does
/// not speak, what was true once is not said of now; where it never spoke, its claim's status is.
pub(super) fn state(line: InterfaceLine<'_>, now: Timestamp) -> Value<'static> {
    let Some(seen) = line.seen else {
        let ready = line.status.and_then(|status| status.condition("Ready"));
        return match ready.and_then(|ready| ready.holds) {
            Some(true) => Value::State(Mark::Good, "attached"),
            Some(false) => Value::State(Mark::Bad, "failed"),
            None => Value::Unknown,
        };
    };
    let interface = seen.interface;
    if seen.is_silent(now) && interface.state != InterfaceState::Ended {
        return Value::State(Mark::Waiting, "unheard");
    }
    let (mark, word) = match interface.state {
        InterfaceState::Waiting => (Mark::Waiting, "waiting"),
        InterfaceState::Attaching => (Mark::Busy, "attaching"),
        InterfaceState::Detaching => (Mark::Busy, "detaching"),
        InterfaceState::Failed => (Mark::Bad, "failed"),
        InterfaceState::Ended => (Mark::Over, "ended"),
        InterfaceState::Attached => match &interface.probe {
            Some(ProbeState::Missing { .. }) => (Mark::Warning, "uncounted"),
            _ if interface.late => (Mark::Warning, "late"),
            _ => (Mark::Good, "attached"),
        },
    };
    Value::State(mark, word)
}

/// How an interface is counted, in a word.
pub(super) fn probe(probe: &ProbeState) -> &'static str {
    match probe {
        ProbeState::Counting { mode, .. } => match mode {
            ProbeMode::Tcx => "tcx",
            ProbeMode::Tc => "tc",
        },
        ProbeState::Missing { .. } => "missing",
    }
}

/// The busiest second so far, in either direction.
pub(super) fn peak(counters: &Counters) -> u64 {
    let Counters { rx, tx } = counters;
    rx.peak_bytes_per_second.max(tx.peak_bytes_per_second)
}

/// When its node last spoke of it, which is shown where it does not speak all the time.
fn heard(line: InterfaceLine<'_>, now: Timestamp) -> Value<'static> {
    let heard = line.seen.map(|seen| now.since(seen.node.heard));
    let old = line.seen.and_then(|seen| seen.node.silence(now));
    Value::Heard(heard, old.is_some())
}

/// What it means for a pod that an interface is late.
pub(super) const LATE: &str = "a container had already run when the interface came";

/// What is not as it should be: of the interface, or else of its node.
pub(super) fn reason<'a>(line: InterfaceLine<'a>, scene: Scene<'a>) -> Option<Cow<'a, str>> {
    let failure = line.seen.and_then(|seen| match &seen.interface.probe {
        Some(ProbeState::Missing { failure, .. }) => Some(failure),
        _ => seen.interface.failure.as_ref(),
    });
    let of_node = || trouble_of(scene.cluster, line.node()?, scene.now).map(Cow::Owned);
    let late = line.seen.is_some_and(|seen| {
        let Interface { state, late, .. } = seen.interface;
        *late && *state == InterfaceState::Attached
    });
    failure
        .map(|failure| failure.message.as_str())
        .or(late.then_some(LATE))
        .map(Cow::Borrowed)
        .or_else(of_node)
}

fn trend(line: InterfaceLine<'_>) -> Value<'static> {
    let Some(flow) = line.seen.and_then(|seen| seen.flow) else {
        return Value::Unknown;
    };
    let rates = flow.history.iter();
    Value::Trend(
        rates
            .map(|r| r.rx.bytes.saturating_add(r.tx.bytes))
            .collect(),
    )
}
