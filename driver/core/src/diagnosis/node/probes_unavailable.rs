//! No interface of the node can be counted. Reads why the probes could not be opened.

use super::about_node;
use crate::{
    failure::Failure,
    name::NodeName,
    snapshot::{Finding, Severity},
};

pub(super) fn find(node: &NodeName, uncounted: Option<&Failure>) -> Option<Finding> {
    let failure = uncounted?;
    Some(about_node(
        "probes_unavailable",
        Severity::Warning,
        node,
        format!(
            "interfaces work, and none is counted: {}; restart netclaim on the node afterwards",
            failure.message
        ),
    ))
}
