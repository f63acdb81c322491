use std::{fs::File, process::Command, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::*;

/// How long a fact may take to show.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs a test on a thread with network and mounts of its own; all of it ends with the thread.
pub(crate) fn alone(test: impl AsyncFnOnce(Links) + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: namespaces need root");
        return;
    }
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [sysfs, netns] = ["sys", "netns"].map(|name| folder.path().join(name));
        for path in [&sysfs, &netns] {
            std::fs::create_dir(path).unwrap();
        }
        mount(
            Some("sysfs"),
            &sysfs,
            Some("sysfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        mount_namespace(&netns.join("pod"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test(Links {
            sysfs: sysfs.clone(),
            netns: netns.clone(),
        }));
        nix::mount::umount(&netns.join("pod")).unwrap();
        nix::mount::umount(&sysfs).unwrap();
    });
    thread.join().unwrap();
}

/// Mounts a new, empty network namespace.
fn mount_namespace(path: &Path) {
    File::create(path).unwrap();
    let path = path.to_owned();
    // A thread starts in the namespaces of the one that makes it.
    let mounted = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let new = Some("/proc/thread-self/ns/net");
        mount(new, &path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    });
    mounted.join().unwrap();
}

/// Runs `ip` in the test's namespace.
pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
}

async fn seen(links: &Links) -> BTreeMap<String, Link> {
    let seen = links.list(&BTreeSet::new()).await.unwrap();
    let named = seen.links.into_iter().map(|link| (link.name.clone(), link));
    named.collect()
}

#[test]
fn links_are_listed_as_the_kernel_knows_them() {
    alone(async |links| {
        ip("link add eth1 mtu 9000 address 02:00:00:00:00:01 type veth peer name peer1");
        ip("link property add dev eth1 altname uplink1");
        ip("link add br0 type bridge");
        ip("link set peer1 master br0");
        ip("link add mv0 link eth1 type macvlan mode bridge");
        for name in ["eth1", "peer1", "br0", "mv0"] {
            ip(&format!("link set {name} up"));
        }
        ip("address add 10.0.0.2/24 dev eth1");
        ip("address add 10.0.0.3/24 dev eth1");
        ip("address add fd00::2/64 dev eth1 nodad");
        ip("address add fd00::3/64 dev eth1 nodad preferred_lft 0");
        ip("address add 169.254.7.7/16 dev eth1 scope link");
        ip("route add default via 10.0.0.1");

        let gateways = links.list(&BTreeSet::new()).await.unwrap().gateways;
        assert_eq!(gateways, ["10.0.0.1".parse().unwrap()].into());
        let seen = seen(&links).await;
        let eth1 = &seen["eth1"];
        assert_eq!(eth1.kind.as_deref(), Some("veth"));
        assert_eq!(eth1.mac.as_deref(), Some("02:00:00:00:00:01"));
        assert_eq!((eth1.mtu, eth1.up, eth1.ethernet), (9000, true, true));
        assert!(eth1.answers_to("uplink1"));
        assert_eq!(eth1.parent, Some(seen["peer1"].index));
        assert_eq!(eth1.peer_namespace, None);
        assert!(eth1.default_route);
        let addresses: Vec<String> = eth1.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.0.0.2/24", "10.0.0.3/24", "fd00::2/64"]);
        let passing: Vec<String> = eth1.passing.iter().map(ToString::to_string).collect();
        assert_eq!(passing, ["fd00::3"]);

        assert_eq!(seen["peer1"].master, Some(seen["br0"].index));
        assert_eq!(seen["br0"].kind.as_deref(), Some("bridge"));
        assert_eq!(seen["mv0"].kind.as_deref(), Some("macvlan"));
        assert_eq!(seen["mv0"].parent, Some(eth1.index));
        assert!(seen["lo"].loopback && !seen["lo"].ethernet);
        assert!(!seen["peer1"].default_route);

        ip("link set peer1 down");
        let seen = self::seen(&links).await;
        assert!(!seen["eth1"].up, "a veth whose peer is down has no carrier");
    });
}

#[test]
fn multipath_and_ipv6_default_routes_are_seen() {
    alone(async |links| {
        for link in ["va", "vb", "vc"] {
            ip(&format!("link add {link} type veth peer name {link}1"));
            ip(&format!("link set {link} up"));
            ip(&format!("link set {link}1 up"));
        }
        ip("address add 10.0.0.2/24 dev va");
        ip("address add 10.0.1.2/24 dev vb");
        ip("address add fd00::2/64 dev vc nodad");
        ip("route add default nexthop via 10.0.0.1 nexthop via 10.0.1.1");
        ip("-6 route add default via fd00::1");
        ip("route add default via 10.0.0.9 table 77");
        let gateways = links.list(&BTreeSet::new()).await.unwrap().gateways;
        let gateways: Vec<String> = gateways.iter().map(ToString::to_string).collect();
        assert_eq!(gateways, ["10.0.0.1", "10.0.1.1", "fd00::1"]);
        let seen = seen(&links).await;
        let by: Vec<&str> = seen
            .values()
            .filter(|link| link.default_route)
            .map(|link| link.name.as_str())
            .collect();
        assert_eq!(by, ["va", "vb", "vc"]);
    });
}

#[test]
fn a_veth_into_a_mounted_namespace_is_a_pods() {
    alone(async |links| {
        let pod = links.netns.join("pod");
        ip("link add pod0 type veth peer name eth0");
        ip("link add node0 type veth peer name node1");
        ip(&format!("link set eth0 netns {}", pod.display()));
        let seen = links.list(&BTreeSet::new()).await.unwrap();
        let named = |name: &str| seen.links.iter().find(|link| link.name == name).unwrap();
        let peer = named("pod0").peer_namespace.unwrap();
        assert_eq!(seen.pod_namespaces, [peer].into());
        assert_eq!(named("node0").peer_namespace, None);

        let elsewhere = Links {
            netns: "/nonexistent".into(),
            ..links.clone()
        };
        let seen = elsewhere.list(&BTreeSet::new()).await.unwrap();
        assert_eq!(seen.pod_namespaces, BTreeSet::new());
        let seen = elsewhere.list(&[pod].into()).await.unwrap();
        assert_eq!(
            seen.pod_namespaces,
            [peer].into(),
            "told by the container runtime"
        );
    });
}

#[test]
fn the_mtu_of_a_pods_link_is_read_in_its_namespace() {
    alone(async |links| {
        let pod = links.netns.join("pod");
        ip("link add pod0 mtu 1500 type veth peer name net1 mtu 1400");
        assert_eq!(mtu(&pod, "net1").await, None, "it is not there yet");
        ip(&format!("link set net1 netns {}", pod.display()));
        assert_eq!(mtu(&pod, "net1").await, Some(1_400));
        assert_eq!(mtu(&links.netns.join("gone"), "net1").await, None);
        let seen = seen(&links).await;
        assert!(seen.contains_key("pod0"), "nobody was moved");
    });
}

#[test]
fn a_burst_of_changes_is_told_once() {
    alone(async |_| {
        let mut changes = changes().unwrap();
        let next = async |changes: &mut (dyn Stream<Item = ()> + Unpin + Send)| {
            tokio::time::timeout(PATIENCE, changes.next()).await
        };
        for index in 0..20 {
            ip(&format!("link add v{index} type veth peer name w{index}"));
            ip(&format!("link set v{index} up"));
        }
        assert_eq!(next(&mut changes).await, Ok(Some(())));
        while changes.next().now_or_never().is_some() {}

        ip("address add 10.0.0.2/24 dev v0");
        assert_eq!(next(&mut changes).await, Ok(Some(())));
        assert_eq!(changes.next().now_or_never(), None, "told once");
        ip("link set w0 up");
        ip("route add default via 10.0.0.1");
        assert_eq!(next(&mut changes).await, Ok(Some(())));
    });
}

#[tokio::test]
async fn why_links_are_not_known_is_said_in_words() {
    let cut = tokio::spawn(std::future::pending::<()>());
    cut.abort();
    let cut = cut.await.unwrap_err();
    let of_cut = format!("reading sysfs was cut short: {cut}; it is read again");
    for (error, expected) in [
        (
            LinksError::Socket(io::Error::from_raw_os_error(1)),
            "no netlink socket: Operation not permitted (os error 1); netclaim needs the node's \
             network namespace (hostNetwork)",
        ),
        (
            LinksError::Listing {
                what: "addresses",
                source: rtnetlink::Error::RequestFailed,
            },
            "the kernel does not list its addresses: A netlink request failed; it is asked again",
        ),
        (LinksError::Sysfs(cut), &of_cut),
    ] {
        assert_eq!(error.to_string(), expected);
    }
}
