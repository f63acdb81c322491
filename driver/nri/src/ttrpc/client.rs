//! The calling side of a stream.
//!
//! Owns the numbers of calls and who waits for which answer. It must never make one call wait for
//! another, nor answer a call twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use thiserror::Error;
use tokio::sync::oneshot;

use super::codec::{self, CodecError, Item, Kind, Message};
use super::incoming::Incoming;
use super::rpc::{Code, Request, Response, Status};
use crate::mux::{Closed, Conn, Permit, Receiver, Sender};

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// The peer answered that it failed.
    #[error("{0}")]
    Status(Status),
    /// The peer did not answer in time.
    #[error("{method} was not answered within {after:?}")]
    TimedOut {
        /// What was called.
        method: String,
        /// The time it was given.
        after: Duration,
    },
    /// The connection ended first.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The request is too long to be sent.
    #[error(transparent)]
    TooLong(#[from] CodecError),
    /// The peer answered, but not with a response to this call.
    #[error("the answer to {method} is not a response: {reason}")]
    Garbled {
        /// What was called.
        method: String,
        /// What is wrong with it.
        reason: prost::DecodeError,
    },
}

/// Calls the service at the other end of a stream. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    sender: Sender,
    calls: Arc<Mutex<Calls>>,
}

/// The calls under way.
#[derive(Debug)]
struct Calls {
    /// Odd, and only growing: a server refuses any other.
    next: u32,
    /// None once the connection is gone.
    waiting: Option<HashMap<u32, oneshot::Sender<Message>>>,
}

/// A call under way; dropping it forgets the call.
struct Call<'a> {
    stream: u32,
    answer: oneshot::Receiver<Message>,
    calls: &'a Mutex<Calls>,
}

impl Client {
    /// A client on `conn`. Spawns the task that reads the answers; it ends with the connection.
    pub fn new(conn: Conn) -> Self {
        let waiting = Some(HashMap::new());
        let calls = Arc::new(Mutex::new(Calls { next: 1, waiting }));
        tokio::spawn(read_answers(conn.receiver, Arc::clone(&calls)));
        Self {
            sender: conn.sender,
            calls,
        }
    }

    /// Calls `method` of `service` and waits up to `timeout` for the answer's payload.
    ///
    /// The peer is told the timeout. An answer that comes later is dropped.
    pub async fn call(
        &self,
        service: &str,
        method: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let request = Request {
            service: service.to_owned(),
            method: method.to_owned(),
            payload,
            timeout_nano: i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX),
            metadata: Vec::new(),
        };
        let answer = tokio::time::timeout(timeout, self.exchange(&request)).await;
        let answer = answer.map_err(|_| CallError::TimedOut {
            method: method.to_owned(),
            after: timeout,
        })??;
        let response = Response::decode(answer.payload).map_err(|reason| CallError::Garbled {
            method: method.to_owned(),
            reason,
        })?;
        Result::from(response).map_err(CallError::Status)
    }

    /// [`Client::call`] with messages for payloads.
    pub async fn unary<Reply: prost::Message + Default>(
        &self,
        service: &str,
        method: &str,
        request: &impl prost::Message,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let payload = request.encode_to_vec().into();
        let reply = self.call(service, method, payload, timeout).await?;
        Reply::decode(reply).map_err(|reason| CallError::Garbled {
            method: method.to_owned(),
            reason,
        })
    }

    async fn exchange(&self, request: &Request) -> Result<Message, CallError> {
        let payload = Bytes::from(request.encode_to_vec());
        let permit = self.sender.reserve().await?;
        let mut call = self.open(permit, payload)?;
        Ok((&mut call.answer).await.map_err(|_| Closed)?)
    }

    /// Numbers the call and sends it in one step, so that numbers grow on the wire too.
    fn open(&self, permit: Permit<'_>, payload: Bytes) -> Result<Call<'_>, CallError> {
        let mut calls = lock(&self.calls);
        let stream = calls.next;
        let bytes = codec::encode(&Message::unary(stream, Kind::Request, payload))?;
        let (answered, answer) = oneshot::channel();
        calls
            .waiting
            .as_mut()
            .ok_or(Closed)?
            .insert(stream, answered);
        // As ttrpc in Go, which gives up here too: after two thousand million calls.
        calls.next = stream.wrapping_add(2);
        permit.send(bytes);
        Ok(Call {
            stream,
            answer,
            calls: &self.calls,
        })
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = &mut lock(self.calls).waiting {
            waiting.remove(&self.stream);
        }
    }
}

async fn read_answers(receiver: Receiver, calls: Arc<Mutex<Calls>>) {
    let mut incoming = Incoming::new(receiver);
    loop {
        match incoming.next().await {
            Ok(Some(item)) => answer(item, &calls),
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "the answers of the peer cannot be read any further");
                break;
            }
        }
    }
    lock(&calls).waiting = None;
}

fn answer(item: Item, calls: &Mutex<Calls>) {
    let answer = match item {
        Item::Message(message) => message,
        Item::TooLong { stream, length, .. } => too_long(stream, length),
    };
    let waiting = lock(calls)
        .waiting
        .as_mut()
        .and_then(|waiting| waiting.remove(&answer.stream));
    match waiting {
        // A call that is forgotten meanwhile drops its answer.
        Some(call) if answer.kind == Kind::Response => _ = call.send(answer),
        Some(call) => _ = call.send(not_a_response(&answer)),
        None => tracing::debug!(stream = answer.stream, "an answer that nobody waits for"),
    }
}

fn too_long(stream: u32, length: usize) -> Message {
    let text = CodecError::TooLong { length }.to_string();
    failed(stream, Status::new(Code::ResourceExhausted, text))
}

fn not_a_response(answer: &Message) -> Message {
    let text = format!(
        "a message of kind {:?} where a response was expected",
        answer.kind
    );
    failed(answer.stream, Status::new(Code::Internal, text))
}

/// The answer that the peer should have sent.
fn failed(stream: u32, status: Status) -> Message {
    let payload = Response::from(Err(status)).encode_to_vec().into();
    Message::unary(stream, Kind::Response, payload)
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
