//! Who may import whom. ARCHITECTURE.md explains why.

use std::collections::BTreeSet;

use cargo_metadata::MetadataCommand;

const ALLOWED: &[(&str, &[&str])] = &[
    ("netclaim-core", &[]),
    ("nri-client", &[]),
    ("netclaim-ebpf", &[]),
    ("netclaim-proto", &["netclaim-core"]),
    (
        "netclaim",
        &[
            "netclaim-core",
            "nri-client",
            "netclaim-ebpf",
            "netclaim-proto",
        ],
    ),
    ("dra-top", &["netclaim-core", "netclaim-proto"]),
    (
        "netclaim-tests",
        &[
            "netclaim",
            "netclaim-core",
            "nri-client",
            "netclaim-ebpf",
            "netclaim-proto",
            "dra-top",
        ],
    ),
    ("xtask", &[]),
];

/// What would let the core wait, look at the clock or touch the system.
const NOT_IN_CORE: &[&str] = &[
    "tokio",
    "kube",
    "k8s-openapi",
    "aya",
    "nix",
    "rustix",
    "tonic",
    "tracing",
    "chrono",
];

#[test]
fn crates_import_only_what_they_may() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let names: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    for package in &metadata.packages {
        let row = ALLOWED
            .iter()
            .find(|(name, _)| *name == package.name.as_str());
        let (name, allowed) = row.unwrap_or_else(|| panic!("{} has no row here", package.name));
        for dependency in &package.dependencies {
            let dependency = dependency.name.as_str();
            let ours = names.contains(dependency);
            assert!(
                !ours || allowed.contains(&dependency),
                "{name} must not import {dependency}"
            );
        }
    }
}

#[test]
fn the_core_cannot_wait() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let core = metadata
        .packages
        .iter()
        .find(|p| p.name.as_str() == "netclaim-core")
        .unwrap();
    for dependency in &core.dependencies {
        assert!(
            !NOT_IN_CORE.contains(&dependency.name.as_str()),
            "core needs {}",
            dependency.name
        );
    }
}

#[test]
fn nothing_the_dashboard_needs_is_linux_only() {
    let metadata = MetadataCommand::new().exec().unwrap();
    let resolve = metadata.resolve.as_ref().unwrap();
    let mut seen = BTreeSet::new();
    let dashboard = metadata
        .packages
        .iter()
        .find(|p| p.name.as_str() == "dra-top")
        .unwrap();
    let mut open = vec![&dashboard.id];
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let node = resolve.nodes.iter().find(|node| node.id == *id).unwrap();
            let normal = node.deps.iter().filter(|dep| {
                dep.dep_kinds
                    .iter()
                    .any(|kind| kind.kind == cargo_metadata::DependencyKind::Normal)
            });
            open.extend(normal.map(|dep| &dep.pkg));
        }
    }
    for package in metadata
        .packages
        .iter()
        .filter(|package| seen.contains(&package.id))
    {
        let linux = ["aya", "rtnetlink", "netlink-sys", "netclaim", "inotify"];
        assert!(
            !linux.contains(&package.name.as_str()),
            "dra-top pulls in {}",
            package.name
        );
    }
}
