use std::{collections::BTreeMap, io::Read as _};

use super::*;

const BUSYBOX: &[u8] = b"a static binary";

fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (path, bytes)
    });
    entries.collect()
}

/// Follows a descriptor, and checks that it told the truth.
fn follow<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
    let digest = descriptor["digest"].as_str().unwrap();
    let bytes = &files[&digest.replace("sha256:", "blobs/sha256/")];
    assert_eq!(descriptor["size"], bytes.len());
    assert_eq!(
        digest,
        format!("sha256:{}", Blob::new(bytes.clone()).digest)
    );
    bytes
}

#[test]
fn every_image_is_whole() {
    let files = files(&archive_of(BUSYBOX).unwrap());
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    let names: Vec<_> = manifests
        .iter()
        .map(|manifest| manifest["annotations"]["io.containerd.image.name"].as_str())
        .collect();
    assert_eq!(names, [Some(PAUSE), Some(super::BUSYBOX), Some(ALPINE)]);
    for manifest in manifests {
        let manifest: Value = serde_json::from_slice(follow(&files, manifest)).unwrap();
        let config: Value = serde_json::from_slice(follow(&files, &manifest["config"])).unwrap();
        let layer = &manifest["layers"][0];
        assert_eq!(config["rootfs"]["diff_ids"][0], layer["digest"]);
        let inside = self::files(follow(&files, layer));
        assert_eq!(inside["bin/busybox"], BUSYBOX);
        assert!(inside.contains_key("bin/sleep"));
    }
}

#[test]
fn the_same_busybox_gives_the_same_bytes() {
    assert_eq!(archive_of(BUSYBOX).unwrap(), archive_of(BUSYBOX).unwrap());
}

#[test]
fn a_program_with_an_interpreter_is_not_static() {
    let with_header_of_type = |kind: u8| {
        let mut elf = vec![0; 64 + 56];
        elf[..5].copy_from_slice(b"\x7fELF\x02");
        (elf[32], elf[54], elf[56], elf[64]) = (64, 56, 1, kind);
        elf
    };
    assert!(is_static(&with_header_of_type(1)));
    assert!(!is_static(&with_header_of_type(3)));
    assert!(!is_static(b"#!/bin/sh"));
    assert!(!is_static(b"\x7fELF\x02"));
}
