//! All that is known of a claim.

use netclaim_core::{
    cluster::{AllocatedRow, ClaimLine, ConditionRow, InterfaceId},
    name::ShareId,
};

use super::{interface, page::Page};
use crate::{format, table::Scene, theme::Mark, value::Value, view::claims};

/// Writes it.
pub(super) fn write(page: &mut Page, line: ClaimLine<'_>, scene: Scene<'_>) {
    let claim = line.claim;
    let (mark, word) = claims::state(line);
    let name = format!("{}/{}", claim.namespace, claim.name);
    page.title("claim", &name, &Value::State(mark, word));
    identity(page, line, scene);
    why(page, line, scene);
    awaited(page, line, scene);
    asked(page, line, scene);
    allocated(page, line);
    for found in line.interfaces() {
        let id = InterfaceId {
            claim: claim.uid.clone(),
            if_name: found.if_name.as_str().into(),
            ended: None,
        };
        if let Some(found) = scene.cluster.interface(&id) {
            interface::body(page, found, scene);
            interface::history(page, found);
        }
    }
    let subject = format!("claim/{name}");
    let findings = line.on.map_or(&[][..], |node| &node.snapshot.findings);
    page.findings(findings.iter().filter(|finding| finding.subject == subject));
}

fn identity(page: &mut Page, line: ClaimLine<'_>, scene: Scene<'_>) {
    page.field("uid", Some(line.claim.uid.as_str()));
    let pod = line.pod.map(|pod| match line.pod_row {
        Some(row) => format!("{} ({})", pod.name, row.phase),
        None => pod.name.to_string(),
    });
    page.field("pod", pod);
    page.field(
        "node",
        line.node().map(netclaim_core::name::NodeName::as_str),
    );
    page.as_of(line.node(), scene);
    let age = line
        .row
        .map(|row| format::age(scene.now.since(row.created)));
    page.known("age", age);
    page.known("config", line.row.and_then(|row| row.config.as_deref()));
}

fn why(page: &mut Page, line: ClaimLine<'_>, scene: Scene<'_>) {
    let refused = line.seen.and_then(|seen| seen.refused.as_ref());
    let failed = || line.interfaces().find_map(|found| found.failure.as_ref());
    if let Some(failure) = refused.or_else(failed) {
        page.section("Failure");
        page.failure(failure);
    } else if let Some(reason) = line.reason(scene.cluster)
        && line.awaited().is_none()
    {
        page.section("Why it waits");
        page.words(&reason);
    }
}

fn awaited(page: &mut Page, line: ClaimLine<'_>, scene: Scene<'_>) {
    let Some(awaited) = line.awaited() else {
        return;
    };
    page.section("Pods that wait for it");
    for pod in awaited.pods {
        let row = scene.cluster.pod(&pod.uid);
        let phase = row.map_or("", |row| &row.phase);
        page.state("pod", Mark::Waiting, &format!("{} {phase}", pod.name));
    }
    page.field("they hear", Some(awaited.message));
}

fn asked(page: &mut Page, line: ClaimLine<'_>, scene: Scene<'_>) {
    let requests = line.row.map_or(&[][..], |row| &row.requests);
    if requests.is_empty() {
        return;
    }
    page.section("Asks for");
    for request in requests {
        page.field(&request.name, Some(request.classes.join(", or ")));
        let classes = request
            .classes
            .iter()
            .filter_map(|name| scene.cluster.class(name));
        for selector in classes.flat_map(|class| &class.selectors) {
            page.field("", Some(selector));
        }
    }
}

fn allocated(page: &mut Page, line: ClaimLine<'_>) {
    let rows = line.row.map_or(&[][..], |row| &row.devices);
    for row in rows {
        page.section(&format!("Device {}", row.allocated.device));
        device(page, row);
    }
    if rows.is_empty() {
        for device in line.devices() {
            page.section(&format!("Device {}", device.device));
            page.field("request", Some(device.request.as_str()));
            page.field("pool", Some(device.pool.as_str()));
            page.known("share", device.share_id.as_ref().map(ShareId::as_str));
        }
    }
}

fn device(page: &mut Page, row: &AllocatedRow) {
    let device = &row.allocated;
    page.field("request", Some(device.request.as_str()));
    page.field("pool", Some(device.pool.as_str()));
    page.field("driver", Some(row.driver.as_str()));
    page.known("share", device.share_id.as_ref().map(ShareId::as_str));
    page.known("access", device.admin_access.then_some("administrator's"));
    for condition in row.status.iter().flat_map(|status| &status.conditions) {
        let (mark, text) = condition_words(condition);
        page.state(&condition.kind, mark, &text);
    }
}

fn condition_words(condition: &ConditionRow) -> (Mark, String) {
    let ConditionRow {
        holds,
        reason,
        message,
        ..
    } = condition;
    let mark = match holds {
        Some(true) => Mark::Good,
        Some(false) => Mark::Bad,
        None => Mark::Waiting,
    };
    let text = match (holds, message.is_empty()) {
        (_, false) => format!("{reason}: {message}"),
        (_, true) => reason.to_string(),
    };
    (mark, text)
}
