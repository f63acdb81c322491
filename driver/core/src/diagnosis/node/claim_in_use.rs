//! Pods wait for a claim that serves another. Reads the snapshot's claims.

use crate::{
    snapshot::{ClaimState, Finding, Severity},
    time::Timestamp,
};

pub(super) fn find(claims: &[ClaimState], now: Timestamp) -> impl Iterator<Item = Finding> {
    let awaited = claims.iter().filter_map(|state| {
        let awaited = state.awaited.as_ref()?;
        Some((&state.claim, awaited))
    });
    awaited.map(move |(claim, awaited)| {
        let pods = awaited.pods.iter().map(|pod| pod.name.as_str());
        Finding {
            rule: "claim_in_use".to_owned(),
            severity: Severity::Warning,
            subject: format!("claim/{}/{}", claim.namespace, claim.name),
            message: format!(
                "{} waits for {} s: {}",
                pods.collect::<Vec<_>>().join(", "),
                now.since(awaited.since).as_secs(),
                awaited.failure.message,
            ),
        }
    })
}
