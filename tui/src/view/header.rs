//! The top of the screen: who speaks, what passes, what is not to be trusted, which tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use netclaim_core::{
    cluster::{HISTORY, Node},
    name::NodeName,
    rate::Rates,
    snapshot::{Finding, Role, Severity},
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
};

use super::{View, bars::bars, sheet_lines, troubles};
use crate::{
    format,
    model::Model,
    table::Scene,
    theme::{Mark, Part, Theme},
};

/// Fewer bars than these tell nothing.
const FEWEST_BARS: usize = 8;

/// How many lines it has; the table begins below.
pub(crate) fn lines(model: &Model) -> u16 {
    if troubles(model).is_empty() { 3 } else { 4 }
}

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let troubles = troubles(model);
    let trouble = u16::from(!troubles.is_empty());
    let [who, traffic, state, tabs] =
        Layout::vertical([1, 1, trouble, 1].map(Constraint::Length)).areas(area);
    both(frame, who, speaker(model), time(model));
    frame.render_widget(totals(model), traffic);
    if let Some((mark, words)) = troubles.first() {
        let more = match troubles.len() - 1 {
            0 => String::new(),
            more => format!(" +{more} more (!) "),
        };
        let words = format!(" {} {words}", model.theme.symbol(*mark));
        let room = usize::from(area.width).saturating_sub(more.len());
        let dots = model.theme.pick("…", "~");
        let words = format::end(&model.theme.spell(&words), room, dots);
        let style = model.theme.mark(*mark);
        both(
            frame,
            state,
            Line::styled(words, style),
            Line::styled(more, style),
        );
    }
    let order = order(model);
    let room = usize::from(area.width).saturating_sub(order.width());
    both(frame, tabs, views(model, room), order);
}

fn both(frame: &mut Frame<'_>, area: Rect, left: Line<'static>, right: Line<'static>) {
    let width = u16::try_from(right.width()).unwrap_or(area.width);
    let [a, b] = Layout::horizontal([Constraint::Min(0), Constraint::Length(width)]).areas(area);
    frame.render_widget(left, a);
    frame.render_widget(right, b);
}

fn speaker(model: &Model) -> Line<'static> {
    let theme = model.theme;
    let mut spans = vec![
        Span::styled(" dra-top ", theme.part(Part::Title)),
        Span::raw(" "),
    ];
    let cluster = model.scene().cluster;
    let nodes = cluster.nodes().collect::<Vec<_>>();
    match nodes.as_slice() {
        [] => spans.push(Span::raw(theme.spell(&model.origin))),
        [(name, node)] => {
            let snapshot = &node.snapshot;
            spans.push(Span::styled(name.to_string(), theme.part(Part::Heading)));
            let standby = match snapshot.role {
                Role::Active => "",
                Role::Standby => " (standby)",
            };
            let version = format!("  netclaim {}{standby}  ", snapshot.version);
            spans.push(Span::styled(version, theme.part(Part::Quiet)));
            spans.extend(nri(joins(node, model), theme));
            // The version tells runtimes apart; how it was built does not (`v2.4.2+unknown`).
            let runtime = snapshot.nri.runtime.as_deref().unwrap_or("");
            let runtime = runtime.split('+').next().unwrap_or(runtime);
            spans.push(Span::styled(format!(" {runtime}"), theme.part(Part::Quiet)));
        }
        nodes => {
            let join = nodes.iter().map(|(_, node)| joins(node, model));
            let joined = join.clone().filter(|join| *join == Some(true)).count();
            let worst = join.min_by_key(|join| match join {
                Some(false) => 0,
                None => 1,
                Some(true) => 2,
            });
            spans.push(Span::styled(
                format!("{} nodes", nodes.len()),
                theme.part(Part::Heading),
            ));
            spans.push(Span::raw("  "));
            spans.extend(nri(worst.flatten(), theme));
            spans.push(Span::raw(format!(" {joined}/{}", nodes.len())));
            spans.extend(turns(nodes, model));
        }
    }
    Line::from(spans)
}

/// How old the figures are of nodes that are heard in turns.
fn turns(nodes: &[(&NodeName, &Node)], model: &Model) -> Option<Span<'static>> {
    let Scene { cluster, now } = model.scene();
    let resting = nodes.iter().filter(|(name, _)| cluster.is_resting(name));
    let ages = resting.map(|(_, node)| now.since(node.heard));
    let (count, oldest) = ages.fold((0, Duration::ZERO), |(count, oldest), age| {
        (count + 1, age.max(oldest))
    });
    let words = format!("  {count} in turns, up to {} old", format::age(oldest));
    (count > 0).then(|| Span::styled(words, model.theme.part(Part::Quiet)))
}

/// Whether a node's runtime speaks to its driver; nobody knows of a node that is silent itself.
fn joins(node: &Node, model: &Model) -> Option<bool> {
    let Scene { cluster, now } = model.scene();
    let silent = node.silence(now).is_some() && !cluster.is_resting(&node.snapshot.node);
    (!silent).then_some(node.snapshot.nri.connected)
}

fn nri(connected: Option<bool>, theme: Theme) -> [Span<'static>; 2] {
    let mark = match connected {
        Some(true) => Mark::Good,
        Some(false) => Mark::Bad,
        None => Mark::Waiting,
    };
    [
        Span::raw("NRI "),
        Span::styled(theme.symbol(mark), theme.mark(mark)),
    ]
}

fn time(model: &Model) -> Line<'static> {
    let theme = model.theme;
    let clock = Span::styled(
        format!(" {} UTC ", format::clock(model.scene().now.0)),
        theme.part(Part::Quiet),
    );
    let badge = match (&model.frozen, model.live) {
        (Some(_), _) => Some(" FROZEN "),
        (None, false) => Some(" END "),
        (None, true) => None,
    };
    let badge = badge.map(|badge| Span::styled(badge, theme.part(Part::Title)));
    badge.into_iter().chain([clock]).collect()
}

/// Traffic of all interfaces, and as many bars of the last minute as there is room for.
fn totals(model: &Model) -> Line<'static> {
    let (theme, scene) = (model.theme, model.scene());
    let mut spans = vec![Span::raw(" ")];
    if scene.cluster.nodes().next().is_none() && scene.cluster.agents().next().is_none() {
        let words = "rx –  tx –  nodes' drivers count traffic; none is heard";
        spans.push(Span::styled(theme.spell(words), theme.part(Part::Quiet)));
        return Line::from(spans);
    }
    spans.extend(findings(model));
    spans.extend(counted(model));
    let directions = [Direction::Received, Direction::Sent];
    // Name, number and gaps of a direction take 15 columns.
    let taken = spans.iter().map(Span::width).sum::<usize>() + 15 * directions.len();
    let bars = usize::from(model.size.0).saturating_sub(taken) / directions.len();
    let bars = Some(bars.min(HISTORY)).filter(|bars| *bars >= FEWEST_BARS);
    for way in directions {
        spans.extend(direction(way, bars.unwrap_or(0), model));
    }
    Line::from(spans)
}

/// How many diagnoses there are, in the colour of the gravest, and the key that shows them.
fn findings(model: &Model) -> Option<Span<'static>> {
    let theme = model.theme;
    let nodes = model.scene().cluster.nodes();
    let all: Vec<&Finding> = nodes
        .flat_map(|(_, node)| &node.snapshot.findings)
        .collect();
    let mark = match all.iter().map(|finding| finding.severity).max()? {
        Severity::Fault => Mark::Bad,
        Severity::Warning => Mark::Warning,
        Severity::Notice => Mark::Waiting,
    };
    let plural = if all.len() == 1 { "" } else { "s" };
    let text = format!("{}{} finding{plural} (!)  ", theme.symbol(mark), all.len());
    Some(Span::styled(text, theme.mark(mark)))
}

/// How many of the nodes are in the sum, where it is not all of them.
fn counted(model: &Model) -> Option<Span<'static>> {
    let Scene { cluster, now } = model.scene();
    let agents = cluster.agents();
    let agents = agents.filter_map(|(_, agent)| agent.state.node());
    let relays = cluster.relays().map(|relay| &relay.node);
    let spoke = cluster.nodes().map(|(name, _)| name);
    let all = agents.chain(relays).chain(spoke).collect::<BTreeSet<_>>();
    let summed = cluster
        .nodes()
        .filter(|(name, node)| node.silence(now).is_none() || cluster.is_resting(name))
        .count();
    let words = format!("{summed} of {} nodes  ", all.len());
    (summed < all.len()).then(|| Span::styled(words, model.theme.mark(Mark::Warning)))
}

/// From the pods' point of view.
#[derive(Clone, Copy)]
enum Direction {
    Received,
    Sent,
}

fn direction(way: Direction, width: usize, model: &Model) -> [Span<'static>; 3] {
    let (theme, summary) = (model.theme, &model.summary);
    let (name, pick): (_, fn(&Rates) -> u64) = match way {
        Direction::Received => ("rx ", |rates| rates.rx.bytes),
        Direction::Sent => ("tx ", |rates| rates.tx.bytes),
    };
    let text = match &summary.rates {
        Some(rates) => format::bytes(pick(rates)) + "/s",
        None => theme.pick("–", "-").to_owned(),
    };
    let values = summary.history.iter().rev().map(pick).collect::<Vec<_>>();
    let bars = bars(theme, &values, width) + "  ";
    [
        Span::styled(name, theme.part(Part::Quiet)),
        Span::styled(format!("{text:<10}"), theme.part(Part::Traffic)),
        Span::styled(bars, theme.part(Part::Traffic)),
    ]
}

/// The tables with how much is in them, and what of it is not well where there is room for it.
fn views(model: &Model, room: usize) -> Line<'static> {
    let all = tabs(model, true);
    if all.width() <= room {
        all
    } else {
        tabs(model, false)
    }
}

fn tabs(model: &Model, marks: bool) -> Line<'static> {
    let (theme, summary) = (model.theme, &model.summary);
    let (devices, unusable) = summary.devices;
    let mut spans = Vec::new();
    for (index, view) in View::ALL.into_iter().enumerate() {
        let (count, unwell): (usize, _) = match view {
            View::Claims => (summary.claims.values().sum(), unwell(&summary.claims)),
            View::Slices => (devices, vec![(Mark::Bad, unusable)]),
            View::Interfaces => (
                summary.interfaces.values().sum(),
                unwell(&summary.interfaces),
            ),
        };
        let part = if view == model.view {
            Part::Title
        } else {
            Part::Quiet
        };
        let text = format!(" {} {} ({count}) ", index + 1, view.name());
        spans.push(Span::styled(text, theme.part(part)));
        for (mark, count) in unwell {
            if marks && count > 0 {
                let text = format!(" {}{count}", theme.symbol(mark));
                spans.push(Span::styled(text, theme.mark(mark)));
            }
        }
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

/// What is failed, late or under way.
fn unwell(marks: &BTreeMap<Mark, usize>) -> Vec<(Mark, usize)> {
    let marks = marks.iter().map(|(mark, count)| (*mark, *count));
    marks
        .filter(|(mark, _)| !matches!(mark, Mark::Good | Mark::Over))
        .collect()
}

/// Where one is: in the table, or in what lies over it.
fn order(model: &Model) -> Line<'static> {
    let (theme, list) = (model.theme, model.list());
    if let Some(layer) = model.layers.last() {
        let lines = sheet_lines(model, &layer.sheet).len();
        let first = layer.scroll.min(lines.saturating_sub(model.body()));
        let end = lines.min(first + model.body());
        let text = format!("lines {}-{end} of {lines} ", first + 1);
        return Line::styled(text, theme.part(Part::Quiet));
    }
    let mut spans = Vec::new();
    if !list.filter.is_empty() {
        let text = format!("/{}  ", list.filter.text());
        spans.push(Span::styled(theme.spell(&text), theme.mark(Mark::Warning)));
    }
    let rows = list.rows.len();
    let row = rows.min(list.cursor + 1);
    let of = if list.total == rows {
        format!("{row}/{rows} ")
    } else {
        format!("{row}/{rows} of {} ", list.total)
    };
    spans.push(Span::styled(of, theme.part(Part::Quiet)));
    Line::from(spans)
}
