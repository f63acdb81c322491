use super::*;

const REGISTRY: &str = "/var/lib/kubelet/plugins_registry";
const UID: &str = "0f2b9c1e-7d3a-4b52-9e1c-6a0f5d2c8b44";

#[test]
fn a_name_is_as_long_as_the_kernel_takes() {
    let check = |driver: &str, uid, expected: &str| {
        let name = registration(Path::new(REGISTRY), driver, uid);
        assert_eq!(name, expected);
        assert!(
            Path::new(REGISTRY).join(&name).as_os_str().len() <= PATH_MAX,
            "{name}"
        );
        assert!(is_registration_of(driver, &name), "{name}");
    };
    check(
        "nic.example.org",
        Some(UID),
        "nic.example.org-0f2b9c1e-7d3a-4b52-9e1c-6a0f5d2c8b44-reg.sock",
    );
    check(
        "cni.dra.networking.x-k8s.io",
        None,
        "cni.dra.networking.x-k8s.io-reg.sock",
    );
    check(
        &"x".repeat(28),
        Some(UID),
        &format!("{}-0f2b9c1e-reg.sock", "x".repeat(28)),
    );
    check(
        &"x".repeat(63),
        Some(UID),
        "dra-1b3bad5c467302bf-0f2b9c1e-reg.sock",
    );
    check(&"x".repeat(65), None, "dra-7d70a52549704607--reg.sock");
}

#[test]
fn only_our_own_names_are_ours() {
    let ours = |name: &str| is_registration_of("nic.example.org", name);
    assert!(ours("nic.example.org-reg.sock"));
    assert!(ours("nic.example.org-0f2b9c1e-reg.sock"));
    for foreign in [
        "nic.example.org-gpu-reg.sock",
        "nic.example.org-gpu-0f2b9c1e-reg.sock",
        "nic.example.org-gpu-0f2b9c1e-7d3a-4b52-9e1c-6a0f5d2c8b44-reg.sock",
        "nic.example.org2-reg.sock",
        "gpu.example.org-reg.sock",
        "dra-0000000000000000-0f2b9c1e-reg.sock",
        "nic.example.org.sock",
        "-reg.sock",
    ] {
        assert!(!ours(foreign), "{foreign}");
    }
}

#[test]
fn the_socket_for_claims_has_the_pods_uid() {
    assert_eq!(dra(Some(UID)), "dra-0f2b9c1e.sock");
    assert_eq!(dra(None), "dra.sock");
    assert!(is_dra("dra.sock") && is_dra("dra-0f2b9c1e.sock"));
    assert!(!is_dra("active.lock") && !is_dra("other.sock"));
}
