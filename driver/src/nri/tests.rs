use super::*;

fn check(uid: &str, source: Option<&str>, expected: bool) {
    let pod = api::PodSandbox {
        id: "sandbox".to_owned(),
        name: "pod".to_owned(),
        namespace: "default".to_owned(),
        uid: uid.to_owned(),
        annotations: source
            .map(|source| (SOURCE.to_owned(), source.to_owned()))
            .into_iter()
            .collect(),
        ..api::PodSandbox::default()
    };
    assert_eq!(sandbox(&pod).is_some(), expected, "{uid:?} of {source:?}");
}

#[test]
fn pods_of_the_api_server_are_ours_to_look_at_and_static_ones_are_not() {
    check("pod-uid", Some("api"), true);
    check("pod-uid", None, true);
    check("", Some("api"), false);
    check("pod-uid", Some("file"), false);
    check("pod-uid", Some("http"), false);
}
