//! With whom a pod talks over an interface: the busiest first.

use netclaim_core::{
    cluster::{FlowsTold, InterfaceLine, STALE_AFTER},
    flows::{FlowId, Flows, Line, Recorded, Table},
    snapshot::InterfaceState,
};
use ratatui::text::Span;

use super::page::Page;
use crate::{
    format,
    table::Scene,
    theme::{Mark, Part},
};

/// Columns behind the other end: local port, protocol, received and sent per second, in all.
const WIDTHS: [usize; 5] = [5, 7, 8, 8, 8];

/// Writes them, of an interface that is in its pod.
pub(super) fn write(page: &mut Page, line: InterfaceLine<'_>, scene: Scene<'_>) {
    if line.state() != Some(InterfaceState::Attached) {
        return;
    }
    page.section("Flows");
    let Some(told) = scene.cluster.flows(&line.id()) else {
        page.words("Its node has not told them yet.");
        return;
    };
    match &told.state {
        FlowsTold::Unseen { why } => page.marked(Mark::Waiting, why),
        FlowsTold::Seen { flows } => {
            // The last speed is none while nobody speaks.
            let fresh = scene.now.since(told.at) <= STALE_AFTER;
            seen(page, flows, fresh);
        }
    }
}

fn seen(page: &mut Page, flows: &Flows, fresh: bool) {
    let recorded = flows.interfaces.first().map(|row| row.recorded.as_ref());
    match recorded {
        None => page.words("The interface is not in its pod any more."),
        Some(None) => page.words("Recording is about to begin."),
        Some(Some(Recorded::Unavailable { failure })) => {
            page.marked(Mark::Warning, &format!("not recorded: {}", failure.message));
        }
        Some(Some(Recorded::Observed { flows, .. })) if flows.is_empty() => {
            page.words("Nothing has passed since its node began to look.");
        }
        Some(Some(Recorded::Observed { flows, more })) => {
            table(page, flows, fresh);
            if *more > 0 {
                page.words(&format!("and {more} more"));
            }
        }
    }
    if let Some(table) = flows.table.filter(|table| table.forgotten + table.lost > 0) {
        page.marked(Mark::Warning, &forgotten(&table));
    }
}

/// What is missing, where there was no room.
fn forgotten(table: &Table) -> String {
    let Table {
        room,
        forgotten,
        lost,
        ..
    } = table;
    format!(
        "the node has room for {room} flows and forgot {forgotten} that were idle longest, with what \
         they had counted; {lost} packets found no place"
    )
}

fn table(page: &mut Page, flows: &[Line], fresh: bool) {
    let quiet = page.theme.part(Part::Quiet);
    let titles = ["peer", "local", "proto", "rx/s", "tx/s", "total"].map(str::to_owned);
    let titles = columns(page, titles);
    page.spans(vec![Span::styled(titles, quiet)]);
    let traffic = page.theme.part(Part::Traffic);
    for line in flows {
        let speed = line.speed.filter(|_| fresh);
        let unknown = || "–".to_owned();
        let per_second = |bytes: Option<u64>| bytes.map_or_else(unknown, format::bytes);
        let cells = [
            line.id.peer().unwrap_or_else(unknown),
            local(&line.id).unwrap_or_else(unknown),
            line.id.protocol(),
            per_second(speed.map(|speed| speed.rx)),
            per_second(speed.map(|speed| speed.tx)),
            format::bytes(line.flow.bytes()),
        ];
        let moves = speed.is_some_and(|speed| speed.rx + speed.tx > 0);
        let cells = columns(page, cells);
        let style = if moves { traffic } else { quiet };
        page.spans(vec![Span::styled(cells, style)]);
    }
}

fn local(id: &FlowId) -> Option<String> {
    match id {
        FlowId::Ip { ports, .. } => ports.map(|ports| ports.local.to_string()),
        FlowId::Link { .. } => None,
    }
}

/// A line of the table; a long address of the other end gives way in its middle.
fn columns(page: &Page, cells: [String; 6]) -> String {
    let taken = WIDTHS.iter().map(|width| width + 1).sum();
    let room = page.columns().saturating_sub(taken).min(48);
    let [peer, rest @ ..] = cells;
    let peer = format::middle(&page.theme.spell(&peer), room, page.theme.pick("…", "~"));
    let mut text = format::pad(&peer, room, false);
    for (index, (cell, width)) in rest.iter().zip(WIDTHS).enumerate() {
        text.push(' ');
        // Only the protocol is a word.
        text.push_str(&format::pad(&page.theme.spell(cell), width, index != 1));
    }
    text
}
