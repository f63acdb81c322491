use super::*;

fn check(mountinfo: &str, expected: &[(&str, &str, &str)]) {
    let found = parse(mountinfo);
    let found: Vec<_> = found
        .iter()
        .map(|h| {
            let mount_point = h.mount_point.to_str().unwrap();
            (mount_point, h.version, h.options.as_str())
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_unified_hierarchy_is_found() {
    check(
        "24 30 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
         31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
        &[("/sys/fs/cgroup", "cgroup2", "")],
    );
}

#[test]
fn beside_version_one_the_unified_hierarchy_has_no_controllers() {
    check(
        "40 24 0:30 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
         41 40 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
         42 40 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
         43 40 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
        &[
            ("/sys/fs/cgroup/systemd", "cgroup", "name=systemd"),
            ("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct"),
        ],
    );
}

#[test]
fn mounts_elsewhere_are_not_the_machines() {
    check(
        "41 40 0:31 / /var/lib/box/cgroup rw - cgroup2 cgroup2 rw\n",
        &[],
    );
}
