//! The serving side of a stream.
//!
//! Owns the check of what arrives and the way of each answer. It must never wait for a request
//! before it reads the next one, nor leave one without an answer.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::codec::{self, CodecError, Item, Kind, Message};
use super::incoming::Incoming;
use super::rpc::{Code, Request, Response, Status};
use crate::mux::{Conn, Sender};

/// What answers the calls of a stream.
pub trait Service: Send + Sync + 'static {
    /// The response message of `request`, encoded, or why there is none. An unknown service or
    /// method is [`Code::Unimplemented`].
    fn call(&self, request: Request) -> impl Future<Output = Result<Bytes, Status>> + Send;
}

/// Answers the calls on `conn` until the trunk is gone.
///
/// Each call runs in a task of its own. Dropping this future stops taking calls; those under way
/// run to their end and are answered while the trunk lasts, and [`Mux::run`](crate::mux::Mux::run)
/// does not end on this side before they are.
pub async fn serve<S: Service>(conn: Conn, service: Arc<S>) -> Result<(), CodecError> {
    let mut incoming = Incoming::new(conn.receiver);
    let mut last = 0;
    while let Some(item) = incoming.next().await? {
        let (stream, request) = match item {
            Item::Message(message) if message.kind == Kind::Request => {
                (message.stream, accept(message, &mut last))
            }
            Item::TooLong {
                stream,
                kind: Kind::Request,
                length,
            } => (stream, Err(too_long(length))),
            other => {
                tracing::debug!(?other, "only requests are served");
                continue;
            }
        };
        let (sender, service) = (conn.sender.clone(), Arc::clone(&service));
        let call = async move { run(service, request?).await };
        tokio::spawn(answer(sender, stream, call));
    }
    Ok(())
}

/// The request in `message`, if its number is odd and above `last` as `server.go` wants it.
fn accept(message: Message, last: &mut u32) -> Result<Request, Status> {
    let refuse = |text: String| Err(Status::new(Code::InvalidArgument, text));
    let stream = message.stream;
    if stream.is_multiple_of(2) {
        return refuse(format!("stream {stream} must be odd, a client opened it"));
    }
    if stream <= *last {
        return refuse(format!(
            "stream {stream} must be above {last}, the last one opened"
        ));
    }
    *last = stream;
    Request::decode(message.payload)
        .or_else(|error| refuse(format!("not a ttrpc request: {error}")))
}

/// Runs a call in a task of its own: a panic in it is an answer, not a caller that waits.
async fn run<S: Service>(service: Arc<S>, request: Request) -> Result<Bytes, Status> {
    let method = request.method.clone();
    let call = tokio::spawn(async move { service.call(request).await });
    call.await.unwrap_or_else(|error| {
        tracing::error!(method, %error, "the call did not end by itself");
        Err(Status::new(
            Code::Internal,
            format!("{method} failed inside: {error}"),
        ))
    })
}

async fn answer(
    sender: Sender,
    stream: u32,
    call: impl Future<Output = Result<Bytes, Status>> + Send,
) {
    let message = encode(stream, call.await).or_else(|error| {
        let status = Status::new(Code::ResourceExhausted, error.to_string());
        encode(stream, Err(status))
    });
    let sent = match message {
        Ok(bytes) => sender.send(bytes).await.is_ok(),
        Err(_) => false,
    };
    if !sent {
        tracing::debug!(stream, "an answer found the connection closed");
    }
}

fn encode(stream: u32, outcome: Result<Bytes, Status>) -> Result<Bytes, CodecError> {
    let payload = Response::from(outcome).encode_to_vec().into();
    codec::encode(&Message::unary(stream, Kind::Response, payload))
}

fn too_long(length: usize) -> Status {
    Status::new(
        Code::ResourceExhausted,
        CodecError::TooLong { length }.to_string(),
    )
}

#[cfg(test)]
mod tests;
