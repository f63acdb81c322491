//! All that is known of a device.

use netclaim_core::{
    attachment::Leftover, cluster::DeviceLine, inventory::Attribute, snapshot::Finding,
};

use super::page::Page;
use crate::{format, table::Scene, theme::Mark, value::Value, view::slices};

/// Claims that are named: a page is drawn with every frame.
const MOST_USERS: usize = 50;

/// Writes it.
pub(super) fn write(page: &mut Page, line: DeviceLine<'_>, scene: Scene<'_>) {
    let state = line.state().map_or(Value::Unknown, |state| {
        let (mark, word) = slices::link(state);
        Value::State(mark, word)
    });
    page.title("device", line.name.as_str(), &state);
    page.field("pool", line.pool.map(netclaim_core::name::PoolName::as_str));
    page.field("driver", Some(line.driver.as_str()));
    page.field("node", line.node.map(netclaim_core::name::NodeName::as_str));
    page.field("link", line.link());
    page.field("mode", line.mode().map(slices::mode));
    let used = line
        .used
        .map(|used| Value::Share(used, line.max()).shown().into_owned());
    page.field("used", used);
    if line.pool.is_none() {
        page.state("slice", Mark::Waiting, "not seen in a ResourceSlice");
    }
    for taint in line.row.iter().flat_map(|row| &row.taints) {
        page.state("taint", Mark::Warning, taint);
    }
    let attributes = line.attributes();
    if !attributes.is_empty() {
        page.section("Attributes");
    }
    for (name, value) in attributes {
        page.field(name, Some(text(value)));
    }
    users(page, line, scene);
    let nodes = scene.cluster.nodes();
    let mine = nodes.filter(|(name, _)| Some(*name) == line.node);
    let findings = mine.flat_map(|(_, node)| &node.snapshot.findings);
    page.findings(findings.filter(|finding| is_about(finding, line)));
}

/// What is wrong with the device, or with its whole node.
fn is_about(finding: &Finding, line: DeviceLine<'_>) -> bool {
    let node = line.node.map(|node| format!("node//{node}"));
    finding.subject == format!("device/{}", line.name) || Some(&finding.subject) == node.as_ref()
}

fn users(page: &mut Page, line: DeviceLine<'_>, scene: Scene<'_>) {
    let Some(id) = line.id() else { return };
    let uses = |claim: &netclaim_core::cluster::ClaimLine<'_>| {
        claim
            .devices()
            .any(|device| device.device == id.device && device.pool == id.pool)
    };
    let mut claims = scene.cluster.claims().filter(uses).peekable();
    if claims.peek().is_some() {
        page.section("Used by");
    }
    for claim in claims.by_ref().take(MOST_USERS) {
        let pod = claim.pod.map_or("–", |pod| pod.name.as_str());
        let text = format!("{}/{}  {pod}", claim.claim.namespace, claim.claim.name);
        page.words(&text);
    }
    if claims.peek().is_some() {
        page.words(&format!(
            "and more: see them by 1 and /device:{}",
            id.device
        ));
    }
    let nodes = scene
        .cluster
        .nodes()
        .filter(|(name, _)| Some(*name) == line.node);
    for left in nodes.flat_map(|(_, node)| &node.snapshot.leftovers) {
        if left.attachment.device.allocated.device == id.device {
            leftover(page, left, scene);
        }
    }
}

fn leftover(page: &mut Page, left: &Leftover, scene: Scene<'_>) {
    page.section("Left behind");
    page.field("interface", Some(left.attachment.key.to_string()));
    page.field("pod", Some(left.attachment.pod.name.as_str()));
    let age = format::age(scene.now.since(left.since));
    page.field("tried", Some(format!("{} times in {age}", left.attempts)));
    page.failure(&left.failure);
}

fn text(value: &Attribute) -> String {
    match value {
        Attribute::String(text) => text.clone(),
        Attribute::Int(number) => number.to_string(),
        Attribute::Bool(truth) => truth.to_string(),
    }
}
