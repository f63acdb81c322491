//! Series about our requests to the API server.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::series::{About, counters};
use crate::api::ApiCounters;

const REQUESTS: About = About {
    name: "api_requests",
    help: "Requests to the API server, by what they are about and how they ended.",
    unit: None,
};

/// What was asked of the API server.
#[derive(Debug)]
pub(super) struct Api(pub(super) Arc<ApiCounters>);

impl Collector for Api {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(api) = self;
        let kinds = [
            ("slice", &api.slices),
            ("claim_status", &api.statuses),
            ("event", &api.events),
        ];
        let requests = kinds.into_iter().flat_map(|(kind, calls)| {
            let labelled = move |(outcome, count)| ([("kind", kind), ("outcome", outcome)], count);
            calls.counts().map(labelled)
        });
        // Too many Events waited: these were not even sent.
        let dropped = api.events_dropped.load(Ordering::Relaxed);
        let dropped = ([("kind", "event"), ("outcome", "dropped")], dropped);
        counters(&mut encoder, &REQUESTS, requests.chain([dropped]))
    }
}
