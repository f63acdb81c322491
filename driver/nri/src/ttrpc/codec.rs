//! Messages of ttrpc: `u32` length, `u32` stream, both big-endian, `u8` kind, `u8` flags, payload.
//!
//! Pure: bytes in, bytes out. It must never hold more than one message, whatever length the peer
//! announces.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use thiserror::Error;

/// Bytes of a message before its payload.
pub const HEADER_LEN: usize = 10;

/// The longest payload, in bytes (`channel.go`, `messageLengthMax`).
pub const MAX_PAYLOAD: usize = 4 << 20;

/// `PROTOCOL.md` keeps the first byte of a length zero; a length that sets it is none.
const RESERVED_LEN: usize = 1 << 24;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Opens a stream.
    Request,
    /// Answers and ends it.
    Response,
    /// A part of a streaming call.
    Data,
    /// Not defined yet.
    Other(u8),
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The call that it belongs to: odd, since clients open them.
    pub stream: u32,
    /// What it is for.
    pub kind: Kind,
    /// Of streaming calls; 0 otherwise.
    pub flags: u8,
    /// A [`Request`](super::Request) or [`Response`](super::Response).
    pub payload: Bytes,
}

/// What the decoder finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A whole message.
    Message(Message),
    /// A message over [`MAX_PAYLOAD`], which is skipped.
    TooLong {
        /// The call that it belonged to.
        stream: u32,
        /// What it was for.
        kind: Kind,
        /// Its length, in bytes.
        length: usize,
    },
}

/// What cannot be a message.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CodecError {
    /// Ours: it is not sent.
    #[error("a ttrpc message of {length} bytes exceeds the maximum of {MAX_PAYLOAD}")]
    TooLong {
        /// Its length, in bytes.
        length: usize,
    },
    /// The peer's place in the stream is lost.
    #[error(
        "a ttrpc header announces {length} bytes where the maximum is {MAX_PAYLOAD}: \
         the peer does not speak ttrpc or is out of step"
    )]
    OutOfStep {
        /// What the header says, in bytes.
        length: usize,
    },
}

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    skip: usize,
}

impl Decoder {
    /// Takes the next message out of `input`; none when `input` must grow first. After an error
    /// the place in the stream is lost: it cannot be used any further.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Item>, CodecError> {
        let skipped = self.skip.min(input.len());
        input.advance(skipped);
        self.skip -= skipped;
        if input.len() < HEADER_LEN {
            return Ok(None);
        }
        let mut header = &input[..HEADER_LEN];
        let length = header.get_u32() as usize;
        let stream = header.get_u32();
        let kind = Kind::from(header.get_u8());
        let flags = header.get_u8();
        if length >= RESERVED_LEN {
            return Err(CodecError::OutOfStep { length });
        }
        if length > MAX_PAYLOAD {
            input.advance(HEADER_LEN);
            self.skip = length;
            return Ok(Some(Item::TooLong {
                stream,
                kind,
                length,
            }));
        }
        if input.len() < HEADER_LEN + length {
            return Ok(None);
        }
        input.advance(HEADER_LEN);
        let payload = input.split_to(length).freeze();
        Ok(Some(Item::Message(Message {
            stream,
            kind,
            flags,
            payload,
        })))
    }
}

/// The bytes of `message`; an error, and nothing to send, when its payload is over the maximum.
pub fn encode(message: &Message) -> Result<Bytes, CodecError> {
    let length = message.payload.len();
    if length > MAX_PAYLOAD {
        return Err(CodecError::TooLong { length });
    }
    let mut out = BytesMut::with_capacity(HEADER_LEN + length);
    out.put_uint(length as u64, 4);
    out.put_u32(message.stream);
    out.put_u8(message.kind.into());
    out.put_u8(message.flags);
    out.put_slice(&message.payload);
    Ok(out.freeze())
}

impl Message {
    /// A message of a call with one request and one response.
    pub fn unary(stream: u32, kind: Kind, payload: Bytes) -> Self {
        Self {
            stream,
            kind,
            flags: 0,
            payload,
        }
    }
}

impl From<u8> for Kind {
    fn from(byte: u8) -> Self {
        match byte {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Data,
            other => Self::Other(other),
        }
    }
}

impl From<Kind> for u8 {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Request => 1,
            Kind::Response => 2,
            Kind::Data => 3,
            Kind::Other(byte) => byte,
        }
    }
}

#[cfg(test)]
mod tests;
