use std::collections::BTreeSet;

use tokio::io::duplex;

use super::*;
use crate::mux::{self, Limits};

const SOON: Duration = Duration::from_secs(10);

/// A client, and the other end of its stream to answer by hand.
fn opened() -> (Client, Incoming, Sender) {
    let (ours, theirs) = duplex(64 << 10);
    let (near, [near_conn]) = mux::split(ours, [mux::RUNTIME], Limits::default());
    let (far, [far_conn]) = mux::split(theirs, [mux::RUNTIME], Limits::default());
    tokio::spawn(near.run());
    tokio::spawn(far.run());
    (
        Client::new(near_conn),
        Incoming::new(far_conn.receiver),
        far_conn.sender,
    )
}

async fn next(incoming: &mut Incoming) -> (u32, Request) {
    let item = tokio::time::timeout(SOON, incoming.next()).await;
    let Ok(Ok(Some(Item::Message(message)))) = item else {
        panic!("a request was expected: {item:?}");
    };
    assert_eq!((message.kind, message.flags), (Kind::Request, 0));
    (
        message.stream,
        Request::decode(message.payload).expect("a request"),
    )
}

async fn answer_with(sender: &Sender, stream: u32, kind: Kind, payload: Bytes) {
    let message = Message::unary(stream, kind, payload);
    sender
        .send(codec::encode(&message).expect("short"))
        .await
        .expect("open");
}

fn succeeded(payload: Bytes) -> Bytes {
    Response::from(Ok(payload)).encode_to_vec().into()
}

#[tokio::test]
async fn streams_are_odd_and_grow_and_answers_find_their_calls() {
    let (client, mut incoming, sender) = opened();
    let calls: Vec<_> = (0..50)
        .map(|index: u32| {
            let client = client.clone();
            let payload = Bytes::from(index.to_string());
            tokio::spawn(async move {
                let answer = client.call("s", "echo", payload.clone(), SOON).await;
                assert_eq!(answer.expect("answered"), payload);
            })
        })
        .collect();
    let mut requests = Vec::new();
    for turn in 0..50 {
        let (stream, request) = next(&mut incoming).await;
        assert_eq!(stream, 2 * turn + 1);
        assert_eq!(request.timeout(), Some(SOON));
        requests.push((stream, request.payload));
    }
    for (stream, payload) in requests.into_iter().rev() {
        answer_with(&sender, stream, Kind::Response, succeeded(payload)).await;
    }
    for call in calls {
        call.await.expect("the right answer");
    }
}

#[tokio::test]
async fn a_late_answer_is_nobodys() {
    let (client, mut incoming, sender) = opened();
    let short = Duration::from_millis(20);
    let error = client
        .call("s", "slow", Bytes::new(), short)
        .await
        .expect_err("no answer");
    assert_eq!(error.to_string(), "slow was not answered within 20ms");
    let (stream, _) = next(&mut incoming).await;
    answer_with(&sender, stream, Kind::Response, succeeded("late".into())).await;
    let call = tokio::spawn(async move { client.call("s", "m", Bytes::new(), SOON).await });
    let (stream, _) = next(&mut incoming).await;
    answer_with(&sender, stream, Kind::Response, succeeded("fresh".into())).await;
    assert_eq!(call.await.expect("no panic").expect("answered"), "fresh");
}

#[tokio::test]
async fn what_is_not_a_response_fails_its_call_only() {
    let (client, mut incoming, sender) = opened();
    let (data, garbage, long) = tokio::join!(
        client.call("s", "data", Bytes::new(), SOON),
        client.call("s", "garbage", Bytes::new(), SOON),
        async {
            let mut streams = BTreeSet::new();
            for _ in 0..2 {
                let (stream, request) = next(&mut incoming).await;
                streams.insert(stream);
                let kind = if request.method == "data" {
                    Kind::Data
                } else {
                    Kind::Response
                };
                answer_with(&sender, stream, kind, Bytes::from_static(b"\xff\xff")).await;
            }
            streams
        },
    );
    assert!(matches!(data, Err(CallError::Status(_))), "{data:?}");
    assert!(
        matches!(garbage, Err(CallError::Garbled { .. })),
        "{garbage:?}"
    );
    assert_eq!(long, BTreeSet::from([1, 3]));
}

#[tokio::test]
async fn a_request_over_the_maximum_is_not_sent() {
    let (client, mut incoming, sender) = opened();
    let payload = Bytes::from(vec![0; codec::MAX_PAYLOAD]);
    let error = client
        .call("s", "m", payload, SOON)
        .await
        .expect_err("too long");
    assert!(matches!(error, CallError::TooLong(_)), "{error:?}");
    let call = tokio::spawn(async move { client.call("s", "m", Bytes::new(), SOON).await });
    let (stream, _) = next(&mut incoming).await;
    assert_eq!(stream, 1, "a call that is not sent takes no number");
    answer_with(&sender, stream, Kind::Response, succeeded(Bytes::new())).await;
    assert!(call.await.expect("no panic").is_ok());
}

#[tokio::test]
async fn the_end_of_the_connection_ends_calls_under_way_and_later_ones() {
    let (client, incoming, sender) = opened();
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.call("s", "m", Bytes::new(), SOON).await });
    drop((incoming, sender));
    let error = call.await.expect("no panic").expect_err("no answer");
    assert!(matches!(error, CallError::Closed(_)), "{error:?}");
    let error = client
        .call("s", "m", Bytes::new(), SOON)
        .await
        .expect_err("closed");
    assert!(matches!(error, CallError::Closed(_)), "{error:?}");
}
