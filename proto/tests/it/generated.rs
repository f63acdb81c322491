//! The committed code is what the protocol files say.
//!
//! `BLESS=1 cargo test -p netclaim-proto --test it` writes it anew; the mapping of a new field
//! follows after that, since the test is built with the crate.

use std::{collections::BTreeMap, fs, path::Path};

use prost::Message as _;

const FILES: [&str; 6] = [
    "k8s.io/kubelet/pkg/apis/pluginregistration/v1/api.proto",
    "k8s.io/kubelet/pkg/apis/dra/v1/api.proto",
    "k8s.io/kubelet/pkg/apis/dra/v1beta1/api.proto",
    "k8s.io/kubelet/pkg/apis/dra-health/v1/api.proto",
    "k8s.io/kubelet/pkg/apis/dra-health/v1alpha1/api.proto",
    OURS,
];
const OURS: &str = "netclaim/observe/v1/observe.proto";
const DESCRIPTORS: &str = "observe.descriptors.bin";

#[test]
fn the_committed_code_is_what_the_protocol_files_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/generated");
    let fresh = generate(root);
    if std::env::var_os("BLESS").is_some() {
        write(&committed, &fresh);
    }
    let found = read(&committed);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&fresh), "run again with BLESS=1");
    for (name, bytes) in &fresh {
        let same = found.get(name) == Some(bytes);
        assert!(same, "src/generated/{name} is old: run again with BLESS=1");
    }
}

fn generate(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let includes = [root.join("vendor"), root.join("proto")];
    let out = tempfile::tempdir().unwrap();
    let all = protox::compile(FILES, &includes).unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .btree_map(".")
        .compile_fds(all)
        .unwrap();
    let mut files = read(out.path());
    let ours = protox::compile([OURS], &includes).unwrap();
    files.insert(DESCRIPTORS.to_owned(), ours.encode_to_vec());
    files
}

fn read(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for name in read(folder).keys() {
        fs::remove_file(folder.join(name)).unwrap();
    }
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}
