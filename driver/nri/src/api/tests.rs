use super::*;

#[test]
fn network_namespace_is_absent_on_the_hosts_network() {
    fn check(namespaces: Option<&[(&str, &str)]>, expected: Option<&str>) {
        let linux = namespaces.map(|entries| LinuxPodSandbox {
            namespaces: entries
                .iter()
                .map(|&(kind, path)| LinuxNamespace {
                    r#type: kind.into(),
                    path: path.into(),
                })
                .collect(),
            ..LinuxPodSandbox::default()
        });
        let pod = PodSandbox {
            linux,
            ..PodSandbox::default()
        };
        assert_eq!(pod.network_namespace(), expected, "{namespaces:?}");
    }
    check(None, None);
    check(Some(&[]), None);
    check(Some(&[("ipc", "/proc/7/ns/ipc")]), None);
    check(Some(&[("network", "")]), None);
    check(
        Some(&[
            ("ipc", ""),
            ("network", "/run/netns/a"),
            ("pid", "/proc/7/ns/pid"),
        ]),
        Some("/run/netns/a"),
    );
}

#[test]
fn event_mask_counts_bits_from_event_one() {
    assert_eq!(event_mask(&[]), 0);
    assert_eq!(event_mask(&[Event::RunPodSandbox]), 1);
    assert_eq!(
        event_mask(&[Event::UpdatePodSandbox, Event::CreateContainer]),
        0x808
    );
}
