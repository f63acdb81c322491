//! Everything that is wrong: what cannot be seen from here, and what the drivers found.

use std::{cmp::Reverse, collections::BTreeMap};

use super::page::Page;
use crate::{
    format,
    model::Model,
    theme::Mark,
    value::Value,
    view::{claims, names, troubles},
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
    let failed = failed(model);
    if !failed.is_empty() {
        page.section("Claims that fail");
    }
    for (why, who) in &failed {
        page.marked(Mark::Bad, &format!("{}: {why}", names(who)));
    }
    let mut none = troubles.is_empty() && failed.is_empty();
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

/// Claims by why they fail: what many have in common is said once.
fn failed(model: &Model) -> BTreeMap<String, Vec<String>> {
    let scene = model.scene();
    let mut causes = BTreeMap::new();
    for line in scene.cluster.claims() {
        if claims::state(line).0 == Mark::Bad {
            let why = Value::reason(claims::reason(line, scene), line.claim);
            let who = format!("claim/{}/{}", line.claim.namespace, line.claim.name);
            let all: &mut Vec<String> = causes.entry(why.shown().into_owned()).or_default();
            all.push(who);
        }
    }
    causes
}
