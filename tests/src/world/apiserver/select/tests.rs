use serde_json::json;

use super::Selector;

#[track_caller]
fn check(labels: &str, fields: &str, expected: bool) {
    let object = json!({
        "metadata": {"name": "a", "namespace": "default", "labels": {"app": "demo"}},
        "spec": {"nodeName": "kind-worker"},
    });
    let selector = Selector::parse(None, Some(labels), Some(fields)).unwrap();
    assert_eq!(selector.matches(&object), expected, "{labels} {fields}");
}

#[test]
fn selectors_mean_what_kubernetes_says() {
    check("", "", true);
    check("app=demo", "", true);
    check("app==demo,app", "", true);
    check("app!=demo", "", false);
    check("!app", "", false);
    check("!tier,tier!=x", "", true);
    check("", "spec.nodeName=kind-worker,metadata.name=a", true);
    check("", "spec.nodeName!=kind-worker", false);
    check("", "spec.nodeName=", false);
    check("", "spec.driver=", true);
}

#[test]
fn unknown_fields_and_syntax_are_refused() {
    let refused = |labels, fields| {
        Selector::parse(None, Some(labels), Some(fields))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused("", "spec.pool.name=a"),
        "field label not supported: spec.pool.name"
    );
    assert_eq!(
        refused("app in (a,b)", ""),
        "the world does not understand the selector \"app in (a\""
    );
}
