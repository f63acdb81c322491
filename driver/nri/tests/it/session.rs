//! Whole sessions, of both generations.

use std::time::Duration;

use nri_client::api::{
    ConfigureRequest, Container, CreateContainerRequest, CreateContainerResponse, Empty, Event,
    PodSandbox, RegisterPluginRequest, RunPodSandboxRequest, SynchronizeRequest,
    SynchronizeResponse, UpdatePodSandboxRequest,
};
use nri_client::ttrpc::{CallError, Code};
use nri_client::{Runtime, SessionError};
use tokio::time::timeout;

use crate::runtime::{Asked, Generation, Registrar, SOON, Session, call, pod};

const GENERATIONS: [Generation; 2] = [Generation::StateChange, Generation::Dedicated];

#[tokio::test]
async fn the_plugin_introduces_itself() {
    let mut session = Session::begin(Registrar::Accepts);
    let registration = timeout(SOON, session.registered.recv())
        .await
        .expect("in time");
    let expected = RegisterPluginRequest {
        plugin_name: "recorder".into(),
        plugin_idx: "42".into(),
        nri_version: "v0.12.2".into(),
    };
    assert_eq!(registration, Some(expected));
}

#[tokio::test]
async fn the_runtime_introduces_itself_and_learns_the_events() {
    async fn check(request: ConfigureRequest, registration: u64, answer: u64) {
        let mut session = Session::registered().await;
        let response = session.configure(request.clone()).await;
        assert_eq!(response.events, 0b1111);
        let runtime = Runtime {
            name: request.runtime_name,
            version: request.runtime_version,
            nri_version: request.nri_version,
            config: request.config,
            registration_timeout: Duration::from_millis(registration),
            request_timeout: Duration::from_millis(answer),
        };
        assert_eq!(session.next().await, Asked::Configure(runtime));
    }
    check(ConfigureRequest::default(), 5_000, 2_000).await;
    let request = ConfigureRequest {
        config: "key: value".into(),
        runtime_name: "containerd".into(),
        runtime_version: "v2.4.2".into(),
        registration_timeout: 7_000,
        request_timeout: 1_500,
        nri_version: "v0.12.2".into(),
    };
    check(request, 7_000, 1_500).await;
}

#[tokio::test]
async fn a_pods_life_is_the_same_in_both_generations() {
    for generation in GENERATIONS {
        let mut session = Session::registered().await;
        for event in [
            Event::RunPodSandbox,
            Event::StopPodSandbox,
            Event::RemovePodSandbox,
        ] {
            session
                .pod_event(generation, event, pod("a"))
                .await
                .expect("served");
        }
        let asked = [
            session.next().await,
            session.next().await,
            session.next().await,
            session.next().await,
        ];
        let name = || "a".to_owned();
        let expected = [
            Asked::Run(name()),
            Asked::Ran(name()),
            Asked::Stop(name()),
            Asked::Remove(name()),
        ];
        assert_eq!(asked, expected, "{generation:?}");
    }
}

#[tokio::test]
async fn a_refusal_reaches_the_runtime_in_its_words() {
    for generation in GENERATIONS {
        let session = Session::registered().await;
        let refused = PodSandbox {
            uid: "no eth1 on this node".into(),
            ..pod("refused")
        };
        let outcome = session
            .pod_event(generation, Event::RunPodSandbox, refused)
            .await;
        let status = outcome.expect_err("refused");
        assert_eq!(status.message, "no eth1 on this node", "{generation:?}");
        assert_eq!(status.code, i32::from(Code::Unknown), "{generation:?}");
    }
}

#[tokio::test]
async fn events_that_nobody_subscribed_to_are_let_pass() {
    let mut session = Session::registered().await;
    let stray = session
        .pod_event(Generation::StateChange, Event::StartContainer, pod("a"))
        .await;
    assert_eq!(stray, Ok(()));
    let Empty {} = session.call("Shutdown", &Empty {}).await.expect("served");
    assert_eq!(session.next().await, Asked::Shutdown);
}

#[tokio::test]
async fn a_container_is_created_as_it_was() {
    let mut session = Session::registered().await;
    let container = Container {
        id: "c".into(),
        ..Container::default()
    };
    let request = CreateContainerRequest {
        pod: Some(pod("a")),
        container: Some(container),
    };
    let response = session.call("CreateContainer", &request).await;
    assert_eq!(response, Ok(CreateContainerResponse::default()));
    assert_eq!(session.next().await, Asked::Create("a".into(), "c".into()));
}

#[tokio::test]
async fn synchronize_in_parts_is_delivered_once_and_again_in_the_next_round() {
    let mut session = Session::registered().await;
    let part = |pods: &[&str], containers: &[&str], more| SynchronizeRequest {
        pods: pods.iter().map(|name| pod(name)).collect(),
        containers: containers
            .iter()
            .map(|&id| Container {
                id: id.into(),
                ..Container::default()
            })
            .collect(),
        more,
    };
    for request in [
        part(&["a"], &["c"], true),
        part(&["b"], &[], true),
        part(&[], &["d"], false),
    ] {
        let more = request.more;
        let response = session.call("Synchronize", &request).await;
        assert_eq!(
            response,
            Ok(SynchronizeResponse {
                update: Vec::new(),
                more
            })
        );
    }
    let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    let expected = Asked::Synchronize(names(["a", "b"]), names(["c", "d"]));
    assert_eq!(session.next().await, expected);

    let _: SynchronizeResponse = session
        .call("Synchronize", &part(&["e"], &[], false))
        .await
        .expect("served");
    assert_eq!(
        session.next().await,
        Asked::Synchronize(vec!["e".into()], Vec::new())
    );
}

#[tokio::test]
async fn what_is_not_served_is_unimplemented() {
    let session = Session::registered().await;
    let update = UpdatePodSandboxRequest {
        pod: Some(pod("a")),
        ..Default::default()
    };
    let status = session
        .call::<Empty>("UpdatePodSandbox", &update)
        .await
        .expect_err("unknown");
    assert_eq!(status.code, 12, "{status}");

    let elsewhere = "nri.pkg.api.v2.Plugin";
    let outcome = session
        .client
        .unary::<Empty>(elsewhere, "RunPodSandbox", &Empty {}, SOON)
        .await;
    let Err(CallError::Status(status)) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(status.code, 12, "{status}");
}

#[tokio::test]
async fn a_request_without_its_pod_is_refused() {
    let session = Session::registered().await;
    let request = RunPodSandboxRequest { pod: None };
    let status = session
        .call::<Empty>("RunPodSandbox", &request)
        .await
        .expect_err("no pod");
    assert_eq!(status.code, i32::from(Code::InvalidArgument), "{status}");
}

#[tokio::test]
async fn a_slow_request_keeps_no_other_waiting() {
    let mut session = Session::registered().await;
    let client = session.client.clone();
    let slow = tokio::spawn(async move {
        let request = RunPodSandboxRequest {
            pod: Some(pod("slow")),
        };
        call::<Empty>(&client, "RunPodSandbox", &request).await
    });
    assert_eq!(session.next().await, Asked::Run("slow".into()));
    let fast = session
        .pod_event(Generation::Dedicated, Event::RunPodSandbox, pod("fast"))
        .await;
    assert_eq!(fast, Ok(()));
    assert!(!slow.is_finished());
    session.let_go.notify_one();
    assert!(
        timeout(SOON, slow)
            .await
            .expect("in time")
            .expect("no panic")
            .is_ok()
    );
}

/// The runtime of these tests ends the trunk at a frame of more than 4,096 bytes, and sends this
/// request as one frame.
#[tokio::test]
async fn three_hundred_kibibytes_pass_both_ways() {
    let session = Session::registered().await;
    let words = "no ".repeat(100 << 10);
    let refused = PodSandbox {
        uid: words.clone(),
        ..pod("refused")
    };
    let outcome = session
        .pod_event(Generation::Dedicated, Event::RunPodSandbox, refused)
        .await;
    assert!(outcome.expect_err("refused").message == words);
}

#[tokio::test]
async fn a_runtime_that_goes_ends_the_session_and_no_request() {
    let mut session = Session::registered().await;
    let client = session.client.clone();
    tokio::spawn(async move {
        let request = RunPodSandboxRequest {
            pod: Some(pod("slow")),
        };
        drop(
            client
                .unary::<Empty>(
                    nri_client::api::PLUGIN_SERVICE,
                    "RunPodSandbox",
                    &request,
                    SOON,
                )
                .await,
        );
    });
    assert_eq!(session.next().await, Asked::Run("slow".into()));
    session.trunk.abort();
    let ended = timeout(SOON, &mut session.ended)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(matches!(ended, Err(SessionError::Closed)), "{ended:?}");
    session.let_go.notify_one();
    assert_eq!(session.next().await, Asked::Ran("slow".into()));
}

#[tokio::test]
async fn a_runtime_that_goes_before_registration_is_told_apart() {
    let mut session = Session::begin(Registrar::Sleeps);
    session.registered.recv().await.expect("a registration");
    session.trunk.abort();
    let ended = session.end().await.expect_err("the runtime is gone");
    assert!(
        matches!(ended, SessionError::NotRegistered { .. }),
        "{ended:?}"
    );
    let text = ended.to_string();
    assert!(
        text.contains("42-recorder: the NRI connection is closed"),
        "{text}"
    );
}

#[tokio::test]
async fn a_refused_registration_ends_the_session() {
    let session = Session::begin(Registrar::Refuses);
    let text = session.end().await.expect_err("refused").to_string();
    assert!(
        text.contains("refused") && text.contains("42-recorder: invalid plugin name"),
        "{text}"
    );
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_ends_without_an_error() {
    let mut session = Session::registered().await;
    let client = session.client.clone();
    let slow = tokio::spawn(async move {
        let request = RunPodSandboxRequest {
            pod: Some(pod("slow")),
        };
        call::<Empty>(&client, "RunPodSandbox", &request).await
    });
    assert_eq!(session.next().await, Asked::Run("slow".into()));
    session.stop.send(()).expect("a session");
    session.let_go.notify_one();
    assert!(
        timeout(SOON, slow)
            .await
            .expect("in time")
            .expect("no panic")
            .is_ok()
    );
    let ended = timeout(SOON, session.ended)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test]
async fn a_dropped_session_closes_the_trunk() {
    let session = Session::registered().await;
    session.ended.abort();
    let trunk = timeout(SOON, session.trunk)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(trunk.expect("no error"), nri_client::mux::End::Peer);
}
