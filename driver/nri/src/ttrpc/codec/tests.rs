use bytes::{BufMut as _, BytesMut};
use proptest::prelude::*;

use super::*;

/// Feeds `wire` in parts of the given lengths, over and over.
fn decode(wire: &[u8], cuts: &[usize]) -> Result<Vec<Item>, CodecError> {
    let mut decoder = Decoder::default();
    let mut input = BytesMut::new();
    let mut items = Vec::new();
    let mut rest = wire;
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, after) = rest.split_at((*cut).min(rest.len()));
        rest = after;
        input.put_slice(part);
        while let Some(item) = decoder.decode(&mut input)? {
            items.push(item);
        }
    }
    assert!(
        input.len() < HEADER_LEN + MAX_PAYLOAD,
        "no more than one message is held"
    );
    Ok(items)
}

fn message(stream: u32, kind: Kind, flags: u8, payload: &[u8]) -> Message {
    Message {
        stream,
        kind,
        flags,
        payload: Bytes::copy_from_slice(payload),
    }
}

#[test]
fn a_message_on_the_wire() {
    let request = message(3, Kind::Request, 0, b"hello");
    let wire = encode(&request).expect("short");
    assert_eq!(&wire[..], b"\0\0\0\x05\0\0\0\x03\x01\0hello");
    assert_eq!(decode(&wire, &[4]), Ok(vec![Item::Message(request)]));
}

#[test]
fn unknown_kinds_and_flags_pass() {
    let odd = message(8, Kind::Other(77), 0xff, b"");
    let wire = encode(&odd).expect("short");
    assert_eq!(decode(&wire, &[1]), Ok(vec![Item::Message(odd)]));
}

#[test]
fn the_maximum_passes_and_one_more_byte_is_not_sent() {
    let payload = vec![7; MAX_PAYLOAD + 1];
    let longest = message(1, Kind::Request, 0, &payload[1..]);
    let wire = encode(&longest).expect("the maximum");
    assert_eq!(decode(&wire, &[65_536]), Ok(vec![Item::Message(longest)]));
    let length = MAX_PAYLOAD + 1;
    let refused = encode(&message(1, Kind::Request, 0, &payload));
    assert_eq!(refused, Err(CodecError::TooLong { length }));
}

#[test]
fn a_long_message_is_named_and_skipped() {
    let length = MAX_PAYLOAD + 1;
    let mut wire = BytesMut::new();
    wire.put_slice(b"\0\x40\0\x01\0\0\0\x05\x01\0");
    wire.put_bytes(7, length);
    let next = message(7, Kind::Request, 0, b"next");
    wire.put_slice(&encode(&next).expect("short"));
    let too_long = Item::TooLong {
        stream: 5,
        kind: Kind::Request,
        length,
    };
    assert_eq!(
        decode(&wire, &[10_000]),
        Ok(vec![too_long, Item::Message(next)])
    );
}

#[test]
fn a_length_with_its_first_byte_set_is_none() {
    let length = 1 << 24;
    let refused = decode(b"\x01\0\0\0\0\0\0\x01\x01\0", &[10]);
    assert_eq!(refused, Err(CodecError::OutOfStep { length }));
    assert!(decode(b"SSH-2.0-OpenSSH\r\n", &[3]).is_err());
}

prop_compose! {
    fn any_message()(
        stream in any::<u32>(),
        kind in any::<u8>(),
        flags in any::<u8>(),
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) -> Message {
        message(stream, Kind::from(kind), flags, &payload)
    }
}

proptest! {
    #[test]
    fn messages_survive_any_fragmentation(
        messages in prop::collection::vec(any_message(), 0..20),
        cuts in prop::collection::vec(1usize..40, 1..10),
    ) {
        let mut wire = BytesMut::new();
        for message in &messages {
            wire.put_slice(&encode(message).expect("short"));
        }
        let items: Vec<_> = messages.into_iter().map(Item::Message).collect();
        prop_assert_eq!(decode(&wire, &cuts), Ok(items));
    }

    #[test]
    fn garbage_is_an_error_or_messages_but_never_a_panic(
        wire in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(1usize..40, 1..10),
    ) {
        let items = decode(&wire, &cuts).map_or(0, |items| items.len());
        prop_assert!(items <= wire.len() / HEADER_LEN);
    }
}
