//! The walk over a configuration with the catalogue in hand. It stops at the first offence.

use serde_json::{Map, Value};

use super::{
    Policy, Target,
    catalogue::{self, Check, Field, Plugin, Role},
    ranges, tenant, value,
};
use crate::{
    claim::{
        object::Source,
        offence::{Offence, Path, Rule, shown},
    },
    inventory::Mode,
};

/// Most plugins in a chain: there are eleven in the catalogue.
const MAX_PLUGINS: usize = 16;

/// Deepest value in a plugin that the catalogue does not know.
const MAX_DEPTH: usize = 16;

/// A walk over one configuration.
pub(super) struct Walk<'a> {
    pub(super) policy: &'a Policy,
    pub(super) target: &'a Target<'a>,
    /// The interface's name as it is written; sysctls may name it.
    pub(super) if_name: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Chain,
    Ipam,
}

impl Walk<'_> {
    /// Checks an object against its rows; `implied` fields are checked elsewhere.
    pub(super) fn object(
        &self,
        value: &Value,
        path: &Path,
        fields: &[Field],
        implied: &[&str],
    ) -> Result<(), Offence> {
        let map = object(value, path, &Check::Object(&[]))?;
        let known =
            |key: &str| implied.contains(&key) || fields.iter().any(|field| field.name == key);
        // The smallest of them, so that the message does not depend on how the map is ordered.
        if let Some(key) = map.keys().filter(|key| !known(key)).min() {
            return Err(unknown(map, key, path, fields, implied));
        }
        for field in fields {
            let path = path.field(field.name);
            match map.get(field.name) {
                Some(value) => self.value(value, &path, field.check)?,
                None if field.required => return Err(missing(path, &field.check)),
                None => {}
            }
        }
        Ok(())
    }

    fn value(&self, value: &Value, path: &Path, check: Check) -> Result<(), Offence> {
        match check {
            Check::Object(fields) => {
                object(value, path, &check)?;
                self.object(value, path, fields, &[])
            }
            Check::Range => {
                let map = object(value, path, &check)?;
                self.object(value, path, catalogue::RANGE, &[])?;
                value::range(map, path)
            }
            Check::List(item) => {
                for (at, found) in list(value, path, &check)?.iter().enumerate() {
                    self.value(found, &path.item(at), *item)?;
                }
                Ok(())
            }
            Check::Device => self.device(value, path),
            Check::DataDir => Err(reserved(value, path, "dataDir")),
            Check::Sysctls => self.sysctls(object(value, path, &check)?, path),
            Check::Capabilities => capabilities(object(value, path, &check)?, path),
            Check::Ipam => self.plugin(value, path, Place::Ipam).map(drop),
            Check::Chain => self.chain(value, path),
            _ if value::holds(check, value) => match self.target.source {
                Source::Claim => tenant::single(value, path, check, self.target.node),
                Source::Class => Ok(()),
            },
            _ => Err(unlike(value, path, accepted(value, check))),
        }
    }

    fn device(&self, value: &Value, path: &Path) -> Result<(), Offence> {
        if !value::holds(Check::Device, value) {
            return Err(unlike(value, path, self.device_words()));
        }
        match self.target.link {
            Some(link) if value.as_str() != Some(link) => Err(Offence {
                rule: Rule::OtherDevice,
                ..unlike(value, path, self.device_words())
            }),
            _ => Ok(()),
        }
    }

    fn device_words(&self) -> String {
        match self.target.link {
            Some(link) => format!("\"{link}\", {}", Check::Device),
            None => Check::Device.to_string(),
        }
    }

    fn sysctls(&self, map: &Map<String, Value>, path: &Path) -> Result<(), Offence> {
        for (key, setting) in map {
            let path = path.field(key);
            if !value::is_own_sysctl(key, self.if_name) {
                return Err(Offence {
                    rule: Rule::UnknownField,
                    path,
                    found: shown(&key.as_str().into()),
                    accepted: format!(
                        "net.<ipv4|ipv6|mpls>.<conf|neigh>.{}.<name>, with IFNAME for a name that \
                         holds a dot",
                        self.if_name
                    ),
                });
            }
            if self.target.source == Source::Claim {
                tenant::sysctl(key, setting, &path)?;
            }
            if !setting.as_str().is_some_and(value::is_short_text) {
                return Err(unlike(setting, &path, Check::Text.to_string()));
            }
        }
        Ok(())
    }

    fn chain(&self, value: &Value, path: &Path) -> Result<(), Offence> {
        let plugins = list(value, path, &Check::Chain)?;
        if plugins.is_empty() || plugins.len() > MAX_PLUGINS {
            let found = format!("{} plugins", plugins.len());
            return Err(Offence {
                found,
                ..unlike(value, path, Check::Chain.to_string())
            });
        }
        for (at, plugin) in plugins.iter().enumerate() {
            let path = path.item(at);
            let row = self.plugin(plugin, &path, Place::Chain)?;
            let makes = row.map(|row| row.role != Role::Chained);
            let accepted = match (at, makes) {
                (0, Some(false)) => "after a plugin that makes the interface",
                (1.., Some(true)) => "first in the chain, since a chain makes one interface",
                _ => continue,
            };
            return Err(misplaced(plugin, &path, accepted));
        }
        Ok(())
    }

    /// Checks a plugin; returns its row, if it has one.
    fn plugin(
        &self,
        value: &Value,
        path: &Path,
        place: Place,
    ) -> Result<Option<&'static Plugin>, Offence> {
        let map = object(value, path, &Check::Object(&[]))?;
        let type_path = path.field("type");
        let found = map
            .get("type")
            .ok_or_else(|| missing(type_path.clone(), &self.types(place)))?;
        let name = found
            .as_str()
            .filter(|name| value::is_network_name(name))
            .ok_or_else(|| unlike(found, &type_path, self.types(place)))?;
        match catalogue::plugin(name) {
            Some(row) if self.may_use(row) => {
                self.place(row, value, path, place)?;
                self.listed(row, map, value, path)?;
                Ok(Some(row))
            }
            None if self.is_extra(name) => {
                self.extra(map, path)?;
                Ok(None)
            }
            _ => Err(Offence {
                rule: Rule::PluginType,
                ..unlike(found, &type_path, self.types(place))
            }),
        }
    }

    fn place(&self, row: &Plugin, value: &Value, path: &Path, place: Place) -> Result<(), Offence> {
        match (row.role, place) {
            (Role::Ipam, Place::Chain) => Err(misplaced(value, path, "in ipam of a plugin")),
            (Role::Ipam, Place::Ipam) | (Role::Child { .. } | Role::Chained, Place::Chain) => {
                Ok(())
            }
            (_, Place::Ipam) => Err(misplaced(value, path, "in the chain")),
            (Role::Move, Place::Chain) => self.movable(row, path),
        }
    }

    fn movable(&self, row: &Plugin, path: &Path) -> Result<(), Offence> {
        let found = if self.target.admin_access {
            "for an adminAccess request, whose device is somebody's already"
        } else if self.target.mode == Some(Mode::Shared) {
            "on a shared device"
        } else if self.target.held_by_node {
            "on a device that carries the node's default route or address"
        } else {
            return Ok(());
        };
        Err(Offence {
            rule: Rule::SharedMove,
            path: path.field("type"),
            found: format!("\"{}\" {found}", row.name),
            accepted: "an exclusive device that the node does not need, since the link itself moves into the \
                 pod".to_owned(),
        })
    }

    fn listed(
        &self,
        row: &Plugin,
        map: &Map<String, Value>,
        value: &Value,
        path: &Path,
    ) -> Result<(), Offence> {
        let implied: &[&str] = match row.role {
            Role::Ipam => &["type"],
            _ => &["type", "capabilities"],
        };
        self.object(value, path, row.fields, implied)?;
        if let Some(switches) = map.get("capabilities").filter(|_| implied.len() > 1) {
            self.value(switches, &path.field("capabilities"), Check::Capabilities)?;
        }
        (row.whole)(map, path)?;
        match (self.target.source, self.target.node, row.name) {
            (Source::Claim, Some(node), "host-local") => ranges::leave_something(map, path, node),
            _ => Ok(()),
        }
    }

    /// A plugin that the administrator added by name: its fields are its own, but what is nobody's
    /// to set stays so, and it may not name another device.
    fn extra(&self, map: &Map<String, Value>, path: &Path) -> Result<(), Offence> {
        for (key, found) in map {
            let path = path.field(key);
            match catalogue::fold(key).as_str() {
                "ipam" => self.plugin(found, &path, Place::Ipam).map(drop)?,
                "capabilities" => self.value(found, &path, Check::Capabilities)?,
                "master" | "device" | "link" => self.device(found, &path)?,
                _ => unreserved(key, found, &path, MAX_DEPTH)?,
            }
        }
        Ok(())
    }

    fn may_use(&self, row: &Plugin) -> bool {
        self.target.source <= row.source
    }

    fn is_extra(&self, name: &str) -> bool {
        self.target.source == Source::Class
            && self.policy.cni_types.iter().any(|extra| extra == name)
    }

    /// The types that this source may use here, and those that it could have in the class.
    fn types(&self, place: Place) -> String {
        let here = |row: &&Plugin| (row.role == Role::Ipam) == (place == Place::Ipam);
        let names = |wanted: &dyn Fn(&Plugin) -> bool| {
            let rows = catalogue::PLUGINS.iter().filter(here);
            let names: Vec<&str> = rows.filter(|row| wanted(row)).map(|row| row.name).collect();
            names.join(", ")
        };
        let mine = names(&|row| self.may_use(row));
        match self.target.source {
            Source::Claim => {
                format!(
                    "{mine}; in a DeviceClass also {}",
                    names(&|row| !self.may_use(row))
                )
            }
            Source::Class if self.policy.cni_types.is_empty() => mine,
            Source::Class => format!("{mine}, {}", self.policy.cni_types.join(", ")),
        }
    }
}

fn object<'a>(
    value: &'a Value,
    path: &Path,
    check: &Check,
) -> Result<&'a Map<String, Value>, Offence> {
    value.as_object().ok_or_else(|| match check {
        Check::Object([]) => unlike(value, path, "an object".to_owned()),
        check => unlike(value, path, check.to_string()),
    })
}

fn list<'a>(value: &'a Value, path: &Path, check: &Check) -> Result<&'a Vec<Value>, Offence> {
    value
        .as_array()
        .ok_or_else(|| unlike(value, path, check.to_string()))
}

fn capabilities(map: &Map<String, Value>, path: &Path) -> Result<(), Offence> {
    for (key, switch) in map {
        let path = path.field(key);
        if !catalogue::RUNTIME_CONFIG
            .iter()
            .any(|known| known.name == key)
        {
            return Err(unknown_field(path, key, Check::Capabilities.to_string()));
        }
        if !switch.is_boolean() {
            return Err(unlike(switch, &path, Check::Flag.to_string()));
        }
    }
    Ok(())
}

/// Refuses what nobody may set, at any depth.
fn unreserved(key: &str, value: &Value, path: &Path, depth: usize) -> Result<(), Offence> {
    if catalogue::reserved(key).is_some() {
        return Err(reserved(value, path, key));
    }
    if depth == 0 {
        return Err(unlike(
            value,
            path,
            format!("values {MAX_DEPTH} levels deep at most"),
        ));
    }
    match value {
        Value::Object(map) => map
            .iter()
            .try_for_each(|(key, value)| unreserved(key, value, &path.field(key), depth - 1)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, value)| unreserved("", value, &path.item(at), depth - 1)),
        _ => Ok(()),
    }
}

fn unknown(
    map: &Map<String, Value>,
    key: &str,
    path: &Path,
    fields: &[Field],
    implied: &[&str],
) -> Offence {
    let path = path.field(key);
    if catalogue::reserved(key).is_some() {
        return reserved(&map[key], &path, key);
    }
    let fields = fields
        .iter()
        .filter(|field| !matches!(field.check, Check::DataDir))
        .map(|field| field.name);
    let names: Vec<&str> = implied.iter().copied().chain(fields).collect();
    unknown_field(path, key, format!("fields {}", names.join(", ")))
}

fn unknown_field(path: Path, key: &str, accepted: String) -> Offence {
    Offence {
        rule: Rule::UnknownField,
        path,
        found: format!("unknown field {}", shown(&key.into())),
        accepted,
    }
}

fn reserved(value: &Value, path: &Path, key: &str) -> Offence {
    let why = catalogue::reserved(key).unwrap_or_default();
    Offence {
        rule: Rule::ReservedField,
        ..unlike(value, path, format!("nothing ({why})"))
    }
}

fn missing(path: Path, accepted: &impl ToString) -> Offence {
    Offence {
        rule: Rule::MissingField,
        path,
        found: "nothing".to_owned(),
        accepted: accepted.to_string(),
    }
}

/// What would do in place of a value of the wrong form.
fn accepted(value: &Value, check: Check) -> String {
    let mapped = value.as_str().and_then(value::mapped);
    let is_address = matches!(
        check,
        Check::Address | Check::Cidr | Check::Subnet | Check::PodCidr | Check::PodAddress
    );
    match mapped.filter(|_| is_address) {
        Some(own) => format!("IPv4 in its own form, {own}"),
        None => check.to_string(),
    }
}

fn misplaced(plugin: &Value, path: &Path, accepted: &str) -> Offence {
    let path = path.field("type");
    Offence {
        rule: Rule::PluginOrder,
        ..unlike(&plugin["type"], &path, format!("this type {accepted}"))
    }
}

fn unlike(value: &Value, path: &Path, accepted: String) -> Offence {
    Offence {
        rule: Rule::Value,
        path: path.clone(),
        found: shown(value),
        accepted,
    }
}
