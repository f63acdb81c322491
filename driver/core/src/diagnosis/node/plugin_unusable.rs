//! A CNI plugin that claims may ask for does not run here. Reads what asking each for its VERSION
//! gave.

use super::{UnusablePlugin, about_node};
use crate::{
    name::NodeName,
    snapshot::{Finding, Severity},
};

pub(super) fn find<'a>(
    node: &'a NodeName,
    unusable: &'a [UnusablePlugin],
) -> impl Iterator<Item = Finding> + 'a {
    unusable.iter().map(|unusable| {
        let message = format!("claims that use it fail on this node: {}", unusable.message);
        about_node("plugin_unusable", Severity::Warning, node, message)
    })
}
