//! What the slices of a node offer, less what claims already have.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{list, share_id};
use crate::world::apiserver::resource::{CLAIMS, SLICES};
use crate::world::apiserver::store::Store;

/// A device as its slice describes it.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) driver: String,
    pool: String,
    pub(super) device: Value,
    taken: bool,
    /// By the name of the capacity.
    consumed: BTreeMap<String, u64>,
}

/// The devices of a node.
#[derive(Clone, Debug)]
pub(super) struct Offers(Vec<Offer>);

impl Offers {
    /// What `node` offers; a pool whose slices are not all there counts as absent.
    pub(super) fn of_node(store: &Store, node: &str) -> Self {
        let slices = store.all(SLICES);
        let local: Vec<&Value> = slices
            .iter()
            .map(|slice| &slice["spec"])
            .filter(|spec| spec["nodeName"] == node || spec["allNodes"] == true)
            .collect();
        let newest = |pool: &Value| {
            let generations = local
                .iter()
                .filter(|spec| spec["pool"]["name"] == pool["name"]);
            generations
                .filter_map(|spec| spec["pool"]["generation"].as_i64())
                .max()
        };
        let is_complete = |pool: &Value| {
            let same = local.iter().filter(|spec| spec["pool"] == *pool).count();
            pool["resourceSliceCount"].as_u64() == u64::try_from(same).ok()
        };
        let current = local.iter().filter(|spec| {
            let pool = &spec["pool"];
            pool["generation"].as_i64() == newest(pool) && is_complete(pool)
        });
        let mut offers: Vec<Offer> = current.flat_map(|spec| of_slice(spec)).collect();
        for claim in store.all(CLAIMS) {
            for result in list(&claim["status"]["allocation"]["devices"]["results"]) {
                for offer in &mut offers {
                    offer.account(result);
                }
            }
        }
        Self(offers)
    }

    /// Takes the first device that `fits` and is free for `request`.
    pub(super) fn take(
        &mut self,
        request: &Value,
        fits: impl Fn(&Offer) -> Result<bool>,
    ) -> Result<Option<Value>> {
        for offer in &mut self.0 {
            if offer.tolerated(request) && fits(offer)? {
                let result = offer.result(request);
                if let Some(result) = result {
                    offer.account(&result);
                    return Ok(Some(result));
                }
            }
        }
        Ok(None)
    }
}

fn of_slice(spec: &Value) -> Vec<Offer> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let offer = |device: &Value| Offer {
        driver: text(&spec["driver"]),
        pool: text(&spec["pool"]["name"]),
        device: device.clone(),
        taken: false,
        consumed: BTreeMap::new(),
    };
    list(&spec["devices"]).iter().map(offer).collect()
}

impl Offer {
    fn is_shared(&self) -> bool {
        self.device["allowMultipleAllocations"] == true
    }

    /// The result that gives this device to `request`; none if it is not free.
    ///
    /// Admin access takes nothing, and so is always free.
    fn result(&self, request: &Value) -> Option<Value> {
        let mut result = json!({
            "driver": self.driver, "pool": self.pool, "device": self.device["name"],
        });
        if self.is_shared() {
            result["shareID"] = share_id().into();
        }
        if request["adminAccess"] == true {
            result["adminAccess"] = true.into();
            return Some(result);
        }
        if self.taken {
            return None;
        }
        if self.is_shared() {
            result["consumedCapacity"] = self.consume(request)?;
        }
        Some(result)
    }

    /// What `request` consumes of each capacity; none if there is not enough.
    fn consume(&self, request: &Value) -> Option<Value> {
        let mut consumed = Map::new();
        for (name, capacity) in self.device["capacity"].as_object().into_iter().flatten() {
            let wanted = &request["capacity"]["requests"][name];
            let default = &capacity["requestPolicy"]["default"];
            let all = &capacity["value"];
            let wanted = [wanted, default, all]
                .into_iter()
                .find(|value| !value.is_null())?;
            let used = self.consumed.get(name).copied().unwrap_or_default();
            if used + count(wanted)? > count(all)? {
                return None;
            }
            consumed.insert(name.clone(), wanted.clone());
        }
        Some(consumed.into())
    }

    /// Counts `result` against this device if it is of it.
    fn account(&mut self, result: &Value) {
        let same = result["driver"] == self.driver
            && result["pool"] == self.pool
            && result["device"] == self.device["name"];
        if !same || result["adminAccess"] == true {
            return;
        }
        self.taken = !self.is_shared();
        for (name, value) in result["consumedCapacity"].as_object().into_iter().flatten() {
            *self.consumed.entry(name.clone()).or_default() += count(value).unwrap_or_default();
        }
    }

    fn tolerated(&self, request: &Value) -> bool {
        let tolerates = |taint: &Value| {
            list(&request["tolerations"]).iter().any(|toleration| {
                let any = |field: &str| toleration[field].is_null();
                let same = |field: &str| toleration[field] == taint[field];
                let exists = toleration["operator"] == "Exists";
                (any("key") || same("key"))
                    && (any("effect") || same("effect"))
                    && (exists || same("value"))
            })
        };
        let taints = list(&self.device["taints"]).iter();
        taints
            .filter(|taint| taint["effect"] != "None")
            .all(tolerates)
    }
}

/// A plain count; the world's devices have no other capacities.
fn count(quantity: &Value) -> Option<u64> {
    quantity.as_str()?.parse().ok()
}
