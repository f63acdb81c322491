//! Whether the CNI plugins that claims may ask for run on this node.
//!
//! Owns when they are asked and who hears of it. It refuses no claim: an ADD fails by itself.

use std::{future::Future, time::Duration};

use netclaim_core::diagnosis::node::{Noticed, UnusablePlugin};
use tokio::sync::watch;

use super::active::ticks;
use crate::metrics::Metrics;

/// Asks all plugins that are `allowed`, and those that do not run again, until all do: many come
/// with a network's own DaemonSet, after us.
pub(super) async fn ask<F>(
    allowed: Vec<String>,
    every: Duration,
    unusable_of: impl Fn(Vec<String>) -> F,
    metrics: &Metrics,
    noticed: &watch::Sender<Noticed>,
) where
    F: Future<Output = Vec<UnusablePlugin>>,
{
    let mut again = ticks(every);
    let mut asked = allowed.clone();
    while !asked.is_empty() {
        again.tick().await;
        let unusable = unusable_of(asked).await;
        let code = |plugin: &str| {
            let found = unusable.iter().find(|unusable| unusable.plugin == plugin);
            found.map(|unusable| unusable.code)
        };
        metrics.cni_plugins(allowed.iter().map(|plugin| (plugin.as_str(), code(plugin))));
        for news in &unusable {
            if !noticed.borrow().unusable.contains(news) {
                tracing::warn!("claims that use it fail on this node: {}", news.message);
            }
        }
        asked = unusable.iter().map(|found| found.plugin.clone()).collect();
        noticed.send_modify(|noticed| noticed.unusable = unusable);
    }
}

#[cfg(test)]
mod tests;
