//! Something in a pod's namespace could not be undone. Reads the snapshot's leftovers.

use crate::{
    attachment::Leftover,
    snapshot::{Finding, Severity},
    time::Timestamp,
};

pub(super) fn find(leftovers: &[Leftover], now: Timestamp) -> impl Iterator<Item = Finding> {
    leftovers.iter().map(move |leftover| {
        let attachment = &leftover.attachment;
        let (claim, key) = (&attachment.claim, &attachment.key);
        Finding {
            rule: "leftover".to_owned(),
            severity: Severity::Warning,
            subject: format!("claim/{}/{}", claim.namespace, claim.name),
            message: format!(
                "{} of sandbox {} on {} is left for {} s after {} tries: {}; it is tried again, \
                 and an exclusive device serves nobody until it is gone",
                key.if_name,
                key.sandbox,
                attachment.device.link,
                now.since(leftover.since).as_secs(),
                leftover.attempts,
                leftover.failure.message,
            ),
        }
    })
}
