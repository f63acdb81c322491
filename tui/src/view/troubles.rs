//! What is missing or out of date, in words that say what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use netclaim_core::{
    cluster::{AgentState, Cluster, Kind, WatchState},
    name::NodeName,
    time::Timestamp,
};

use crate::{format, model::Model, theme::Mark};

/// Things that have the same cause, and since when the first of them has it.
type Causes<'a> = BTreeMap<&'a str, (Timestamp, Vec<String>)>;

/// Names that are written out; the others are counted.
const MOST_NAMES: usize = 3;

/// All of it, worst first.
pub(crate) fn troubles(model: &Model) -> Vec<(Mark, String)> {
    let (cluster, now) = (model.scene().cluster, model.scene().now);
    let mut all = unseen(cluster);
    let again = if model.live { ", trying again" } else { "" };
    for (why, (since, kinds)) in stale(cluster) {
        let since = format::age(now.since(since));
        let what = match kinds.as_slice() {
            all if all.len() == Kind::ALL.len() => "objects".to_owned(),
            kinds => names(kinds),
        };
        all.push((
            Mark::Warning,
            format!("{what} out of date for {since}{again}: {why}"),
        ));
    }
    for (why, (since, nodes)) in lost(cluster) {
        let since = format::age(now.since(since));
        all.push((
            Mark::Bad,
            gone(&nodes, &format!("lost for {since}{again}: {why}")),
        ));
    }
    all.extend(quiet(cluster, now));
    all.extend(unrelayed(cluster).map(|words| (Mark::Warning, words)));
    all.sort_by_key(|(mark, _)| *mark);
    all
}

/// What a row of a node has to say of it: what it shows is old, or comes from elsewhere.
pub(crate) fn trouble_of(cluster: &Cluster, node: &NodeName, now: Timestamp) -> Option<String> {
    let agent = cluster.agent(node)?;
    let since = format::age(now.since(agent.at));
    match &agent.state {
        AgentState::Lost { why, .. } => Some(format!("{node} lost for {since}: {why}")),
        AgentState::Connecting
        | AgentState::Connected { .. }
        | AgentState::Resting { .. }
        | AgentState::Gone { .. } => None,
    }
}

fn unseen(cluster: &Cluster) -> Vec<(Mark, String)> {
    let denied = cluster.watches().filter_map(|(kind, watch)| {
        let WatchState::Denied { missing } = &watch.state else {
            return None;
        };
        let what = match kind {
            Kind::Relays => "no node's driver is heard".to_owned(),
            _ => format!("no {kind} are shown"),
        };
        Some((Mark::Warning, format!("{what}: no right to {missing}")))
    });
    denied.collect()
}

fn stale(cluster: &Cluster) -> Causes<'_> {
    let watches = cluster.watches();
    let stale = watches.filter_map(|(kind, watch)| match &watch.state {
        WatchState::Stale { why } => Some((why.as_str(), watch.at, kind.to_string())),
        WatchState::Synced | WatchState::Denied { .. } => None,
    });
    by_cause(stale)
}

fn lost(cluster: &Cluster) -> Causes<'_> {
    let agents = cluster.agents();
    let lost = agents.filter_map(|(endpoint, agent)| match &agent.state {
        AgentState::Lost { node, why } => {
            let who = node.as_ref().map_or(endpoint, |node| node.as_str());
            Some((why.as_str(), agent.at, who.to_owned()))
        }
        AgentState::Connecting
        | AgentState::Connected { .. }
        | AgentState::Resting { .. }
        | AgentState::Gone { .. } => None,
    });
    by_cause(lost)
}

fn by_cause<'a>(all: impl Iterator<Item = (&'a str, Timestamp, String)>) -> Causes<'a> {
    let mut causes = Causes::new();
    for (why, at, who) in all {
        let (since, names) = causes.entry(why).or_insert((at, Vec::new()));
        *since = at.min(*since);
        names.push(who);
    }
    causes
}

/// Nodes that say nothing though they are listened to, or whose runtime does not speak to them.
fn quiet(cluster: &Cluster, now: Timestamp) -> Vec<(Mark, String)> {
    let is_lost = |name: &NodeName| {
        let agent = cluster.agent(name);
        agent.is_some_and(|agent| matches!(agent.state, AgentState::Lost { .. }))
    };
    let nodes = cluster.nodes().filter(|(name, _)| !is_lost(name));
    let words = nodes.filter_map(|(name, node)| {
        if node.silence(now).is_some() && !cluster.is_resting(name) {
            let silence = format::age(now.since(node.heard));
            let words = "what is shown of it is old, its rates are unknown";
            return Some(format!("{name} silent for {silence}: {words}"));
        }
        let nri = &node.snapshot.nri;
        let since = format::age(node.snapshot.taken.since(nri.since));
        let words = "pods that start there wait. Is NRI on in the container runtime?";
        (!nri.connected).then(|| format!("{name}: NRI disconnected for {since}; {words}"))
    });
    words.map(|words| (Mark::Bad, words)).collect()
}

/// Nodes with devices of a driver that is heard elsewhere, and nothing to hear it by.
fn unrelayed(cluster: &Cluster) -> Option<String> {
    if !cluster.is_synced(Kind::Relays) {
        return None;
    }
    if cluster.relays().next().is_none() {
        // Who named a node's own socket looks for no relay.
        if cluster.nodes().next().is_some() {
            return None;
        }
        let words = "no relay was found, so objects are shown and no traffic; the chart installs \
                     it (relay.enabled), --relay-namespace says where it is";
        return Some(words.to_owned());
    }
    let heard = cluster.nodes().map(|(name, _)| name);
    let relayed = cluster.relays().map(|relay| &relay.node);
    let reached = heard.chain(relayed).collect::<BTreeSet<_>>();
    let drivers = cluster.nodes().map(|(_, node)| &node.snapshot.driver);
    let drivers = drivers.collect::<BTreeSet<_>>();
    let devices = cluster.devices();
    let offering = devices.filter(|device| drivers.contains(device.driver));
    let unheard = offering.filter_map(|device| device.node.filter(|node| !reached.contains(node)));
    let unheard = unheard.collect::<BTreeSet<_>>().into_iter();
    let unheard = unheard.collect::<Vec<_>>();
    (!unheard.is_empty()).then(|| {
        let nodes = names(&unheard);
        format!("no relay runs on {nodes}: of what is there only objects are shown, no traffic")
    })
}

/// One node by its name; of several the cause comes before the names, which may be many.
fn gone(nodes: &[String], words: &str) -> String {
    match nodes {
        [node] => format!("{node} {words}"),
        nodes => format!("{} nodes {words} ({})", nodes.len(), names(nodes)),
    }
}

/// `a, b and c`, or `a, b, c and 4 more`.
pub(crate) fn names(all: &[impl Display]) -> String {
    let shown = all.iter().take(MOST_NAMES).map(ToString::to_string);
    let mut shown = shown.collect::<Vec<_>>();
    let last = match all.len().saturating_sub(MOST_NAMES) {
        0 => shown.pop(),
        more => Some(format!("{more} more")),
    };
    let last = last.unwrap_or_default();
    match shown.as_slice() {
        [] => last,
        first => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;
