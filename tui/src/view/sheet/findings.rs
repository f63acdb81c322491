//! Everything that is wrong: what cannot be seen from here, and what the drivers found.

use std::cmp::Reverse;

use super::page::Page;
use crate::{model::Model, value::Value, view::troubles};

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
    let mut none = troubles.is_empty();
    for (name, node) in model.scene().cluster.nodes() {
        let mut findings = node.snapshot.findings.iter().collect::<Vec<_>>();
        if findings.is_empty() {
            continue;
        }
        none = false;
        findings.sort_by_key(|finding| Reverse(finding.severity));
        page.section(&format!("Found by the driver on {name}"));
        for finding in findings {
            page.finding(&format!("{} ({})", finding.subject, finding.rule), finding);
        }
    }
    if none {
        page.section("Nothing was found");
        page.words("What can be seen is as it should be.");
    }
}
