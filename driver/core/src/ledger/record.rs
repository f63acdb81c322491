//! The ledger as it is written to disk: lists, so that every key stays readable.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Failed, Held, Ledger, Refusal, Waiting, share};
use crate::{
    attachment::{Ended, Leftover},
    claim::PreparedClaim,
    name::{ClaimUid, IfName},
    time::Timestamp,
};

/// A ledger at rest. A row that a later version adds must have a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Facts taken in so far; journal lines up to here are already part of this record.
    pub generation: u64,
    /// Whether the rest is still to be found out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// Prepared claims.
    pub claims: Vec<Arc<PreparedClaim>>,
    /// When they were prepared first.
    #[serde(default)]
    pub prepared: Vec<(ClaimUid, Timestamp)>,
    /// Who waits for them.
    #[serde(default)]
    pub waiting: Vec<(ClaimUid, Waiting)>,
    /// Refused claims.
    pub refused: Vec<Arc<Refusal>>,
    /// Attachments in any phase.
    pub attachments: Vec<Arc<Held>>,
    /// Last failures.
    pub failures: Vec<FailedInterface>,
    /// What could not be undone.
    pub leftovers: Vec<Arc<Leftover>>,
    /// What is over, oldest first.
    pub ended: Vec<Arc<Ended>>,
}

/// A failure with what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedInterface {
    /// The claim.
    pub claim: ClaimUid,
    /// The interface.
    pub if_name: IfName,
    /// When, where and why.
    pub failed: Failed,
}

impl From<&Ledger> for Record {
    fn from(ledger: &Ledger) -> Self {
        let failures = ledger
            .failures
            .iter()
            .map(|((claim, if_name), failed)| FailedInterface {
                claim: claim.clone(),
                if_name: if_name.clone(),
                failed: failed.clone(),
            });
        Self {
            generation: ledger.generation,
            lost: ledger.lost,
            claims: ledger.claims.values().cloned().collect(),
            prepared: ledger
                .prepared
                .iter()
                .map(|(uid, at)| (uid.clone(), *at))
                .collect(),
            waiting: ledger
                .waiting
                .iter()
                .map(|(uid, waiting)| (uid.clone(), waiting.clone()))
                .collect(),
            refused: ledger.refused.values().cloned().collect(),
            attachments: ledger.attachments.values().cloned().collect(),
            failures: failures.collect(),
            leftovers: ledger.leftovers.values().cloned().collect(),
            ended: ledger.ended.iter().cloned().collect(),
        }
    }
}

impl From<Record> for Ledger {
    fn from(mut record: Record) -> Self {
        record.share_networks();
        Self {
            generation: record.generation,
            lost: record.lost,
            claims: by(record.claims, |claim| claim.claim.uid.clone()),
            prepared: record.prepared.into_iter().collect(),
            waiting: record.waiting.into_iter().collect(),
            refused: by(record.refused, |refusal| refusal.refused.claim.uid.clone()),
            attachments: by(record.attachments, |held| held.attachment.key.clone()),
            failures: record
                .failures
                .into_iter()
                .map(|row| ((row.claim, row.if_name), row.failed))
                .collect(),
            leftovers: by(record.leftovers, |leftover| leftover.attachment.key.clone()),
            ended: record.ended.into(),
        }
    }
}

impl Record {
    /// Rows that were written with the same network have one together again.
    fn share_networks(&mut self) {
        let claims = self.claims.iter_mut().map(Arc::make_mut);
        let attachments = self.attachments.iter_mut().map(Arc::make_mut);
        let ended = self.ended.iter_mut().map(Arc::make_mut);
        let devices = claims
            .flat_map(|claim| &mut claim.devices)
            .chain(attachments.map(|held| &mut held.attachment.device))
            .chain(ended.map(|ended| &mut ended.attachment.device));
        let mut known = Vec::new();
        for device in devices {
            share(&known, &mut device.network);
            if !known
                .iter()
                .any(|known| Arc::ptr_eq(known, &device.network))
            {
                known.push(Arc::clone(&device.network));
            }
        }
    }
}

fn by<K: Ord, V>(rows: Vec<V>, key: impl Fn(&V) -> K) -> BTreeMap<K, V> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}
