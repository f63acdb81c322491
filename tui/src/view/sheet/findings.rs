//! Everything that is wrong: what cannot be seen from here, what is not well, and what the drivers
//! found.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::page::Page;
use crate::{
    format,
    model::Model,
    table::Scene,
    theme::Mark,
    value::Value,
    view::{claims, interfaces, names, slices, troubles},
};

/// Writes it.
pub(super) fn write(page: &mut Page, model: &Model) {
    page.title("findings", "", &Value::Unknown);
    let troubles = troubles(model);
    if !troubles.is_empty() {
        page.section("Seen from here");
    }
    for (mark, words) in &troubles {
        page.marked(*mark, words);
    }
    let unwell = unwell(model);
    if !unwell.is_empty() {
        page.section("Not well");
    }
    for ((mark, why), who) in &unwell {
        page.marked(*mark, &format!("{}: {why}", names(who)));
    }
    let mut none = troubles.is_empty() && unwell.is_empty();
    let claims = model.scene().cluster.claims();
    let unheard = claims.filter(|line| line.seen.is_none());
    let awaited = unheard.filter_map(|line| Some((line.claim, line.awaited()?)));
    for (index, (claim, awaited)) in awaited.enumerate() {
        if index == 0 {
            none = false;
            page.section("Said by claims");
        }
        let words = format!("claim/{}/{}: {awaited}", claim.namespace, claim.name);
        page.marked(Mark::Warning, &words);
    }
    for (name, node) in model.scene().cluster.nodes() {
        let mut findings = node.snapshot.findings.iter().collect::<Vec<_>>();
        if findings.is_empty() {
            continue;
        }
        none = false;
        findings.sort_by_key(|finding| Reverse(finding.severity));
        let silence = node.silence(model.scene().now);
        let age = silence.map(|silence| format!(", {} ago", format::age(silence)));
        let age = age.unwrap_or_default();
        page.section(&format!("Found by the driver on {name}{age}"));
        for finding in findings {
            page.finding(&format!("{} ({})", finding.subject, finding.rule), finding);
        }
    }
    if none {
        page.section("Nothing was found");
        page.words("What can be seen is as it should be.");
    }
}

/// Rows that are not well, by how bad that is and why: what many have in common is said once.
type Causes = BTreeMap<(Mark, String), Vec<String>>;

/// What the marks beside the tables' names count, but for what is under way or told by its driver.
fn unwell(model: &Model) -> Causes {
    let mut causes = Causes::new();
    let mut tell = |mark, why: &str, who| {
        let key = (mark, why.to_owned());
        causes.entry(key).or_default().push(who);
    };
    let Scene { cluster, now } = model.scene();
    let mut told = BTreeSet::new();
    for line in cluster.claims() {
        let (mark, _) = claims::state(line);
        let fails = mark == Mark::Bad;
        let stuck = mark == Mark::Waiting && line.pod.is_some();
        if let Some(why) = line.reason(cluster).filter(|_| fails || stuck) {
            let why = Value::reason(Some(why), line.claim);
            let who = format!("claim/{}/{}", line.claim.namespace, line.claim.name);
            tell(mark, &why.shown(), who);
            told.insert(&line.claim.uid);
        }
    }
    for line in cluster.interfaces() {
        let Value::State(mark @ (Mark::Bad | Mark::Warning), word) = interfaces::state(line, now)
        else {
            continue;
        };
        if mark == Mark::Warning || !told.contains(&line.claim.uid) {
            let why = interfaces::reason(line, model.scene()).unwrap_or(Cow::Borrowed(word));
            let why = Value::reason(Some(why), line.claim);
            let pod = line.pod.map_or("", |pod| pod.name.as_str());
            let who = format!("pod/{}/{pod} {}", line.claim.namespace, line.if_name);
            tell(mark, &why.shown(), who);
        }
    }
    for line in cluster.devices() {
        if let Some((Mark::Bad, word)) = line.state().map(slices::link) {
            let node = line.node.map_or("", |node| node.as_str());
            let who = format!("device/{node}/{}", line.name);
            tell(Mark::Bad, &format!("its link is {word}"), who);
        }
    }
    causes
}
