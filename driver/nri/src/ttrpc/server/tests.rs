use std::time::Duration;

use tokio::io::duplex;
use tokio::task::JoinHandle;

use super::*;
use crate::mux::{self, Limits};

/// Answers with the request's payload, or misbehaves as the method says.
struct Echo;

impl Service for Echo {
    async fn call(&self, request: Request) -> Result<Bytes, Status> {
        match request.method.as_str() {
            "panic" => panic!("as it was told"),
            "long" => Ok(vec![0; codec::MAX_PAYLOAD].into()),
            _ => Ok(request.payload),
        }
    }
}

/// A served stream, and its other end to call by hand.
struct Peer {
    incoming: Incoming,
    sender: Sender,
    served: JoinHandle<Result<(), CodecError>>,
}

impl Peer {
    fn connect() -> Self {
        let (ours, theirs) = duplex(64 << 10);
        let (near, [near_conn]) = mux::split(ours, [mux::PLUGIN], Limits::default());
        let (far, [far_conn]) = mux::split(theirs, [mux::PLUGIN], Limits::default());
        tokio::spawn(near.run());
        tokio::spawn(far.run());
        let served = tokio::spawn(serve(near_conn, Arc::new(Echo)));
        Self {
            incoming: Incoming::new(far_conn.receiver),
            sender: far_conn.sender,
            served,
        }
    }

    async fn send(&self, stream: u32, kind: Kind, payload: Vec<u8>) {
        let message = Message::unary(stream, kind, payload.into());
        let bytes = codec::encode(&message).expect("short");
        self.sender.send(bytes).await.expect("open");
    }

    async fn send_too_long(&self, stream: u8, kind: Kind) {
        let mut wire = vec![0, 0x40, 0, 1, 0, 0, 0, stream, kind.into(), 0];
        wire.resize(wire.len() + codec::MAX_PAYLOAD + 1, 0);
        self.sender.send(wire.into()).await.expect("open");
    }

    async fn request(&self, stream: u32, method: &str) {
        let request = Request {
            method: method.to_owned(),
            payload: "ping".into(),
            ..Request::default()
        };
        self.send(stream, Kind::Request, request.encode_to_vec())
            .await;
    }

    async fn answered(&mut self) -> (u32, Result<Bytes, Status>) {
        let item = tokio::time::timeout(Duration::from_secs(10), self.incoming.next()).await;
        let Ok(Ok(Some(Item::Message(message)))) = item else {
            panic!("a response was expected: {item:?}");
        };
        assert_eq!((message.kind, message.flags), (Kind::Response, 0));
        let response = Response::decode(message.payload).expect("a response");
        (message.stream, response.into())
    }

    /// The next answer refuses `stream` with `code` in words with `text`.
    async fn refused(&mut self, stream: u32, code: Code, text: &str) {
        let (answered, outcome) = self.answered().await;
        let status = outcome.expect_err("a refusal");
        assert_eq!((answered, status.code), (stream, code.into()), "{status}");
        assert!(status.message.contains(text), "{status}");
    }

    async fn serves_on(&mut self, stream: u32) {
        self.request(stream, "echo").await;
        assert_eq!(self.answered().await, (stream, Ok("ping".into())));
    }
}

#[tokio::test]
async fn streams_must_be_odd_and_grow() {
    let mut peer = Peer::connect();
    peer.serves_on(5).await;
    peer.request(5, "echo").await;
    peer.refused(5, Code::InvalidArgument, "above 5").await;
    peer.request(3, "echo").await;
    peer.refused(3, Code::InvalidArgument, "above 5").await;
    peer.request(8, "echo").await;
    peer.refused(8, Code::InvalidArgument, "odd").await;
    peer.serves_on(7).await;
}

#[tokio::test]
async fn garbage_in_a_request_is_refused() {
    let mut peer = Peer::connect();
    peer.send(1, Kind::Request, b"\xff\xff\xff".to_vec()).await;
    peer.refused(1, Code::InvalidArgument, "not a ttrpc request")
        .await;
    peer.serves_on(3).await;
}

#[tokio::test]
async fn other_kinds_of_messages_are_ignored() {
    let mut peer = Peer::connect();
    peer.send(1, Kind::Data, b"part".to_vec()).await;
    peer.send(1, Kind::Response, b"answer".to_vec()).await;
    peer.send(1, Kind::Other(9), b"news".to_vec()).await;
    peer.send_too_long(1, Kind::Response).await;
    peer.serves_on(1).await;
}

#[tokio::test]
async fn a_request_over_the_maximum_is_refused() {
    let mut peer = Peer::connect();
    peer.send_too_long(1, Kind::Request).await;
    peer.refused(1, Code::ResourceExhausted, "4194305 bytes")
        .await;
    peer.serves_on(3).await;
}

#[tokio::test]
async fn a_response_over_the_maximum_is_an_error_in_its_place() {
    let mut peer = Peer::connect();
    peer.request(1, "long").await;
    peer.refused(1, Code::ResourceExhausted, "exceeds the maximum")
        .await;
    peer.serves_on(3).await;
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let mut peer = Peer::connect();
    peer.request(1, "panic").await;
    peer.refused(1, Code::Internal, "panic failed inside").await;
    peer.serves_on(3).await;
}

#[tokio::test]
async fn lost_step_ends_the_server() {
    let peer = Peer::connect();
    peer.sender
        .send("nonsense".repeat(2).into())
        .await
        .expect("open");
    let ended = peer.served.await.expect("no panic");
    assert!(
        matches!(ended, Err(CodecError::OutOfStep { .. })),
        "{ended:?}"
    );
}
