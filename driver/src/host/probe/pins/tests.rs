use super::*;

#[test]
fn a_folder_name_has_no_dot() {
    let path = folder(Path::new("/sys/fs/bpf"), "cni.dra.networking.x-k8s.io");
    assert_eq!(
        path,
        Path::new("/sys/fs/bpf/netclaim/cni_dra_networking_x-k8s_io/v1")
    );
}

#[test]
fn an_ordinary_file_system_is_refused_before_anything_is_made() {
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().join("netclaim/x/v1");
    let error = Pins::open(&folder).unwrap_err();
    assert!(
        matches!(&error, ProbeError::BpffsNotMounted { path } if *path == folder),
        "{error}"
    );
    assert!(!elsewhere.path().join("netclaim").exists());
}
