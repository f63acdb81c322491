//! The top of the screen: who speaks, how much there is, and what is not to be trusted.

use netclaim_core::{
    cluster::{AgentState, WatchState},
    rate::Rates,
    snapshot::{Finding, Role, Severity},
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
};

use super::{View, bars::bars};
use crate::{
    format,
    model::Model,
    theme::{Mark, Part, Theme},
};

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let [who, state, tabs] = Layout::vertical([Constraint::Length(1); 3]).areas(area);
    let both = |left: Line<'static>, right: Line<'static>, area: Rect, frame: &mut Frame<'_>| {
        let width = u16::try_from(right.width()).unwrap_or(area.width);
        let [a, b] =
            Layout::horizontal([Constraint::Min(0), Constraint::Length(width)]).areas(area);
        frame.render_widget(left, a);
        frame.render_widget(right, b);
    };
    both(speaker(model), time(model), who, frame);
    let troubles = troubles(model);
    match troubles.first() {
        None => frame.render_widget(totals(model), state),
        Some((mark, words)) => {
            let more = match troubles.len() {
                1 => String::new(),
                n => format!(" +{} ", n - 1),
            };
            let style = model.theme.mark(*mark);
            let words = format!(
                " {} {}",
                model.theme.symbol(*mark),
                model.theme.spell(words)
            );
            let room = usize::from(area.width).saturating_sub(more.len());
            let words = format::end(&words, room, model.theme.pick("…", "~"));
            both(
                Line::styled(words, style),
                Line::styled(more, style),
                state,
                frame,
            );
        }
    }
    both(views(model), order(model), tabs, frame);
}

/// What is missing or out of date, worst first; each says what to do where it can.
pub(crate) fn troubles(model: &Model) -> Vec<(Mark, String)> {
    let scene = model.scene();
    let watches = scene
        .cluster
        .watches()
        .filter_map(|(kind, watch)| match &watch.state {
            WatchState::Synced => None,
            WatchState::Denied { missing } => Some((
                Mark::Warning,
                format!("cannot see {kind}: missing the right to {missing}"),
            )),
            WatchState::Stale { why } => {
                let since = format::age(scene.now.since(watch.at));
                Some((
                    Mark::Warning,
                    format!("{kind} out of date for {since}: {why}"),
                ))
            }
        });
    let agents = scene
        .cluster
        .agents()
        .filter_map(|(endpoint, agent)| match &agent.state {
            AgentState::Connecting | AgentState::Connected { .. } => None,
            AgentState::Lost { node, why } => {
                let since = format::age(scene.now.since(agent.at));
                let who = node.as_ref().map_or(endpoint, |node| node.as_str());
                Some((Mark::Bad, format!("{who} lost for {since}: {why}")))
            }
        });
    let silent = scene.cluster.nodes().filter_map(|(name, node)| {
        let silence = format::age(node.silence(scene.now)?);
        Some((
            Mark::Bad,
            format!(
                "{name} silent for {silence}: what is shown of it is old, its rates are unknown"
            ),
        ))
    });
    let nri = scene.cluster.nodes().filter(|(_, node)| !node.snapshot.nri.connected).map(|(name, node)| {
        let since = format::age(node.snapshot.taken.since(node.snapshot.nri.since));
        (Mark::Bad, format!("{name}: NRI disconnected for {since}; pods that start there wait. Is NRI on in the container runtime?"))
    });
    let mut all = watches
        .chain(agents)
        .chain(silent)
        .chain(nri)
        .collect::<Vec<_>>();
    all.sort_by_key(|(mark, _)| *mark);
    all
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
            spans.extend(nri(snapshot.nri.connected, theme));
            let runtime = snapshot.nri.runtime.as_deref().unwrap_or("");
            spans.push(Span::styled(format!(" {runtime}"), theme.part(Part::Quiet)));
        }
        nodes => {
            let joined = nodes
                .iter()
                .filter(|(_, node)| node.snapshot.nri.connected)
                .count();
            spans.push(Span::styled(
                format!("{} nodes", nodes.len()),
                theme.part(Part::Heading),
            ));
            spans.push(Span::raw("  "));
            spans.extend(nri(joined == nodes.len(), theme));
            spans.push(Span::raw(format!(" {joined}/{}", nodes.len())));
        }
    }
    Line::from(spans)
}

fn nri(connected: bool, theme: Theme) -> [Span<'static>; 2] {
    let mark = if connected { Mark::Good } else { Mark::Bad };
    [
        Span::raw("NRI "),
        Span::styled(theme.symbol(mark), theme.mark(mark)),
    ]
}

fn time(model: &Model) -> Line<'static> {
    let theme = model.theme;
    let clock = Span::styled(
        format!(" {} ", format::clock(model.scene().now.0)),
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

fn totals(model: &Model) -> Line<'static> {
    let (theme, summary) = (model.theme, &model.summary);
    let count = summary.claims.values().sum::<usize>();
    let mut spans = vec![Span::raw(format!(" {count} claims "))];
    for (mark, count) in &summary.claims {
        if matches!(mark, Mark::Bad | Mark::Waiting | Mark::Busy) {
            let text = format!("{}{count} ", theme.symbol(*mark));
            spans.push(Span::styled(text, theme.mark(*mark)));
        }
    }
    spans.push(Span::raw(format!(" {} interfaces  ", summary.interfaces)));
    spans.extend(findings(model));
    spans.extend(direction("rx", |rates| rates.rx.bytes, model));
    spans.extend(direction("tx", |rates| rates.tx.bytes, model));
    Line::from(spans)
}

/// How many diagnoses there are, in the colour of the gravest; the details say which.
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
    let text = format!("{}{} found  ", theme.symbol(mark), all.len());
    Some(Span::styled(text, theme.mark(mark)))
}

fn direction(name: &str, pick: fn(&Rates) -> u64, model: &Model) -> [Span<'static>; 3] {
    let (theme, summary) = (model.theme, &model.summary);
    let text = match &summary.rates {
        Some(rates) => format::bytes(pick(rates)) + "/s",
        None => theme.pick("–", "-").to_owned(),
    };
    let values = summary.history.iter().rev().map(pick).collect::<Vec<_>>();
    // What was found takes 12 columns of what the bars have.
    let taken = if findings(model).is_some() { 76 } else { 64 };
    let width = usize::from(model.size.0.saturating_sub(taken) / 3).clamp(1, 24);
    [
        Span::styled(format!("{name} "), theme.part(Part::Quiet)),
        Span::styled(format!("{text:<10}"), theme.part(Part::Traffic)),
        Span::styled(
            bars(theme, &values, width) + "  ",
            theme.part(Part::Traffic),
        ),
    ]
}

fn views(model: &Model) -> Line<'static> {
    let theme = model.theme;
    let mut spans = Vec::new();
    for (index, view) in View::ALL.into_iter().enumerate() {
        let text = format!(" {} {} ", index + 1, view.name());
        let style = if view == model.view {
            theme.part(Part::Title)
        } else {
            theme.part(Part::Quiet)
        };
        spans.push(Span::styled(text, style));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

fn order(model: &Model) -> Line<'static> {
    let (theme, list) = (model.theme, model.list());
    let mut spans = Vec::new();
    if !list.filter.is_empty() {
        let text = format!("/{}  ", list.filter.text());
        spans.push(Span::styled(theme.spell(&text), theme.mark(Mark::Warning)));
    }
    let rows = match list.rows.len() {
        0 => "0".to_owned(),
        rows => format!("{}", rows.min(list.cursor + 1)),
    };
    let of = if list.total == list.rows.len() {
        format!("{rows}/{} ", list.total)
    } else {
        format!("{rows}/{} of {} ", list.rows.len(), list.total)
    };
    spans.push(Span::styled(of, theme.part(Part::Quiet)));
    Line::from(spans)
}
