use std::collections::BTreeMap;

use bytes::{BufMut as _, BytesMut};
use proptest::prelude::*;

use super::*;

/// Feeds `wire` in parts of the given lengths, over and over, and puts the streams together.
fn decode(wire: &[u8], cuts: &[usize], limit: usize) -> Result<Streams, FrameError> {
    let mut decoder = Decoder::new(limit);
    let mut input = BytesMut::new();
    let mut streams = Streams::new();
    let mut rest = wire;
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, after) = rest.split_at((*cut).min(rest.len()));
        rest = after;
        input.put_slice(part);
        while let Some(piece) = decoder.decode(&mut input)? {
            assert!(!piece.bytes.is_empty());
            streams.entry(piece.conn).or_default().extend(piece.bytes);
        }
    }
    Ok(streams)
}

type Streams = BTreeMap<ConnId, Vec<u8>>;

#[test]
fn a_message_is_cut_at_the_limit() {
    let mut wire = BytesMut::new();
    encode(2, b"abcdefg", 3, &mut wire);
    let expected = b"\0\0\0\x02\0\0\0\x03abc\0\0\0\x02\0\0\0\x03def\0\0\0\x02\0\0\0\x01g";
    assert_eq!(&wire[..], expected);
}

#[test]
fn pieces_are_delivered_before_their_frame_is_complete() {
    let mut decoder = Decoder::new(100);
    let mut input = BytesMut::from(&b"\0\0\0\x01\0\0\0\x05ab"[..]);
    let piece = |bytes: &'static [u8]| Piece {
        conn: 1,
        bytes: bytes.into(),
    };
    assert_eq!(decoder.decode(&mut input), Ok(Some(piece(b"ab"))));
    assert_eq!(decoder.decode(&mut input), Ok(None));
    input.put_slice(b"cde\0\0\0");
    assert_eq!(decoder.decode(&mut input), Ok(Some(piece(b"cde"))));
    assert_eq!(decoder.decode(&mut input), Ok(None));
}

#[test]
fn a_frame_over_the_limit_is_refused_from_its_header() {
    let wire = b"\0\0\0\x01\0\0\x10\x00";
    assert_eq!(decode(wire, &[8], 4096), Ok(Streams::new()));
    let error = FrameError::TooLong {
        conn: 1,
        length: 4096,
        limit: 4095,
    };
    assert_eq!(decode(wire, &[8], 4095), Err(error));
    assert!(decode(b"HTTP/1.1 400 Bad Request\r\n\r\n", &[7], (16 << 20) + 10).is_err());
}

proptest! {
    #[test]
    fn streams_survive_any_frames_and_any_fragmentation(
        messages in prop::collection::vec((0u32..5, prop::collection::vec(any::<u8>(), 0..300)), 0..20),
        cuts in prop::collection::vec(1usize..40, 1..10),
        limit in 1usize..64,
    ) {
        let mut wire = BytesMut::new();
        let mut expected = Streams::new();
        for (conn, message) in &messages {
            encode(*conn, message, limit, &mut wire);
            wire.put_slice(&[0, 0, 0, 9, 0, 0, 0, 0]); // an empty frame means nothing
            if !message.is_empty() {
                expected.entry(*conn).or_default().extend(message);
            }
        }
        prop_assert_eq!(decode(&wire, &cuts, limit), Ok(expected));
    }

    #[test]
    fn garbage_is_an_error_or_bytes_but_never_a_panic(
        wire in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(1usize..40, 1..10),
    ) {
        let length = |streams: Streams| streams.values().map(Vec::len).sum::<usize>();
        let decoded = decode(&wire, &cuts, 64).map_or(0, length);
        prop_assert!(decoded <= wire.len());
    }
}
