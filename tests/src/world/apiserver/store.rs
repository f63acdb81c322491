//! The objects and their versions.
//!
//! Owns every change: numbering, conflicts, rules, deletion, and the log that watches read. It
//! must never write half a change, nor one that breaks a rule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::apply::{self, Manager, Owners};
use super::failure::Failure;
use super::resource::{CLAIMS, NAMESPACES, PODS, Resource};
use super::select::Selector;
use super::validate;
use crate::world::id;

/// A server feature that may be off; its fields are then dropped, silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// `DRAConsumableCapacity`: sharing of devices.
    ConsumableCapacity,
    /// `DRADeviceTaints`.
    DeviceTaints,
    /// `DRAResourceClaimDeviceStatus`.
    DeviceStatus,
}

/// What of an object is written; the rest stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// The status only.
    Status,
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    resource: String,
    /// Empty for an object of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version that it made.
    pub version: u64,
    resource: String,
    /// Before; none for a new object.
    pub old: Option<Value>,
    /// After; none for one that is gone.
    pub new: Option<Value>,
}

/// All objects.
#[derive(Debug)]
pub struct Store {
    state: Mutex<State>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    rows: BTreeMap<Key, Row>,
    log: VecDeque<Change>,
    /// Changes up to this version are forgotten.
    oldest: u64,
    disabled: BTreeSet<Feature>,
}

#[derive(Clone, Debug)]
struct Row {
    object: Value,
    owners: Owners,
}

/// Changes that are remembered; a watch from before them gets 410.
const LOG: usize = 10_000;

impl Key {
    /// The key of the object `name`.
    pub fn new(resource: &Resource, namespace: &str, name: &str) -> Self {
        Self {
            resource: resource.full_name(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    fn not_found(&self) -> Failure {
        Failure::NotFound {
            resource: self.resource.clone(),
            name: self.name.clone(),
        }
    }
}

impl Store {
    /// A store without objects.
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            newest: watch::Sender::new(0),
        }
    }

    /// One object.
    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Value, Failure> {
        let key = Key::new(resource, namespace, name);
        let state = self.state();
        let row = state.rows.get(&key).ok_or_else(|| key.not_found())?;
        Ok(row.object.clone())
    }

    /// The objects meant, by name, and the version at which that is true.
    pub fn list(&self, resource: &Resource, selector: &Selector) -> (Vec<Value>, u64) {
        let state = self.state();
        let full_name = resource.full_name();
        let objects = state
            .rows
            .iter()
            .filter(|(key, row)| key.resource == full_name && selector.matches(&row.object));
        let objects = objects.map(|(_, row)| row.object.clone()).collect();
        (objects, state.version)
    }

    /// All objects of a resource.
    pub fn all(&self, resource: &Resource) -> Vec<Value> {
        self.list(resource, &Selector::default()).0
    }

    /// Makes a new object, named by `generateName` where it has no name.
    pub fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        mut object: Value,
        by: &str,
    ) -> Result<Value, Failure> {
        if resource.has_status && resource.kind != "Node" {
            object["status"].take();
        }
        let name = name_new(resource, &mut object)?;
        let metadata = object["metadata"].as_object_mut();
        let metadata = metadata.ok_or_else(|| Failure::BadRequest("no metadata".to_owned()))?;
        if resource.namespaced {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        metadata.insert("uid".to_owned(), id::uuid().into());
        metadata.insert("creationTimestamp".to_owned(), id::now().into());
        metadata.insert("generation".to_owned(), 1.into());
        let key = Key::new(resource, namespace, &name);
        let mut state = self.state();
        if state.rows.contains_key(&key) {
            return Err(Failure::AlreadyExists {
                resource: key.resource,
                name,
            });
        }
        state.admit(resource, namespace, &object)?;
        let object = state.check(resource, None, object)?;
        let owners = apply::update(&Owners::new(), &updates(by), &Value::Null, &object);
        let object = state.put(key, Row { object, owners });
        self.newest.send_replace(state.version);
        Ok(object)
    }

    /// Replaces a part of an object; refused if it names a version that is not the last.
    pub fn replace(
        &self,
        resource: &Resource,
        part: Part,
        object: &Value,
        by: &str,
    ) -> Result<Value, Failure> {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let key = Key::new(resource, text("namespace"), text("name"));
        self.change(resource, &key, part, &updates(by), |row| {
            refuse_stale(&key, &row.object, metadata)?;
            Ok((object.clone(), None))
        })
    }

    /// Changes a part of an object in one step, for the other parts of the world: they need not
    /// retry as a client must.
    pub fn edit(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        part: Part,
        by: &str,
        edit: impl FnOnce(&mut Value),
    ) -> Result<Value, Failure> {
        let key = Key::new(resource, namespace, name);
        self.change(resource, &key, part, &updates(by), |row| {
            let mut object = row.object.clone();
            edit(&mut object);
            Ok((object, None))
        })
    }

    /// Merges `patch` into an object (RFC 7386).
    pub fn merge(
        &self,
        resource: &Resource,
        key: &Key,
        part: Part,
        patch: &Value,
        by: &str,
    ) -> Result<Value, Failure> {
        self.change(resource, key, part, &updates(by), |row| {
            refuse_stale(key, &row.object, &patch["metadata"])?;
            let mut merged = row.object.clone();
            merge_patch(&mut merged, patch);
            Ok((merged, None))
        })
    }

    /// Applies `config` as the manager `by` (server-side apply).
    pub fn apply(
        &self,
        resource: &Resource,
        key: &Key,
        part: Part,
        config: &Value,
        by: &str,
        force: bool,
    ) -> Result<Value, Failure> {
        let manager = Manager {
            name: by.to_owned(),
            applies: true,
        };
        let exists = self.state().rows.contains_key(key);
        if !exists && part == Part::Main {
            return self.create(resource, &key.namespace, config.clone(), by);
        }
        self.change(resource, key, part, &manager, |row| {
            refuse_stale(key, &row.object, &config["metadata"])?;
            let config = owned_fields(config, part);
            let (object, owners) = apply::apply(&row.object, &row.owners, &manager, &config, force)
                .map_err(Failure::Conflict)?;
            Ok((object, Some(owners)))
        })
    }

    /// Deletes an object. A pod stays until the kubelet deletes it `now`, and an object with
    /// finalizers until they are gone.
    pub fn delete(&self, resource: &Resource, key: &Key, now: bool) -> Result<Value, Failure> {
        let mut state = self.state();
        let row = state.rows.get(key).ok_or_else(|| key.not_found())?.clone();
        let metadata = &row.object["metadata"];
        let scheduled = row.object["spec"]["nodeName"].is_string();
        let waits =
            has_finalizers(&row.object) || (resource.kind == PODS.kind && scheduled && !now);
        let object = if !waits {
            state.remove(key)
        } else if metadata["deletionTimestamp"].is_string() {
            row.object
        } else {
            let mut row = row;
            row.object["metadata"]["deletionTimestamp"] = id::now().into();
            row.object["metadata"]["deletionGracePeriodSeconds"] = 30.into();
            state.put(key.clone(), row)
        };
        self.newest.send_replace(state.version);
        Ok(object)
    }

    /// The changes after `version` of a resource, oldest first, and the version they lead to.
    pub fn changes(
        &self,
        resource: &Resource,
        version: u64,
    ) -> Result<(Vec<Change>, u64), Failure> {
        let state = self.state();
        if version < state.oldest {
            return Err(Failure::Expired {
                asked: version,
                oldest: state.oldest,
            });
        }
        let full_name = resource.full_name();
        let later = |change: &&Change| change.version > version && change.resource == full_name;
        let changes = state.log.iter().filter(later).cloned().collect();
        Ok((changes, state.version))
    }

    /// Tells of each new version.
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Forgets every change so far: a watch that goes on from one of them gets 410.
    pub fn compact(&self) {
        let mut state = self.state();
        state.oldest = state.version;
        state.log.clear();
    }

    pub(super) fn disable(&self, feature: Feature) {
        self.state().disabled.insert(feature);
    }

    pub(super) fn create_namespace(&self, name: &str) -> Result<Value, Failure> {
        self.create(NAMESPACES, "", json!({"metadata": {"name": name}}), "world")
    }

    fn change(
        &self,
        resource: &Resource,
        key: &Key,
        part: Part,
        by: &Manager,
        change: impl FnOnce(&Row) -> Result<(Value, Option<Owners>), Failure>,
    ) -> Result<Value, Failure> {
        let mut state = self.state();
        let old = state.rows.get(key).ok_or_else(|| key.not_found())?.clone();
        let (new, owners) = change(&old)?;
        let new = keep_other_part(resource, part, &old.object, new);
        let new = state.check(resource, Some(&old.object), new)?;
        let owners = owners.unwrap_or_else(|| apply::update(&old.owners, by, &old.object, &new));
        if new == old.object {
            // No new version: a write that changes nothing wakes nobody.
            state.rows.insert(
                key.clone(),
                Row {
                    object: new.clone(),
                    owners,
                },
            );
            return Ok(new);
        }
        let released = has_finalizers(&old.object) && !has_finalizers(&new);
        let dying = new["metadata"]["deletionTimestamp"].is_string();
        let object = state.put(
            key.clone(),
            Row {
                object: new,
                owners,
            },
        );
        if dying && released {
            state.remove(key);
        }
        self.newest.send_replace(state.version);
        Ok(object)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What depends on other objects.
    fn admit(&self, resource: &Resource, namespace: &str, object: &Value) -> Result<(), Failure> {
        let space = self.rows.get(&Key::new(NAMESPACES, "", namespace));
        if !resource.namespaced {
            return Ok(());
        }
        let space = space.ok_or_else(|| Key::new(NAMESPACES, "", namespace).not_found())?;
        let label = &space.object["metadata"]["labels"]["resource.kubernetes.io/admin-access"];
        if validate::asks_admin_access(object) && label != "true" {
            let text = format!(
                "admin access to devices requires the `resource.kubernetes.io/admin-access: true` \
                 label on the containing namespace {namespace}"
            );
            return Err(Failure::Forbidden(text));
        }
        Ok(())
    }

    /// The object as it is stored, if it keeps the rules.
    fn check(
        &self,
        resource: &Resource,
        old: Option<&Value>,
        mut object: Value,
    ) -> Result<Value, Failure> {
        if let Some(old) = old
            && resource.full_name() == CLAIMS.full_name()
        {
            validate::drop_deallocated(old, &mut object);
        }
        let raw = object.clone();
        let mut object = (resource.decode)(object).map_err(|error| {
            let kind = resource.kind;
            Failure::BadRequest(format!("{kind} cannot be handled: json: {error}"))
        })?;
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.into();
        validate::object(resource, old, &raw)?;
        for feature in &self.disabled {
            validate::drop_fields(resource, *feature, &mut object);
        }
        if let Some(old) = old
            && old["spec"] != object["spec"]
        {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or_default();
            object["metadata"]["generation"] = (generation + 1).into();
        }
        Ok(object)
    }

    fn put(&mut self, key: Key, mut row: Row) -> Value {
        self.version += 1;
        row.object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let new = row.object.clone();
        let old = self.rows.insert(key.clone(), row).map(|row| row.object);
        self.record(key.resource, old, Some(new.clone()));
        new
    }

    fn remove(&mut self, key: &Key) -> Value {
        self.version += 1;
        let mut object = self.rows.remove(key).map(|row| row.object);
        if let Some(object) = &mut object {
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
        }
        self.record(key.resource.clone(), object.clone(), None);
        object.unwrap_or_default()
    }

    fn record(&mut self, resource: String, old: Option<Value>, new: Option<Value>) {
        if self.log.len() == LOG
            && let Some(forgotten) = self.log.pop_front()
        {
            self.oldest = forgotten.version;
        }
        self.log.push_back(Change {
            version: self.version,
            resource,
            old,
            new,
        });
    }
}

fn updates(by: &str) -> Manager {
    Manager {
        name: by.to_owned(),
        applies: false,
    }
}

/// Names a new object, by `generateName` and five characters where it has none.
fn name_new(resource: &Resource, object: &mut Value) -> Result<String, Failure> {
    let metadata = &object["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
    let (name, prefix) = (text("name"), text("generateName"));
    if name.is_empty() && prefix.is_empty() {
        return Err(Failure::Invalid {
            kind: resource.kind.to_owned(),
            name: String::new(),
            causes: validate::required("metadata.name", "name or generateName is required"),
        });
    }
    let name = if name.is_empty() {
        // 58 characters of the prefix: a name of 63 is a DNS label still.
        let prefix: String = prefix.chars().take(58).collect();
        prefix + &id::suffix()
    } else {
        name
    };
    object["metadata"]["name"] = name.as_str().into();
    Ok(name)
}

fn refuse_stale(key: &Key, live: &Value, metadata: &Value) -> Result<(), Failure> {
    let live = &live["metadata"];
    let differs = |field: &str| {
        let given = metadata[field].as_str();
        given.is_some_and(|given| !given.is_empty() && Some(given) != live[field].as_str())
    };
    if differs("resourceVersion") {
        return Err(Failure::Conflict(format!(
            "Operation cannot be fulfilled on {} \"{}\": the object has been modified; please \
             apply your changes to the latest version and try again",
            key.resource, key.name
        )));
    }
    if differs("uid") {
        return Err(Failure::Conflict(format!(
            "Operation cannot be fulfilled on {} \"{}\": Precondition failed: UID in precondition: \
             {}, UID in object meta: {}",
            key.resource, key.name, metadata["uid"], live["uid"]
        )));
    }
    Ok(())
}

/// `new` with what a write of `part` may not change taken from `old`.
fn keep_other_part(resource: &Resource, part: Part, old: &Value, mut new: Value) -> Value {
    if part == Part::Status {
        let mut result = old.clone();
        result["status"] = new["status"].take();
        return result;
    }
    if resource.has_status {
        new["status"] = old["status"].clone();
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        new["metadata"][field] = old["metadata"][field].clone();
    }
    new
}

/// The fields of `config` that an apply to `part` owns.
fn owned_fields(config: &Value, part: Part) -> Value {
    match part {
        Part::Status => json!({"status": config["status"]}),
        Part::Main => {
            let mut owned = config.clone();
            if let Some(fields) = owned.as_object_mut() {
                fields.retain(|name, _| name != "status" && name != "apiVersion" && name != "kind");
            }
            if let Some(metadata) = owned["metadata"].as_object_mut() {
                metadata.retain(|name, _| {
                    matches!(
                        name.as_str(),
                        "labels" | "annotations" | "finalizers" | "ownerReferences"
                    )
                });
            }
            owned
        }
    }
}

fn merge_patch(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            if let Some(target) = target.as_object_mut() {
                target.remove(name);
            }
        } else {
            merge_patch(&mut target[name], value);
        }
    }
}

fn has_finalizers(object: &Value) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|finalizers| !finalizers.is_empty())
}
