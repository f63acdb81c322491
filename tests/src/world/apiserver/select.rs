//! Selectors of lists and watches.
//!
//! Owns their syntax and meaning. A field that the real server cannot select by is refused.

use serde_json::Value;

use super::failure::Failure;

/// Which objects are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Only in this namespace.
    pub namespace: Option<String>,
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    /// Any value, where there is none.
    value: Option<String>,
    negated: bool,
}

/// What the real server selects by, over the resources that are served here.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "spec.driver",
    "status.phase",
    "involvedObject.name",
    "involvedObject.uid",
    "reason",
    "regarding.name",
];

impl Selector {
    /// Of the query parameters `labelSelector` and `fieldSelector`.
    pub fn parse(
        namespace: Option<String>,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Self, Failure> {
        let fields = requirements(fields.unwrap_or_default())?;
        if let Some(unknown) = fields
            .iter()
            .find(|field| !FIELDS.contains(&field.key.as_str()))
        {
            let text = format!("field label not supported: {}", unknown.key);
            return Err(Failure::BadRequest(text));
        }
        Ok(Self {
            namespace,
            labels: requirements(labels.unwrap_or_default())?,
            fields,
        })
    }

    /// Whether `object` is meant.
    pub fn matches(&self, object: &Value) -> bool {
        let own = object["metadata"]["namespace"].as_str();
        self.namespace
            .as_deref()
            .is_none_or(|namespace| own == Some(namespace))
            && self
                .labels
                .iter()
                .all(|label| label.is_met(object["metadata"]["labels"][&label.key].as_str()))
            && self.fields.iter().all(|field| {
                let pointer = format!("/{}", field.key.replace('.', "/"));
                let value = object.pointer(&pointer).and_then(Value::as_str);
                field.is_met(Some(value.unwrap_or_default()))
            })
    }
}

impl Requirement {
    fn is_met(&self, found: Option<&str>) -> bool {
        let equal = match &self.value {
            Some(value) => found == Some(value),
            None => found.is_some(),
        };
        equal != self.negated
    }
}

/// `a=b,c==d,e!=f,g,!h`; set-based requirements are not understood here.
fn requirements(text: &str) -> Result<Vec<Requirement>, Failure> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(requirement).collect()
}

fn requirement(part: &str) -> Result<Requirement, Failure> {
    if part.contains('(') || part.contains(' ') {
        let text = format!("the world does not understand the selector {part:?}");
        return Err(Failure::BadRequest(text));
    }
    let (key, value, negated) = if let Some((key, value)) = part.split_once("!=") {
        (key, Some(value), true)
    } else if let Some((key, value)) = part.split_once('=') {
        (key, Some(value.trim_start_matches('=')), false)
    } else if let Some(key) = part.strip_prefix('!') {
        (key, None, true)
    } else {
        (part, None, false)
    };
    Ok(Requirement {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        negated,
    })
}

#[cfg(test)]
mod tests;
