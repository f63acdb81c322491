//! What the operator's own tests show, in small.

use serde_json::json;

use super::job;

const MONITOR: &str = r"
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: driver, namespace: system}
spec:
  selector:
    matchLabels: {app.kubernetes.io/name: netclaim}
  podMetricsEndpoints:
    - path: /metrics
      interval: 30s
      honorLabels: true
      relabelings:
        - sourceLabels: [__meta_kubernetes_pod_node_name]
          targetLabel: node
        - action: labeldrop
          regex: pod
";

#[test]
fn a_pod_monitor_becomes_a_job() {
    let expected = json!({
        "job_name": "podMonitor/system/driver/0",
        "honor_labels": true,
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": ["system"]}}],
        "scrape_interval": "30s",
        "metrics_path": "/metrics",
        "relabel_configs": [
            {
                "source_labels": ["__meta_kubernetes_pod_phase"],
                "action": "drop",
                "regex": "(Failed|Succeeded)",
            },
            {
                "source_labels": [
                    "__meta_kubernetes_pod_label_app_kubernetes_io_name",
                    "__meta_kubernetes_pod_labelpresent_app_kubernetes_io_name",
                ],
                "action": "keep",
                "regex": "(netclaim);true",
            },
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {
                "source_labels": ["__meta_kubernetes_pod_container_name"],
                "target_label": "container",
            },
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            {"target_label": "job", "replacement": "system/driver"},
            {"source_labels": ["__meta_kubernetes_pod_node_name"], "target_label": "node"},
            {"action": "labeldrop", "regex": "pod"},
        ],
    });
    assert_eq!(job(MONITOR).unwrap(), expected);
}

#[test]
fn a_field_that_is_not_known_is_refused() {
    let monitor = MONITOR.replace(
        "honorLabels: true",
        "honorLabels: true\n      port: metrics",
    );
    let error = format!("{:#}", job(&monitor).unwrap_err());
    assert!(error.contains("unknown field `port`"), "{error}");
}
