//! What a configuration may say, by who wrote it and for which device.
//!
//! Owns the allow-list and the filling in of what is the driver's to say. A tenant's configuration
//! runs as root on the node, so nothing passes that the [`catalogue`] does not name.

use serde_json::{Map, Value};

use super::{
    object::Source,
    offence::{Offence, Path, Rule},
};
use crate::{
    inventory::{Mode, node::NodeAddresses},
    name::Namespace,
};

pub mod catalogue;
mod ranges;
mod tenant;
mod value;
mod walk;

/// Longest `opaque.parameters`, in bytes: `OpaqueParametersMaxLength` of `resource.k8s.io/v1`.
pub const MAX_PARAMETERS: usize = 10 * 1024;

/// What the administrator decided about configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Plugins that a `DeviceClass` may use beyond the catalogue (`--cni-types`).
    pub cni_types: Vec<String>,
    /// Whose configurations are taken (`--config-source`).
    pub config_source: ConfigSource,
    /// Folder of the driver's state (`--state-dir`); leases are kept below it.
    pub state_dir: String,
}

/// Whose configurations are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfigSource {
    /// The class's, and the claim's where the class has none.
    #[default]
    Any,
    /// The class's only.
    Class,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            cni_types: Vec::new(),
            config_source: ConfigSource::Any,
            state_dir: "/var/lib/netclaim".to_owned(),
        }
    }
}

/// What a configuration is for. Offline the device is not known, and what depends on it passes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Who wrote the configuration.
    pub source: Source,
    /// Namespace of the claim.
    pub namespace: &'a Namespace,
    /// The allocated device's link.
    pub link: Option<&'a str>,
    /// Whether pods share the device.
    pub mode: Option<Mode>,
    /// Whether the node itself needs the device.
    pub held_by_node: bool,
    /// Allocated beside its owners.
    pub admin_access: bool,
    /// What no claim may give to a pod.
    pub node: Option<&'a NodeAddresses>,
}

impl Policy {
    /// The plugins that a class, or also a claim, may use.
    pub fn plugins(&self) -> impl Iterator<Item = &str> {
        let catalogue = catalogue::PLUGINS.iter().map(|plugin| plugin.name);
        catalogue.chain(self.cni_types.iter().map(String::as_str))
    }

    /// Refuses parameters that the catalogue does not allow.
    pub fn check(&self, parameters: &Value, target: &Target<'_>) -> Result<(), Offence> {
        let length = parameters.to_string().len();
        if length > MAX_PARAMETERS {
            return Err(Offence {
                rule: Rule::Size,
                path: Path::root(),
                found: format!("{length} bytes"),
                accepted: format!("{MAX_PARAMETERS} bytes at most"),
            });
        }
        let walk = walk::Walk {
            policy: self,
            target,
            if_name: parameters["ifName"].as_str().unwrap_or_default(),
        };
        walk.object(parameters, &Path::root(), catalogue::PARAMETERS, &[])?;
        taken(parameters)
    }

    /// Fills in what is the driver's to say: the device, where leases are kept, and which addresses
    /// are not handed out.
    pub fn fill(&self, conf_list: &mut Value, target: &Target<'_>) {
        let plugins = conf_list.get_mut("plugins").and_then(Value::as_array_mut);
        for plugin in plugins
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            self.fill_plugin(plugin, target);
            if let Some(ipam) = plugin.get_mut("ipam").and_then(Value::as_object_mut) {
                self.fill_plugin(ipam, target);
            }
        }
    }

    fn fill_plugin(&self, plugin: &mut Map<String, Value>, target: &Target<'_>) {
        let row = plugin
            .get("type")
            .and_then(Value::as_str)
            .and_then(catalogue::plugin);
        for field in row.map_or(&[][..], |row| row.fields) {
            let value = match field.check {
                catalogue::Check::Device => target.link.map(str::to_owned),
                catalogue::Check::DataDir => Some(self.data_dir(target)),
                _ => None,
            };
            if let Some(value) = value {
                plugin.insert(field.name.to_owned(), value.into());
            }
        }
        if let (Some(node), "host-local") = (target.node, row.map_or("", |row| row.name)) {
            ranges::spare(plugin, node);
        }
    }

    /// Where host-local keeps its leases: apart for the class and for each namespace, so that no
    /// tenant frees or takes another's addresses by giving a network the other's name.
    fn data_dir(&self, target: &Target<'_>) -> String {
        match target.source {
            Source::Class => format!("{}/ipam/class", self.state_dir),
            Source::Claim => format!("{}/ipam/ns-{}", self.state_dir, target.namespace),
        }
    }
}

/// A capability argument that no plugin takes would be dropped without a word.
fn taken(parameters: &Value) -> Result<(), Offence> {
    let plugins = parameters["config"]["plugins"].as_array();
    let is_taken = |name: &str| {
        let mut plugins = plugins.into_iter().flatten();
        plugins.any(|plugin| takes(plugin, name))
    };
    let arguments = parameters["runtimeConfig"].as_object();
    match arguments
        .into_iter()
        .flat_map(Map::keys)
        .find(|name| !is_taken(name))
    {
        Some(name) => Err(Offence {
            rule: Rule::Capability,
            path: Path::root().field("runtimeConfig").field(name),
            found: "an argument that no plugin takes".to_owned(),
            accepted: format!(
                "arguments of a plugin that takes them ({}) and has \"capabilities\": {{\"{name}\": \
                 true}}",
                takers(name)
            ),
        }),
        None => Ok(()),
    }
}

/// Whether a plugin, or the one in its `ipam`, gets the argument and does something with it. libcni
/// hands it to those that declare it; what plugins outside of the catalogue take is not known.
fn takes(plugin: &Value, argument: &str) -> bool {
    let is_used = |plugin: &Value| {
        let name = plugin["type"].as_str().unwrap_or_default();
        catalogue::plugin(name).is_none_or(|row| row.arguments.contains(&argument))
    };
    let ipam = plugin.get("ipam");
    plugin["capabilities"][argument] == true && (is_used(plugin) || ipam.is_some_and(is_used))
}

fn takers(argument: &str) -> String {
    let rows = catalogue::PLUGINS.iter();
    let listed = rows.filter(|row| row.arguments.contains(&argument));
    let names: Vec<&str> = listed.map(|row| row.name).collect();
    match names[..] {
        [] => "in a DeviceClass, by --cni-types".to_owned(),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests;
