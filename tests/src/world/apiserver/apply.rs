//! Server-side apply: who owns which field.
//!
//! Owns the merge and the ownership. It must never let one manager's apply remove or change what
//! another one owns, unless it is forced. Source: Kubernetes' "Server-Side Apply", and
//! structured-merge-diff for lists that are maps.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// A step into an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A field of an object.
    Field(String),
    /// The item of a list with these values of its keys.
    Item(BTreeMap<&'static str, String>),
}

/// Where a leaf is.
pub type Path = Vec<Step>;

/// Who writes, and how: an apply and an update of one name are two managers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// The field manager's name.
    pub name: String,
    /// Whether it applies.
    pub applies: bool,
}

/// Who owns which leaves of an object; several may own one.
pub type Owners = BTreeMap<Manager, BTreeSet<Path>>;

/// Applies `config` as `manager`, or says who owns what it would change.
pub fn apply(
    live: &Value,
    owners: &Owners,
    manager: &Manager,
    config: &Value,
    force: bool,
) -> Result<(Value, Owners), String> {
    let wanted = leaves(config)?;
    let current = leaves(live)?;
    let changed: BTreeSet<&Path> = wanted
        .iter()
        .filter(|(path, value)| current.get(*path) != Some(value))
        .map(|(path, _)| path)
        .collect();
    if !force {
        refuse_conflicts(owners, manager, &changed)?;
    }
    let mut owners = owners.clone();
    for (other, paths) in &mut owners {
        if other != manager {
            paths.retain(|path| !changed.contains(path));
        }
    }
    let kept: BTreeSet<Path> = wanted.keys().cloned().collect();
    let before = owners.insert(manager.clone(), kept).unwrap_or_default();
    let mut result = live.clone();
    merge(&mut result, config, &mut Vec::new());
    let mut orphans: Vec<Path> = before
        .into_iter()
        .filter(|path| !owners.values().any(|paths| paths.contains(path)))
        .collect();
    // An item is found by its keys, so these go last, and those of inner items first.
    orphans.sort_by_key(|path| (is_key(path), Reverse(path.len())));
    for path in orphans {
        remove(&mut result, &path);
    }
    owners.retain(|_, paths| !paths.is_empty());
    Ok((result, owners))
}

/// What an update from `old` to `new` by `manager` makes of `owners`: it owns what it changed.
pub fn update(owners: &Owners, manager: &Manager, old: &Value, new: &Value) -> Owners {
    let (old, new) = (
        leaves(old).unwrap_or_default(),
        leaves(new).unwrap_or_default(),
    );
    let changed: BTreeSet<Path> = new
        .iter()
        .filter(|(path, value)| old.get(*path) != Some(value))
        .map(|(path, _)| path.clone())
        .collect();
    let mut owners = owners.clone();
    for paths in owners.values_mut() {
        paths.retain(|path| new.contains_key(path) && !changed.contains(path));
    }
    owners.entry(manager.clone()).or_default().extend(changed);
    owners.retain(|_, paths| !paths.is_empty());
    owners
}

fn refuse_conflicts(
    owners: &Owners,
    manager: &Manager,
    changed: &BTreeSet<&Path>,
) -> Result<(), String> {
    let conflicts: Vec<String> = owners
        .iter()
        .filter(|(other, _)| *other != manager)
        .flat_map(|(other, paths)| {
            let taken = paths.iter().filter(|path| changed.contains(path));
            taken.map(move |path| format!("conflict with {:?}: {}", other.name, show(path)))
        })
        .collect();
    match conflicts.len() {
        0 => Ok(()),
        1 => Err(format!("Apply failed with 1 conflict: {}", conflicts[0])),
        n => Err(format!(
            "Apply failed with {n} conflicts: {}",
            conflicts.join(", ")
        )),
    }
}

/// Each leaf of `value`: what is neither an object nor a list that is a map.
fn leaves(value: &Value) -> Result<BTreeMap<Path, Value>, String> {
    let mut found = BTreeMap::new();
    collect(value, &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn collect(
    value: &Value,
    path: &mut Path,
    found: &mut BTreeMap<Path, Value>,
) -> Result<(), String> {
    match (value, list_keys(path)) {
        (Value::Object(fields), _) => {
            for (name, value) in fields {
                path.push(Step::Field(name.clone()));
                collect(value, path, found)?;
                path.pop();
            }
        }
        (Value::Array(items), Some(keys)) => {
            let mut seen = BTreeSet::new();
            for item in items {
                let key = item_key(item, keys);
                if !seen.insert(key.clone()) {
                    return Err(format!("{}: duplicate entries for key {key:?}", show(path)));
                }
                path.push(Step::Item(key));
                collect(item, path, found)?;
                path.pop();
            }
        }
        _ => {
            found.insert(path.clone(), value.clone());
        }
    }
    Ok(())
}

fn merge(live: &mut Value, config: &Value, path: &mut Path) {
    match (&mut *live, config, list_keys(path)) {
        (Value::Object(live), Value::Object(config), _) => {
            for (name, value) in config {
                path.push(Step::Field(name.clone()));
                merge(live.entry(name).or_insert(Value::Null), value, path);
                path.pop();
            }
        }
        (Value::Array(live), Value::Array(config), Some(keys)) => {
            for item in config {
                let key = item_key(item, keys);
                match live.iter_mut().find(|live| item_key(live, keys) == key) {
                    Some(live) => {
                        path.push(Step::Item(key));
                        merge(live, item, path);
                        path.pop();
                    }
                    None => live.push(item.clone()),
                }
            }
        }
        _ => live.clone_from(config),
    }
}

/// Removes the leaf at `path`, and what is empty without it.
fn remove(value: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    match (step, value) {
        (Step::Field(name), Value::Object(fields)) => {
            if let Some(field) = fields.get_mut(name) {
                remove(field, rest);
                if rest.is_empty() || is_empty(field) {
                    fields.remove(name);
                }
            }
        }
        (Step::Item(key), Value::Array(items)) => {
            let keys: Vec<&'static str> = key.keys().copied().collect();
            let is_meant = |item: &Value| item_key(item, &keys) == *key;
            if rest.len() == 1 && is_key(path) {
                items.retain(|item| !(is_meant(item) && has_only(item, &keys)));
            } else if let Some(item) = items.iter_mut().find(|item| is_meant(item)) {
                remove(item, rest);
            }
        }
        _ => {}
    }
}

/// Whether `path` ends at one of the keys of an item.
fn is_key(path: &[Step]) -> bool {
    matches!(path, [.., Step::Item(key), Step::Field(name)] if key.contains_key(name.as_str()))
}

fn has_only(item: &Value, keys: &[&'static str]) -> bool {
    let fields = item.as_object();
    fields.is_some_and(|fields| fields.keys().all(|name| keys.contains(&name.as_str())))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The keys of the list at `path`, if it is a map.
fn list_keys(path: &[Step]) -> Option<&'static [&'static str]> {
    let name = |step: &Step| match step {
        Step::Field(name) => Some(name.clone()),
        Step::Item(_) => None,
    };
    let (last, before) = path.split_last()?;
    match (
        before.last().and_then(name).as_deref(),
        name(last)?.as_str(),
    ) {
        (Some("status"), "devices") => Some(&["driver", "device", "pool", "shareID"]),
        (_, "conditions") => Some(&["type"]),
        (Some("status"), "reservedFor") | (Some("metadata"), "ownerReferences") => Some(&["uid"]),
        (Some("spec"), "containers" | "resourceClaims") => Some(&["name"]),
        _ => None,
    }
}

fn item_key(item: &Value, keys: &[&'static str]) -> BTreeMap<&'static str, String> {
    let nothing = Map::new();
    let fields = item.as_object().unwrap_or(&nothing);
    keys.iter()
        .filter_map(|key| Some((*key, fields.get(*key)?.as_str()?.to_owned())))
        .collect()
}

/// `.status.devices[device="eth1",driver="d"].pool`
fn show(path: &[Step]) -> String {
    path.iter()
        .map(|step| match step {
            Step::Field(name) => format!(".{name}"),
            Step::Item(key) => {
                let pairs: Vec<String> = key.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
                format!("[{}]", pairs.join(","))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
