//! Network configuration lists, read strictly and written back as they came.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{SpecVersion, head, is_name};

/// A network configuration list (spec §1). Fields that the spec does not know are kept, so that
/// what was read is what is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct ConfList {
    name: String,
    version: SpecVersion,
    cni_version: Option<String>,
    cni_versions: Vec<String>,
    /// CHECK must not be called.
    pub disable_check: bool,
    /// GC must not be called.
    pub disable_gc: bool,
    /// The chain, in the order of ADD; never empty.
    plugins: Vec<PluginConf>,
    others: Map<String, Value>,
}

/// One plugin of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginConf {
    plugin_type: String,
    capabilities: BTreeMap<String, bool>,
    /// Every field but `type` and `capabilities`, untouched.
    pub fields: Map<String, Value>,
}

/// Why a value is no network configuration list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfListError {
    /// A field is missing or of the wrong shape.
    #[error("{path}: found {found}, expected {expected}")]
    Shape {
        /// Where, as `plugins[1].type`.
        path: String,
        /// What is there.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// The old form of one plugin's configuration without a list.
    #[error(
        "found a single plugin's configuration (type {plugin_type:?}), expected a list: put it \
         into {{\"cniVersion\": \"1.0.0\", \"name\": \"…\", \"plugins\": [ … ]}}"
    )]
    SinglePlugin {
        /// The plugin's type.
        plugin_type: String,
    },
    /// No declared version is one of ours.
    #[error(
        "cniVersion: found {declared}, expected one of {}",
        SpecVersion::LISTED
    )]
    Version {
        /// The versions that the list declares.
        declared: String,
    },
}

const NAME: &str = "letters, digits, `_`, `.` and `-`, beginning with a letter or digit";

impl ConfList {
    /// Reads a list. The version is the highest of `cniVersion` and `cniVersions` that we speak.
    pub fn parse(value: &Value) -> Result<Self, ConfListError> {
        let mut fields = Fields::of(value, "")?;
        if let Some(Value::String(plugin_type)) = fields.map.get("type")
            && !fields.map.contains_key("plugins")
        {
            return Err(ConfListError::SinglePlugin {
                plugin_type: plugin_type.clone(),
            });
        }
        let cni_version = fields.take("cniVersion").map(Found::string).transpose()?;
        let cni_versions = match fields.take("cniVersions") {
            Some(found) => found
                .items()?
                .map(Found::string)
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Self {
            name: fields.demand("name", NAME)?.name()?,
            version: negotiate(cni_version.as_ref(), &cni_versions)?,
            cni_version,
            cni_versions,
            disable_check: fields.flag("disableCheck")?,
            disable_gc: fields.flag("disableGC")?,
            plugins: plugins(fields.demand("plugins", "a list of at least one plugin")?)?,
            others: fields.map,
        })
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version that plugins are spoken to in.
    pub fn version(&self) -> SpecVersion {
        self.version
    }

    /// The chain, in the order of ADD; never empty.
    pub fn plugins(&self) -> &[PluginConf] {
        &self.plugins
    }
}

impl PluginConf {
    /// The plugin's type, which is its file's name.
    pub fn plugin_type(&self) -> &str {
        &self.plugin_type
    }

    /// The capability arguments that the plugin takes.
    pub fn capabilities(&self) -> impl Iterator<Item = &str> {
        self.capabilities
            .iter()
            .filter(|(_, taken)| **taken)
            .map(|(name, _)| name.as_str())
    }

    /// The plugin that this one delegates addresses to.
    pub fn ipam_type(&self) -> Option<&str> {
        self.fields.get("ipam")?.get("type")?.as_str()
    }

    fn parse(found: &Found) -> Result<Self, ConfListError> {
        let mut fields = Fields::of(&found.value, &found.path)?;
        let plugin_type = fields.demand("type", NAME)?.name()?;
        let capabilities = match fields.take("capabilities") {
            Some(found) => found.flags()?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            plugin_type,
            capabilities,
            fields: fields.map,
        })
    }
}

impl TryFrom<Value> for ConfList {
    type Error = ConfListError;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        Self::parse(&value)
    }
}

impl From<ConfList> for Value {
    fn from(list: ConfList) -> Self {
        let mut map = list.others;
        map.insert("name".into(), list.name.into());
        if let Some(version) = list.cni_version {
            map.insert("cniVersion".into(), version.into());
        }
        if !list.cni_versions.is_empty() {
            map.insert("cniVersions".into(), list.cni_versions.into());
        }
        for (key, set) in [
            ("disableCheck", list.disable_check),
            ("disableGC", list.disable_gc),
        ] {
            if set {
                map.insert(key.into(), true.into());
            }
        }
        map.insert(
            "plugins".into(),
            list.plugins.into_iter().map(Self::from).collect(),
        );
        Self::Object(map)
    }
}

impl From<PluginConf> for Value {
    fn from(plugin: PluginConf) -> Self {
        let mut map = plugin.fields;
        map.insert("type".into(), plugin.plugin_type.into());
        if !plugin.capabilities.is_empty() {
            map.insert("capabilities".into(), json!(plugin.capabilities));
        }
        Self::Object(map)
    }
}

fn negotiate(version: Option<&String>, versions: &[String]) -> Result<SpecVersion, ConfListError> {
    let declared: Vec<&str> = version
        .into_iter()
        .chain(versions)
        .map(String::as_str)
        .collect();
    SpecVersion::negotiate(declared.iter().copied()).ok_or_else(|| ConfListError::Version {
        declared: if declared.is_empty() {
            "nothing".into()
        } else {
            declared.join(", ")
        },
    })
}

fn plugins(found: Found) -> Result<Vec<PluginConf>, ConfListError> {
    if found.value.as_array().is_some_and(Vec::is_empty) {
        return Err(found.unlike("a list of at least one plugin"));
    }
    found
        .items()?
        .map(|item| PluginConf::parse(&item))
        .collect()
}

/// An object's fields, taken one by one; what is left is unknown to the spec.
struct Fields {
    map: Map<String, Value>,
    path: String,
}

impl Fields {
    fn of(value: &Value, path: &str) -> Result<Self, ConfListError> {
        match value {
            Value::Object(map) => Ok(Self {
                map: map.clone(),
                path: path.to_owned(),
            }),
            other => Err(Found {
                value: other.clone(),
                path: path.to_owned(),
            }
            .unlike("an object")),
        }
    }

    /// The field, unless it is absent or null (which Go's decoder reads as absent).
    fn take(&mut self, key: &str) -> Option<Found> {
        let value = self.map.remove(key).filter(|value| !value.is_null())?;
        Some(Found {
            value,
            path: self.path_of(key),
        })
    }

    fn demand(&mut self, key: &str, expected: &'static str) -> Result<Found, ConfListError> {
        self.take(key).ok_or_else(|| ConfListError::Shape {
            path: self.path_of(key),
            found: "nothing".into(),
            expected,
        })
    }

    /// A switch; libcni also takes the words.
    fn flag(&mut self, key: &str) -> Result<bool, ConfListError> {
        let Some(found) = self.take(key) else {
            return Ok(false);
        };
        match &found.value {
            Value::Bool(set) => Ok(*set),
            Value::String(word) if word.eq_ignore_ascii_case("true") => Ok(true),
            Value::String(word) if word.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(found.unlike("true or false")),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// A value and where it was found.
struct Found {
    value: Value,
    path: String,
}

impl Found {
    fn string(self) -> Result<String, ConfListError> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => Err(self.unlike("a string")),
        }
    }

    fn name(self) -> Result<String, ConfListError> {
        match self.value {
            Value::String(text) if is_name(&text) => Ok(text),
            _ => Err(self.unlike(NAME)),
        }
    }

    fn items(self) -> Result<impl Iterator<Item = Self>, ConfListError> {
        let Self {
            value: Value::Array(items),
            path,
        } = self
        else {
            return Err(self.unlike("a list"));
        };
        let numbered = items.into_iter().enumerate();
        Ok(numbered.map(move |(at, value)| Self {
            value,
            path: format!("{path}[{at}]"),
        }))
    }

    fn flags(self) -> Result<BTreeMap<String, bool>, ConfListError> {
        let mut fields = Fields::of(&self.value, &self.path)?;
        let keys: Vec<String> = fields.map.keys().cloned().collect();
        keys.into_iter()
            .map(|key| Ok((key.clone(), fields.flag(&key)?)))
            .collect()
    }

    fn unlike(&self, expected: &'static str) -> ConfListError {
        let path = if self.path.is_empty() {
            "config"
        } else {
            &self.path
        };
        ConfListError::Shape {
            path: path.to_owned(),
            found: describe(&self.value),
            expected,
        }
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", head(text.as_bytes())),
        Value::Array(items) if items.is_empty() => "an empty list".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests;
