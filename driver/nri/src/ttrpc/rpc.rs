//! What a ttrpc message carries: `Request` and `Response` of `request.proto`, and gRPC's `Status`.
//!
//! Written by hand: three small messages do not pay for a second generated file. They must never
//! say more than the files they come from.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// A call.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// The service's full name.
    #[prost(string, tag = "1")]
    pub service: String,
    /// The method's name.
    #[prost(string, tag = "2")]
    pub method: String,
    /// The method's request message.
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
    /// How long the caller waits, in nanoseconds; 0: for ever.
    #[prost(int64, tag = "4")]
    pub timeout_nano: i64,
    /// What the caller adds.
    #[prost(message, repeated, tag = "5")]
    pub metadata: Vec<KeyValue>,
}

/// The answer to a call.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// Absent, or of code 0, when the call succeeded.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// The method's response message.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: Bytes,
}

/// An entry of a call's metadata.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct KeyValue {
    /// Its key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `google.rpc.Status`: why a call failed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// A [`Code`], as a number: a peer may send one that is not listed.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For a human.
    #[prost(string, tag = "2")]
    pub message: String,
    /// For a machine.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`: a message with its type's name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Any {
    /// The type's name.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `google.rpc.Code`: what kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(
    missing_docs,
    reason = "gRPC's names: https://grpc.io/docs/guides/status-codes/"
)]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Request {
    /// How long the caller waits; none: for ever.
    pub fn timeout(&self) -> Option<Duration> {
        let nanos = u64::try_from(self.timeout_nano).ok()?;
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }
}

impl Status {
    /// A failure of kind `code`, explained to a human by `message`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            details: Vec::new(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Code::try_from(self.code) {
            Ok(code) => write!(f, "{} ({code:?})", self.message),
            Err(_) => write!(f, "{} (code {})", self.message, self.code),
        }
    }
}

impl std::error::Error for Status {}

impl From<Result<Bytes, Status>> for Response {
    fn from(outcome: Result<Bytes, Status>) -> Self {
        match outcome {
            Ok(payload) => Self {
                status: None,
                payload,
            },
            Err(status) => Self {
                status: Some(status),
                payload: Bytes::new(),
            },
        }
    }
}

impl From<Response> for Result<Bytes, Status> {
    fn from(response: Response) -> Self {
        match response.status {
            Some(status) if status.code != i32::from(Code::Ok) => Err(status),
            _ => Ok(response.payload),
        }
    }
}

#[cfg(test)]
mod tests;
