//! Numbers for Prometheus.
//!
//! Owns what is counted in passing (requests, steps, plugins). Everything else is written out of
//! the [`Snapshot`] of the moment, so a series is there exactly as long as its interface.

use std::{fmt, sync::Arc, time::Duration};

use netclaim_core::{
    failure::{Failure, Timing},
    snapshot::Snapshot,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use crate::api::ApiCounters;

mod api;
mod interfaces;
mod node;
mod plain;
mod series;
pub mod server;

pub use plain::plain;

/// A request in milliseconds, a CNI chain in tens of them, a refusal after seconds: each boundary
/// doubles or more, up to the 20 s which the kubelet waits.
const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0,
];

/// Our part of an attach in milliseconds, plugins in tens of them.
const ATTACH_SECONDS: [f64; 13] = [
    0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 2.0,
];

/// What the kubelet asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraMethod {
    /// `NodePrepareResources`.
    Prepare,
    /// `NodeUnprepareResources`.
    Unprepare,
}

/// What is counted in passing.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    request_seconds: Family<Method, Histogram, Buckets>,
    step_seconds: Family<Step, Histogram, Buckets>,
    attach_seconds: Family<Part, Histogram, AttachBuckets>,
    failures: Family<Failed, Counter>,
    plugins: Family<Plugin, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    step: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    step: &'static str,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Plugin {
    r#type: String,
    reason: String,
}

#[derive(Clone, Debug)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

#[derive(Clone, Debug)]
struct AttachBuckets;

impl MetricConstructor<Histogram> for AttachBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(ATTACH_SECONDS)
    }
}

impl Metrics {
    /// Nothing counted yet; `api` is what is asked of the API server.
    pub fn new(api: Arc<ApiCounters>) -> Self {
        let requests = Family::default();
        let request_seconds = Family::new_with_constructor(Buckets);
        let step_seconds = Family::new_with_constructor(Buckets);
        let attach_seconds = Family::new_with_constructor(AttachBuckets);
        let failures = Family::default();
        let plugins = Family::default();
        let mut registry = Registry::with_prefix("netclaim");
        registry.register(
            "dra_requests",
            "Claims that the kubelet asked for, by outcome (ok, or the failure's code)",
            requests.clone(),
        );
        registry.register_with_unit(
            "dra_request_duration",
            "Time per claim that the kubelet asked for",
            Unit::Seconds,
            request_seconds.clone(),
        );
        registry.register_with_unit(
            "attach_step_duration",
            "Time per CNI plugin that attaches or detaches an interface",
            Unit::Seconds,
            step_seconds.clone(),
        );
        registry.register_with_unit(
            "attach_duration",
            "Time that a pod's sandbox waited for its interfaces, by whom it waited for",
            Unit::Seconds,
            attach_seconds.clone(),
        );
        registry.register(
            "failures",
            "Refusals and failures of all kinds, by step and cause",
            failures.clone(),
        );
        registry.register(
            "cni_plugin_usable",
            "Whether an allowed CNI plugin can run here (1), or why not",
            plugins.clone(),
        );
        registry.register_collector(Box::new(api::Api(api)));
        Self {
            registry,
            requests,
            request_seconds,
            step_seconds,
            attach_seconds,
            failures,
            plugins,
        }
    }

    /// The kubelet got an answer for one claim; `code` is the failure's, if it failed.
    pub fn dra_request(&self, method: DraMethod, code: Option<&str>, took: Duration) {
        let method = method.label();
        let code = code.unwrap_or("ok").to_owned();
        self.requests.get_or_create(&Request { method, code }).inc();
        self.request_seconds
            .get_or_create(&Method { method })
            .observe(took.as_secs_f64());
    }

    /// A step of an attachment was done.
    pub fn step(&self, timing: &Timing) {
        let labels = Step {
            step: timing.step.code(),
            result: if timing.ok { "ok" } else { "failed" },
        };
        let took = Duration::from_micros(timing.micros).as_secs_f64();
        self.step_seconds.get_or_create(&labels).observe(took);
    }

    /// A sandbox got its interfaces: how long it waited for the plugins, and for us.
    pub fn attached(&self, plugins: Duration, driver: Duration) {
        for (part, took) in [("plugins", plugins), ("driver", driver)] {
            let waited = self.attach_seconds.get_or_create(&Part { part });
            waited.observe(took.as_secs_f64());
        }
    }

    /// Something was refused, or failed.
    pub fn failure(&self, failure: &Failure) {
        let (step, code) = (failure.step.code(), failure.code.to_string());
        self.failures.get_or_create(&Failed { step, code }).inc();
    }

    /// The allowed CNI plugins were asked whether they run: each with the reason why not.
    pub fn cni_plugins<'a>(&self, asked: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
        self.plugins.clear();
        for (plugin_type, reason) in asked {
            let labels = Plugin {
                r#type: plugin_type.to_owned(),
                reason: reason.unwrap_or_default().to_owned(),
            };
            let usable = i64::from(reason.is_none());
            self.plugins.get_or_create(&labels).set(usable);
        }
    }

    /// Everything, as `OpenMetrics` 1.0 text.
    pub fn scrape(&self, snapshot: Snapshot) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("netclaim");
        registry.register_collector(Box::new(interfaces::Interfaces::new(&snapshot)));
        registry.register_collector(Box::new(node::Node(snapshot)));
        let mut written = String::new();
        text::encode_registry(&mut written, &registry)?;
        text::encode_registry(&mut written, &self.registry)?;
        text::encode_eof(&mut written)?;
        Ok(written)
    }
}

impl DraMethod {
    fn label(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Unprepare => "unprepare",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
