//! What a user writes for us: which configuration applies to a request, and what it says.

use std::{collections::BTreeSet, fmt};

use serde_json::{Map, Value};

use super::{
    object::{DeviceConfig, Source},
    offence::{Offence, Path, Rule},
    policy::{Policy, Target},
};
use crate::{
    cni::ConfList,
    name::{DriverName, IfName, RequestName},
};

/// A configuration that has passed the policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What the interface is called in the pod.
    pub if_name: Template,
    /// The network, with the driver's own fields filled in.
    pub network: ConfList,
    /// Capability arguments.
    pub runtime_config: Map<String, Value>,
    /// Whether flows are to be recorded.
    pub observe_flows: bool,
}

impl Config {
    /// Refuses one name for several devices.
    pub fn for_several(&self) -> Result<(), Offence> {
        match &self.if_name {
            Template::Numbered(_) => Ok(()),
            Template::Fixed(name) => Err(Offence {
                rule: Rule::FixedName,
                path: Path::root().field("ifName"),
                found: format!("\"{name}\" for more than one device"),
                accepted: "a template such as \"net%d\"".to_owned(),
            }),
        }
    }
}

/// A name, or the pattern of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// One name.
    Fixed(IfName),
    /// Names that begin so and end in a number, as in the kernel's `net%d`.
    Numbered(String),
}

impl Template {
    /// Reads a name, or a name with `%d` at its end.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(stem) = text.strip_suffix("%d") else {
            return IfName::parse(text).ok().map(Self::Fixed);
        };
        IfName::parse(format!("{stem}0")).ok()?;
        Some(Self::Numbered(stem.to_owned()))
    }

    /// The name, or the lowest number's that is not `taken`.
    pub fn name(&self, taken: &BTreeSet<IfName>) -> Option<IfName> {
        match self {
            Self::Fixed(name) => Some(name.clone()),
            Self::Numbered(stem) => (0..=taken.len())
                .map_while(|number| IfName::parse(format!("{stem}{number}")).ok())
                .find(|name| !taken.contains(name)),
        }
    }

    /// Whether `name` is one of its names.
    pub fn gives(&self, name: &IfName) -> bool {
        match self {
            Self::Fixed(fixed) => fixed == name,
            Self::Numbered(stem) => name
                .as_str()
                .strip_prefix(stem.as_str())
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(name) => name.fmt(f),
            Self::Numbered(stem) => write!(f, "{stem}%d"),
        }
    }
}

/// The configuration of a request: the class's before the claim's, and of one writer the last.
///
/// Kubernetes lists the claim's last so that it may override the class's. Here the class is the
/// administrator's word on what a tenant's plugins do on the node, so it wins.
pub fn chosen<'a>(
    configs: &'a [DeviceConfig],
    driver: &DriverName,
    request: &RequestName,
) -> Option<(usize, &'a DeviceConfig)> {
    let last = |source| applying(configs, driver, request, source).last();
    last(Source::Class).or_else(|| last(Source::Claim))
}

/// The configurations of one writer that are for a request, with their places in the list.
pub fn applying<'a>(
    configs: &'a [DeviceConfig],
    driver: &DriverName,
    request: &RequestName,
    source: Source,
) -> impl Iterator<Item = (usize, &'a DeviceConfig)> {
    let ours = |config: &DeviceConfig| {
        config
            .opaque
            .as_ref()
            .is_some_and(|opaque| opaque.driver == driver.as_str())
    };
    configs.iter().enumerate().filter(move |(_, config)| {
        config.source == source && ours(config) && covers(&config.requests, request)
    })
}

/// No names cover all requests, `a` covers `a/b`, and `a/b` itself only.
pub fn covers(names: &[String], request: &RequestName) -> bool {
    names.is_empty()
        || names
            .iter()
            .any(|name| name == request.as_str() || name == request.base())
}

/// Reads parameters that the policy allows, and fills in what is the driver's to say.
pub fn parse(parameters: &Value, policy: &Policy, target: &Target<'_>) -> Result<Config, Offence> {
    policy.check(parameters, target)?;
    let refused = |name: &str, why: String| Offence {
        rule: Rule::Value,
        path: Path::root().field(name),
        found: why,
        accepted: "a CNI network configuration list".to_owned(),
    };
    let if_name = parameters["ifName"].as_str().and_then(Template::parse);
    let mut network = parameters["config"].clone();
    policy.fill(&mut network, target);
    let network = ConfList::parse(&network);
    Ok(Config {
        if_name: if_name.ok_or_else(|| refused("ifName", String::new()))?,
        network: network.map_err(|error| refused("config", error.to_string()))?,
        runtime_config: parameters["runtimeConfig"]
            .as_object()
            .cloned()
            .unwrap_or_default(),
        observe_flows: parameters["observe"]["flows"] == true,
    })
}

#[cfg(test)]
mod tests;
