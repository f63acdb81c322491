use std::os::unix::fs::symlink;

use super::*;

/// A sysfs with one link at `device`, a path below `devices`.
fn tree(device: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let device = root.path().join("devices").join(device);
    let net = device.join("net/eth1");
    fs::create_dir_all(&net).unwrap();
    fs::create_dir_all(root.path().join("class/net")).unwrap();
    fs::create_dir_all(root.path().join("bus/drivers/mlx5_core")).unwrap();
    symlink(&device, net.join("device")).unwrap();
    symlink(
        root.path().join("bus/drivers/mlx5_core"),
        device.join("driver"),
    )
    .unwrap();
    symlink(&net, root.path().join("class/net/eth1")).unwrap();
    for (path, content) in files {
        fs::write(net.join(path), content).unwrap();
    }
    root
}

fn eth1() -> Link {
    Link {
        index: 3,
        name: "eth1".to_owned(),
        mac: Some("02:00:00:00:00:01".to_owned()),
        ..Link::default()
    }
}

const IDENTITY: [(&str, &str); 2] = [("ifindex", "3\n"), ("address", "02:00:00:00:00:01\n")];

#[test]
fn a_nic_is_found_where_it_sits() {
    let check = |device: &str, files: &[(&str, &str)], expected: Hardware| {
        let root = tree(device, &[&IDENTITY, files].concat());
        assert_eq!(hardware(root.path(), &eth1()), expected, "{device}");
    };
    let text = |text: &str| Some(text.to_owned());
    check(
        "pci0000:3a/0000:3a:00.0/0000:3b:00.1",
        &[("speed", "100000\n"), ("../../numa_node", "1\n")],
        Hardware {
            pci_address: text("0000:3b:00.1"),
            pcie_root: text("pci0000:3a"),
            driver: text("mlx5_core"),
            speed: Some(100_000),
            numa_node: Some(1),
        },
    );
    check(
        "pci0000:00/0000:00:03.0/virtio1",
        &[("speed", "-1\n"), ("../../../numa_node", "-1\n")],
        Hardware {
            pci_address: text("0000:00:03.0"),
            pcie_root: text("pci0000:00"),
            driver: text("mlx5_core"),
            ..Hardware::default()
        },
    );
    check(
        "platform/soc/eth",
        &[],
        Hardware {
            driver: text("mlx5_core"),
            ..Hardware::default()
        },
    );
}

#[test]
fn another_namespaces_link_of_the_same_name_is_not_read() {
    let check = |files: &[(&str, &str)]| {
        let root = tree("pci0000:00/0000:00:03.0", files);
        assert_eq!(hardware(root.path(), &eth1()), Hardware::default());
    };
    check(&[("ifindex", "4\n"), IDENTITY[1]]);
    check(&[IDENTITY[0], ("address", "02:00:00:00:00:02\n")]);
    check(&[]);
}

#[test]
fn only_pci_addresses_are_taken_for_such() {
    let check = |name: &str, expected: bool| assert_eq!(is_pci_address(name), expected, "{name}");
    check("0000.3b:00.1", false);
    check("0000:3B:00.1", false);
    check("0000.3b:00.1", false);
    check("0000:3b:00:1", false);
    check("000:3b:00.1", false);
    check("virtio1", false);
    check("pci0000:00", false);
}
