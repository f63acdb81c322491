//! Frames of the trunk: `u32` stream number, `u32` payload length, both big-endian, payload.
//!
//! Pure: bytes in, bytes out. It must never hold a payload back until it is complete: a stream is
//! a sequence of bytes, and where a frame ends means nothing to it.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use thiserror::Error;

use super::ConnId;

/// Bytes of a frame before its payload.
pub const HEADER_LEN: usize = 8;

/// Some bytes of one stream: a frame's payload, or the part of it that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The stream that they belong to.
    pub conn: ConnId,
    /// Never empty.
    pub bytes: Bytes,
}

/// What cannot be a frame.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// The peer is not an NRI multiplexer, or lost its place.
    #[error(
        "an NRI frame for stream {conn} announces {length} bytes, the limit is {limit}: \
         the peer does not speak NRI or is out of step"
    )]
    TooLong {
        /// The stream that the frame names.
        conn: ConnId,
        /// Its length, in bytes.
        length: usize,
        /// The longest accepted, in bytes.
        limit: usize,
    },
}

/// Cuts what arrives into pieces of streams.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    conn: ConnId,
    remaining: usize,
}

impl Decoder {
    /// A decoder at the start of a frame, which takes payloads of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            conn: 0,
            remaining: 0,
        }
    }

    /// Takes the next piece out of `input`; none when `input` must grow first. After an error the
    /// place in the stream is lost: the trunk cannot be used any further.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, FrameError> {
        while self.remaining == 0 {
            if input.len() < HEADER_LEN {
                return Ok(None);
            }
            self.open(input.get_u32(), input.get_u32() as usize)?;
        }
        if input.is_empty() {
            return Ok(None);
        }
        let bytes = input.split_to(self.remaining.min(input.len())).freeze();
        self.remaining -= bytes.len();
        Ok(Some(Piece {
            conn: self.conn,
            bytes,
        }))
    }

    fn open(&mut self, conn: ConnId, length: usize) -> Result<(), FrameError> {
        if length > self.limit {
            return Err(FrameError::TooLong {
                conn,
                length,
                limit: self.limit,
            });
        }
        self.conn = conn;
        self.remaining = length;
        Ok(())
    }
}

/// Appends `message` to `out` as frames of at most `limit` bytes of payload.
pub fn encode(conn: ConnId, message: &[u8], limit: usize, out: &mut BytesMut) {
    out.reserve(message.len() + HEADER_LEN * message.len().div_ceil(limit));
    for payload in message.chunks(limit) {
        out.put_u32(conn);
        out.put_uint(payload.len() as u64, 4);
        out.put_slice(payload);
    }
}

#[cfg(test)]
mod tests;
