//! What is missing or out of date, in words that say what to do.

use netclaim_core::{
    cluster::{AgentState, Kind, Since, WatchState},
    name::NodeName,
    time::Timestamp,
};

use crate::{format, model::Model, theme::Mark};

/// All of it, worst first.
pub(crate) fn troubles(model: &Model) -> Vec<(Mark, String)> {
    let (cluster, now) = (model.scene().cluster, model.scene().now);
    let again = if model.live { ", trying again" } else { "" };
    let watches = cluster.watches();
    let watches =
        watches.filter_map(|(kind, watch)| Some((Mark::Warning, unseen(kind, watch, now, again)?)));
    let lost = cluster.agents().filter_map(|(endpoint, agent)| {
        let AgentState::Lost { node, why } = &agent.state else {
            return None;
        };
        let who = node.as_ref().map_or(endpoint, |node| node.as_str());
        let since = format::age(now.since(agent.at));
        Some((Mark::Bad, format!("{who} lost for {since}{again}: {why}")))
    });
    let is_lost = |name: &NodeName| {
        cluster.agents().any(|(_, agent)| match &agent.state {
            AgentState::Lost { node, .. } => node.as_ref() == Some(name),
            AgentState::Connecting | AgentState::Connected { .. } => false,
        })
    };
    let nodes = cluster.nodes().filter(|(name, _)| !is_lost(name));
    let (silent, talking): (Vec<_>, Vec<_>) =
        nodes.partition(|(_, node)| node.silence(now).is_some());
    let silent = silent.into_iter().map(|(name, node)| {
        let silence = format::age(now.since(node.heard));
        let words = "what is shown of it is old, its rates are unknown";
        (Mark::Bad, format!("{name} silent for {silence}: {words}"))
    });
    let nri = talking
        .into_iter()
        .filter(|(_, node)| !node.snapshot.nri.connected);
    let nri = nri.map(|(name, node)| {
        let since = format::age(node.snapshot.taken.since(node.snapshot.nri.since));
        let words = "pods that start there wait. Is NRI on in the container runtime?";
        (
            Mark::Bad,
            format!("{name}: NRI disconnected for {since}; {words}"),
        )
    });
    let mut all = watches
        .chain(lost)
        .chain(silent)
        .chain(nri)
        .collect::<Vec<_>>();
    all.sort_by_key(|(mark, _)| *mark);
    all
}

fn unseen(kind: Kind, watch: &Since<WatchState>, now: Timestamp, again: &str) -> Option<String> {
    match &watch.state {
        WatchState::Synced => None,
        WatchState::Denied { missing } => {
            Some(format!("no {kind} are shown: no right to {missing}"))
        }
        WatchState::Stale { why } => {
            let since = format::age(now.since(watch.at));
            Some(format!("{kind} out of date for {since}{again}: {why}"))
        }
    }
}
