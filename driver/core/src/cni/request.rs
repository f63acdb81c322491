//! What a plugin reads on standard input (spec §3, "Deriving execution configuration"), and in
//! which order a chain is walked.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{AddResult, Command, ConfList, PluginConf, SpecVersion};

/// An attachment that GC must spare.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ValidAttachment {
    /// `CNI_CONTAINERID` of its ADD.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `CNI_IFNAME` of its ADD.
    #[serde(rename = "ifname")]
    pub if_name: String,
}

/// The plugins of a chain in the order of `command`: DEL goes backwards.
pub fn order(list: &ConfList, command: Command) -> Vec<&PluginConf> {
    let mut plugins: Vec<&PluginConf> = list.plugins().iter().collect();
    if command == Command::Del {
        plugins.reverse();
    }
    plugins
}

/// ADD, CHECK and DEL. `prev` is the previous plugin's result on ADD, the final one otherwise.
pub fn for_interface(
    list: &ConfList,
    plugin: &PluginConf,
    runtime_config: &Map<String, Value>,
    prev: Option<&AddResult>,
) -> Value {
    let mut config = base(list, plugin);
    let offered: Map<String, Value> = plugin
        .capabilities()
        .filter_map(|name| Some((name.to_owned(), runtime_config.get(name)?.clone())))
        .collect();
    if !offered.is_empty() {
        config.insert("runtimeConfig".into(), offered.into());
    }
    if let Some(prev) = prev {
        config.insert("prevResult".into(), prev.at(list.version()));
    }
    config.into()
}

/// STATUS.
pub fn for_status(list: &ConfList, plugin: &PluginConf) -> Value {
    base(list, plugin).into()
}

/// GC. The second key is the one that plugins written before the spec's erratum read (libcni
/// writes both, its issue 1101).
pub fn for_gc(list: &ConfList, plugin: &PluginConf, valid: &[ValidAttachment]) -> Value {
    let mut config = base(list, plugin);
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        config.insert(key.into(), json!(valid));
    }
    config.into()
}

/// VERSION.
pub fn for_version() -> Value {
    json!({ "cniVersion": SpecVersion::LATEST })
}

/// The plugin's own fields under the list's name and version. Results and arguments are the
/// runtime's to give, so what the configuration holds of them is dropped.
fn base(list: &ConfList, plugin: &PluginConf) -> Map<String, Value> {
    let mut config = plugin.fields.clone();
    config.remove("prevResult");
    config.remove("runtimeConfig");
    config.insert("type".into(), plugin.plugin_type().into());
    config.insert("name".into(), list.name().into());
    config.insert("cniVersion".into(), list.version().as_str().into());
    config
}

#[cfg(test)]
mod tests;
