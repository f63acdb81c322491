use std::io::Read as _;

use flate2::read::GzDecoder;

use super::*;

const BINARY: &[u8] = b"\x7fELF and so on";

fn image() -> Image<'static> {
    Image {
        name: Name {
            repository: "localhost/netclaim".to_owned(),
            tag: "1.2.3".to_owned(),
        },
        architecture: "amd64",
        created: "2026-11-24T12:00:00Z",
        labels: BTreeMap::from([(
            "org.opencontainers.image.version".to_owned(),
            "1.2.3".to_owned(),
        )]),
        program: "netclaim",
        binary: BINARY,
    }
}

/// The archive's files by name.
fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    files
}

/// The blob that a descriptor names, checked against its digest and size.
fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
    let digest = descriptor["digest"].as_str().unwrap();
    let hex = digest.strip_prefix("sha256:").unwrap();
    let bytes = &files[&format!("blobs/sha256/{hex}")];
    assert_eq!(Blob::new(bytes.clone()).digest, hex);
    assert_eq!(descriptor["size"], bytes.len());
    bytes
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let (first, second) = (image().pack().unwrap(), image().pack().unwrap());
    assert_eq!(first.digest, second.digest);
    assert!(first.bytes == second.bytes);
    let other = Image {
        binary: b"another",
        ..image()
    };
    assert_ne!(other.pack().unwrap().digest, first.digest);
}

#[test]
fn each_part_is_found_by_its_digest_down_to_the_program() {
    let archive = image().pack().unwrap();
    let files = unpacked(&archive.bytes);
    let json = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
    assert_eq!(json(&files["oci-layout"])["imageLayoutVersion"], "1.0.0");

    let index = json(&files["index.json"]);
    let entry = &index["manifests"][0];
    assert_eq!(entry["digest"], *archive.digest);
    let name = &entry["annotations"]["io.containerd.image.name"];
    assert_eq!(name, "localhost/netclaim:1.2.3");

    let manifest = json(blob(&files, entry));
    let config = json(blob(&files, &manifest["config"]));
    assert_eq!(config["config"]["Entrypoint"], json!(["/netclaim"]));
    let version = &config["config"]["Labels"]["org.opencontainers.image.version"];
    assert_eq!(version, "1.2.3");

    let mut content = Vec::new();
    let layer = blob(&files, &manifest["layers"][0]);
    GzDecoder::new(layer).read_to_end(&mut content).unwrap();
    let content = Blob::new(content);
    let diff = &config["rootfs"]["diff_ids"][0];
    assert_eq!(diff, &format!("sha256:{}", content.digest));
    let program = unpacked(&content.bytes);
    assert_eq!(program.keys().collect::<Vec<_>>(), ["netclaim"]);
    assert_eq!(program["netclaim"], BINARY);
    let mut layer = tar::Archive::new(&content.bytes[..]);
    let entry = layer.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.header().mode().unwrap(), 0o755);
}
