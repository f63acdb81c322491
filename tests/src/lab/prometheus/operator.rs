//! What Prometheus' operator makes of a `PodMonitor`.
//!
//! Pure. Knows the fields that the chart uses and refuses every other, so that none is left out
//! unseen.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct PodMonitor {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    selector: Selector,
    pod_metrics_endpoints: [Endpoint; 1],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selector {
    match_labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Endpoint {
    path: String,
    interval: String,
    honor_labels: bool,
    relabelings: Vec<Relabeling>,
}

/// In camel case in a `PodMonitor`, in snake case in a configuration.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all(deserialize = "camelCase"), deny_unknown_fields)]
struct Relabeling {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    source_labels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replacement: Option<String>,
}

/// The job of a scrape configuration, as `generatePodMonitorConfig` in the operator's
/// `pkg/prometheus/promcfg.go` writes it.
pub(super) fn job(monitor: &str) -> Result<Value> {
    let monitor = serde_saphyr::from_str(monitor).context("the PodMonitor")?;
    let PodMonitor { metadata, spec } = monitor;
    let Metadata { name, namespace } = metadata;
    let [endpoint] = spec.pod_metrics_endpoints;
    let mut relabelings = vec![filter(
        "drop",
        &["__meta_kubernetes_pod_phase"],
        "(Failed|Succeeded)",
    )];
    relabelings.extend(spec.selector.match_labels.iter().map(selected));
    relabelings.extend([
        label("__meta_kubernetes_namespace", "namespace"),
        label("__meta_kubernetes_pod_container_name", "container"),
        label("__meta_kubernetes_pod_name", "pod"),
        Relabeling {
            target_label: Some("job".to_owned()),
            replacement: Some(format!("{namespace}/{name}")),
            ..Relabeling::default()
        },
    ]);
    relabelings.extend(endpoint.relabelings);
    Ok(json!({
        "job_name": format!("podMonitor/{namespace}/{name}/0"),
        "honor_labels": endpoint.honor_labels,
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": [namespace]}}],
        "scrape_interval": endpoint.interval,
        "metrics_path": endpoint.path,
        "relabel_configs": relabelings,
    }))
}

fn selected((label, value): (&String, &String)) -> Relabeling {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let label = label.replace(|c| !plain(c), "_");
    let value_of = format!("__meta_kubernetes_pod_label_{label}");
    let presence_of = format!("__meta_kubernetes_pod_labelpresent_{label}");
    filter(
        "keep",
        &[&value_of, &presence_of],
        &format!("({value});true"),
    )
}

fn filter(action: &str, labels: &[&str], regex: &str) -> Relabeling {
    Relabeling {
        source_labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        action: Some(action.to_owned()),
        regex: Some(regex.to_owned()),
        ..Relabeling::default()
    }
}

fn label(from: &str, to: &str) -> Relabeling {
    Relabeling {
        source_labels: vec![from.to_owned()],
        target_label: Some(to.to_owned()),
        ..Relabeling::default()
    }
}

#[cfg(test)]
mod tests;
