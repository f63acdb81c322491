use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::*;
use crate::socket::{Server, Socket};

/// What kubelet v1.37.2 sends to ask a plugin who it is: preface, SETTINGS, SETTINGS of ours
/// acknowledged, HEADERS, DATA.
const GET_INFO: &str = "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a000000040000000000\
    0000000401000000000000950104000000018386459c62ba2d98d558598c84d83498f52fb4b31909b06931ea63115392\
    a94f41a954587b8ec545868346a8b0f5b632d054aa2c35d16cc6a91158598c84d9e9516120eb5ac2ccba0e4ebf5f8b1d\
    75d0620d263d4c4d65647a8a9acac8b4c7602bbc25c340027465864d833505b11f408e9acac8b0c842d6958b510f21aa\
    9b839bd9ab40899acac8b24d494f6a7f867df7df75fb7f0000050001000000010000000000";

/// Preface, two SETTINGS, and the block of the HEADERS up to the authority's value.
const BEFORE: usize = PREFACE + 9 + 9 + 9 + 33;

fn get_info() -> Vec<u8> {
    let digits: Vec<u8> = GET_INFO.bytes().collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn rewritten(pieces: &[&[u8]]) -> Vec<u8> {
    let mut rewriter = Rewriter::new();
    let mut out = Vec::new();
    for piece in pieces {
        rewriter.feed(piece, &mut out);
    }
    out
}

/// A HEADERS frame after the preface.
fn request(flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let header = [0, 0, length, HEADERS, flags, 0, 0, 0, 1];
    [&[0; PREFACE], &header[..], payload].concat()
}

fn check(flags: u8, payload: &[u8], expected: &[u8]) {
    assert_eq!(
        rewritten(&[&request(flags, payload)]),
        request(flags, expected)
    );
}

#[test]
fn the_kubelets_authority_is_replaced_and_nothing_else() {
    let sent = get_info();
    let out = rewritten(&[&sent]);
    // A string of 41 bytes in Huffman's code became one of 1 byte.
    assert_eq!(sent[BEFORE], 0x80 + 41);
    assert_eq!(out[BEFORE..BEFORE + 2], [1, AUTHORITY]);
    assert_eq!(out[BEFORE + 2..], sent[BEFORE + 42..]);
    let length_at = PREFACE + 9 + 9 + 2;
    assert_eq!(out[length_at], sent[length_at] - 40);
    assert_eq!(out[..length_at], sent[..length_at]);
    assert_eq!(out[length_at + 1..BEFORE], sent[length_at + 1..BEFORE]);
}

#[test]
fn it_does_not_matter_in_which_pieces_it_comes() {
    let sent = get_info();
    let whole = rewritten(&[&sent]);
    for at in 0..sent.len() {
        let (first, second) = sent.split_at(at);
        assert_eq!(rewritten(&[first, second]), whole, "cut at {at}");
    }
    let bytes: Vec<_> = sent.chunks(1).collect();
    assert_eq!(rewritten(&bytes), whole);
}

#[test]
fn every_representation_before_the_authority_is_stepped_over() {
    let block = |value: &[u8]| {
        let before: &[&[u8]] = &[
            &[0x83],                      // indexed
            &[0x3f, 0xe1, 0x1f],          // table size 4096
            &[0x40, 1, b'a', 1, b'b'],    // a: b, to be indexed
            &[0x04, 1, b'/'],             // :path: /, not to be indexed
            &[0x1f, 0x10, 2, b'x', b'y'], // index 31, never to be indexed
            &[0x41],                      // :authority
        ];
        [&before.concat(), value, &[0x86]].concat()
    };
    check(END_HEADERS, &block(b"\x04%2Fa"), &block(b"\x01k"));
}

#[test]
fn padding_and_priority_stay() {
    let flags = END_HEADERS | PADDED | PRIORITY;
    let sent = b"\x02\0\0\0\0\x10\x41\x04%2Fa\0\0";
    check(flags, sent, b"\x02\0\0\0\0\x10\x41\x01k\0\0");
}

#[test]
fn what_cannot_be_read_passes_as_it_is() {
    for (flags, payload) in [
        (END_HEADERS, &b""[..]),
        (END_HEADERS, b"\x83\x86"),
        (END_HEADERS, b"\x41\x7f\xff\xff\xff\xff\xff\x0f"),
        (END_HEADERS, b"\x41\x05%2F"),
        (END_HEADERS | PADDED, b"\xff\x41\x04%2Fa"),
        (0, b"\x41\x04%2Fa"),
    ] {
        check(flags, payload, payload);
    }
}

#[tokio::test]
async fn a_server_answers_a_kubelet_that_calls_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let (listener, socket) = Socket::listen(&path, 0o600).await.unwrap();
    let stop = CancellationToken::new();
    let server = Server::start(listener, socket, Routes::default(), stop);
    let mut kubelet = UnixStream::connect(&path).await.unwrap();
    kubelet.write_all(&get_info()).await.unwrap();
    // The answer comes on the request's stream; type 3 would be RST_STREAM.
    let answer = loop {
        let (kind, stream) = next_frame(&mut kubelet).await;
        if stream == 1 {
            break kind;
        }
    };
    assert_eq!(answer, HEADERS);
    // A server that ends waits for those that are connected.
    drop(kubelet);
    server.stop().await;
}

async fn next_frame(stream: &mut UnixStream) -> (u8, u32) {
    let mut header = [0; FRAME_HEADER];
    stream.read_exact(&mut header).await.unwrap();
    let mut payload = vec![0; length(&header)];
    stream.read_exact(&mut payload).await.unwrap();
    (
        header[3],
        u32::from_be_bytes(header[5..].try_into().unwrap()),
    )
}
