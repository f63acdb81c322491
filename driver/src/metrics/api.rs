//! Series of the API server: what we asked of it, and how that ended.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::series::{About, counters};
use crate::api::ApiCounters;

const REQUESTS: About = About {
    name: "api_requests",
    help: "Requests to the API server by what they are about and how they ended.",
    unit: None,
};

const DROPPED: About = About {
    name: "events_dropped",
    help: "Events that were not written because too many waited.",
    unit: None,
};

/// What was asked of the API server.
#[derive(Debug)]
pub(super) struct Api(pub(super) Arc<ApiCounters>);

impl Collector for Api {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(api) = self;
        let objects = [
            ("resourceslices", &api.slices),
            ("resourceclaims", &api.claims),
            ("resourceclaims/status", &api.statuses),
            ("events", &api.events),
        ];
        let requests = objects.into_iter().flat_map(|(object, calls)| {
            let labels = move |code| [("object", object), ("code", code)];
            calls
                .counts()
                .map(move |(code, count)| (labels(code), count))
        });
        counters(&mut encoder, &REQUESTS, requests)?;
        let dropped = api.events_dropped.load(Ordering::Relaxed);
        let unlabelled: [(&str, &str); 0] = [];
        counters(&mut encoder, &DROPPED, [(unlabelled, dropped)].into_iter())
    }
}
