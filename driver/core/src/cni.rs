//! CNI as data (stub until the module lands).
use serde::{Deserialize, Serialize};
/// A conflist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfList(pub serde_json::Value);
/// Result of ADD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddResult(pub serde_json::Value);
