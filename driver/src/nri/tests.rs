use super::*;
use crate::host::Linux;

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

#[tokio::test]
async fn an_answer_has_three_quarters_of_what_the_runtime_waits() {
    let pods = Pods::<Linux>::new();
    let given = || {
        let asked = Instant::now();
        let given = pods.deadline() - asked;
        given.saturating_sub(asked.elapsed())..=given
    };
    let check = |seconds| {
        let given = given();
        assert!(
            given.contains(&Duration::from_secs_f64(seconds)),
            "{given:?}"
        );
    };
    check(1.5);
    let runtime = Runtime {
        name: "containerd".to_owned(),
        version: String::new(),
        nri_version: String::new(),
        config: String::new(),
        registration_timeout: Duration::ZERO,
        request_timeout: Duration::from_secs(10),
    };
    pods.configure(runtime).await.unwrap();
    check(7.5);
}
