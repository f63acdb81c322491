use std::fs;

use super::*;

/// Of each pod's kilobytes, a few live long.
const PIECES: usize = 64 * 1024;
const LIVES_LONG: usize = 64;

fn resident_kibibytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

#[test]
fn what_lies_between_what_is_used_is_given_back() {
    let mut pieces: Vec<Option<Box<[u8; 1_024]>>> = (0..PIECES)
        .map(|_| Some(Box::new(std::hint::black_box([7; 1_024]))))
        .collect();
    for (index, piece) in pieces.iter_mut().enumerate() {
        if index % LIVES_LONG != 0 {
            *piece = None;
        }
    }
    let before = resident_kibibytes();
    give_back();
    let after = resident_kibibytes();
    // 64 MiB less what lives long with its pages; other tests use some meanwhile.
    assert!(before - after > 32 * 1024, "{before} KiB, then {after} KiB");
    assert!(pieces.iter().flatten().all(|piece| piece[0] == 7));
}
