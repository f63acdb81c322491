//! What is wrong in a configuration, where, and what would do.

use std::fmt;

use serde_json::Value;

use crate::failure::Cause;

/// Where in a configuration: a JSON path below `opaque.parameters`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// The whole configuration.
    pub fn root() -> Self {
        Self::default()
    }

    /// A field of the object that is here.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            return Self(format!("{}[{}]", self.0, shown(&name.into())));
        }
        if self.0.is_empty() {
            return Self(name.to_owned());
        }
        Self(format!("{}.{name}", self.0))
    }

    /// An item of the list that is here.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.0.is_empty() {
            "parameters"
        } else {
            &self.0
        })
    }
}

/// Which rule a configuration breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It is longer than the API would take.
    Size,
    /// A field that is not in the table.
    UnknownField,
    /// A field that the driver sets, or that reaches outside of the pod.
    ReservedField,
    /// A field that has to be there.
    MissingField,
    /// A value that is not accepted.
    Value,
    /// A device other than the allocated one.
    OtherDevice,
    /// An address that is the node's or its gateway's.
    NodeAddress,
    /// A plugin that this source may not use.
    PluginType,
    /// A plugin at a place of the chain where it cannot work.
    PluginOrder,
    /// A link would move into the pod that others use too.
    SharedMove,
    /// A capability argument that no plugin asks for.
    Capability,
    /// One interface name for several devices.
    FixedName,
}

impl Rule {
    fn advice(self) -> &'static str {
        match self {
            Self::Size => "shorten the configuration",
            Self::UnknownField => "remove the field or correct its name",
            Self::ReservedField => "remove the field",
            Self::MissingField => "add the field",
            Self::Value => "correct the value",
            Self::OtherDevice => {
                "remove the field (the allocated device is filled in) or select that device in the \
                 request"
            }
            Self::NodeAddress => {
                "choose another, or ask the administrator to give it in a DeviceClass"
            }
            Self::PluginType => {
                "use one of these, or ask the administrator to put the configuration into the \
                 DeviceClass (types beyond the table are allowed there by --cni-types)"
            }
            Self::PluginOrder => "reorder the plugins",
            Self::SharedMove => {
                "use macvlan or ipvlan, or ask the administrator to make the device exclusive \
                 (--exclusive-devices)"
            }
            Self::Capability => "add it to `capabilities` of the plugin that takes it",
            Self::FixedName => "write a template, or ask for one device per request",
        }
    }

    fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Size => ("ConfigTooLarge", "config_too_large"),
            Self::UnknownField => ("UnknownField", "unknown_field"),
            Self::ReservedField => ("ReservedField", "reserved_field"),
            Self::MissingField => ("MissingField", "missing_field"),
            Self::Value => ("InvalidValue", "invalid_value"),
            Self::OtherDevice => ("OtherDevice", "other_device"),
            Self::NodeAddress => ("NodeAddress", "node_address"),
            Self::PluginType => ("PluginTypeRefused", "plugin_type_refused"),
            Self::PluginOrder => ("PluginOrder", "plugin_order"),
            Self::SharedMove => ("MoveOfSharedDevice", "move_of_shared_device"),
            Self::Capability => ("UndeclaredCapability", "undeclared_capability"),
            Self::FixedName => ("InterfaceNameNotTemplate", "interface_name_not_template"),
        }
    }
}

/// What is wrong in a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: found {found}, accepted: {accepted}; {}", .rule.advice())]
pub struct Offence {
    /// The rule that it breaks.
    pub rule: Rule,
    /// Where.
    pub path: Path,
    /// What is there.
    pub found: String,
    /// What would do.
    pub accepted: String,
}

impl Cause for Offence {
    fn reason(&self) -> &'static str {
        self.rule.labels().0
    }

    fn code(&self) -> &'static str {
        self.rule.labels().1
    }
}

/// A value as a message shows it: one line of printable ASCII, 80 characters at most.
pub fn shown(value: &Value) -> String {
    const KEPT: usize = 80;
    let text = value.to_string();
    let mut safe = text.chars().flat_map(|c| {
        let escaped = (!c.is_ascii() || c.is_ascii_control()).then(|| c.escape_unicode());
        let plain = escaped.is_none().then_some(c);
        escaped.into_iter().flatten().chain(plain)
    });
    let mut head: String = safe.by_ref().take(KEPT).collect();
    if safe.next().is_some() {
        head.push_str("...");
    }
    head
}
