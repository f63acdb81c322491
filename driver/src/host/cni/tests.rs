use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use netclaim_core::{
    attachment::Key,
    claim::PodRef,
    name::{IfName, Namespace, PodName, PodUid, SandboxId},
};
use serde_json::{Map, json};
use tempfile::TempDir;
use tokio::time::{self, timeout};

use super::*;

mod faults;
pub(in crate::host::cni) mod real;

/// Long enough for any script that ends by itself.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// One interface of one pod.
struct Subject {
    key: Key,
    netns: Option<String>,
    network: ConfList,
    runtime_config: Map<String, Value>,
    pod: PodRef,
}

impl Subject {
    fn new(network: &Value) -> Self {
        Self {
            key: Key {
                sandbox: SandboxId::parse("5b7f").unwrap(),
                if_name: IfName::parse("net1").unwrap(),
            },
            netns: Some("/run/netns/fake".into()),
            network: ConfList::parse(network).unwrap(),
            runtime_config: Map::new(),
            pod: PodRef {
                namespace: Namespace::parse("shop").unwrap(),
                name: PodName::parse("cart-0").unwrap(),
                uid: PodUid::parse("u-1").unwrap(),
            },
        }
    }

    fn chain(types: &[&str]) -> Self {
        let plugins: Vec<_> = types.iter().map(|name| json!({ "type": name })).collect();
        Self::new(&json!({"cniVersion": "1.1.0", "name": "storage", "plugins": plugins}))
    }

    fn at(&self) -> Invocation<'_> {
        Invocation {
            key: &self.key,
            netns: self.netns.as_deref(),
            network: &self.network,
            runtime_config: &self.runtime_config,
            pod: &self.pod,
        }
    }
}

/// A folder of plugins that are shell scripts.
struct Scripts {
    dir: TempDir,
    plugins: Plugins,
}

impl Scripts {
    fn new(scripts: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let none = dir.path().join("none");
        let plugins = Plugins::new(
            vec![none, dir.path().into()],
            &dir.path().join("cache"),
            None,
        );
        let new = Self { dir, plugins };
        for (name, script) in scripts {
            new.write(
                name,
                format!("#!/bin/sh\ncd {}\n{script}\n", new.dir.path().display()),
            );
        }
        new
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    /// ADD with a plugin that must fail.
    async fn fault(&self, plugin: &str, deadline: Instant) -> Fault {
        let failure = self
            .plugins
            .add(&Subject::chain(&[plugin]).at(), deadline)
            .await
            .unwrap_err();
        match failure.cause {
            ChainError::Plugin(PluginFailure { fault, .. }) => fault,
            other => panic!("{other}"),
        }
    }

    /// Waits until the process whose number a script wrote has ended (or waits to be reaped).
    async fn ended(&self, pid_file: &str) {
        let pid = self.read(pid_file);
        let stat = format!("/proc/{}/stat", pid.trim());
        let gone = async {
            while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
                time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(Duration::from_secs(10), gone)
            .await
            .unwrap_or_else(|_| panic!("{pid_file} runs on"));
    }
}

/// Notes what it was given, and adds an address to the result so far.
const HONEST: &str = r#"
config=$(cat)
echo "$CNI_COMMAND $0" | sed "s|$PWD/||" >> order
printf '%s' "$config" > "stdin.$CNI_COMMAND"
env | grep ^CNI_ | sort > "env.$CNI_COMMAND"
[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.2/24"}]}'
exit 0
"#;

#[tokio::test]
async fn a_chain_is_walked_forth_and_back() {
    let scripts = Scripts::new(&[("one", HONEST), ("two", HONEST)]);
    let subject = Subject::chain(&["one", "two"]);
    let added = scripts.plugins.add(&subject.at(), soon()).await.unwrap();
    assert_eq!(added.result.ips[0].address.to_string(), "10.1.0.2/24");
    let plugins = added.timings.iter().map(|timing| timing.plugin.as_deref());
    assert_eq!(plugins.collect::<Vec<_>>(), [Some("one"), Some("two")]);
    assert!(
        added
            .timings
            .iter()
            .all(|timing| timing.ok && timing.micros > 0)
    );
    assert!(scripts.plugins.check(&subject.at(), soon()).await.unwrap());
    scripts.plugins.del(&subject.at(), soon()).await.unwrap();
    // Nothing is left to undo, which is a success too.
    scripts.plugins.del(&subject.at(), soon()).await.unwrap();
    assert_eq!(
        scripts.read("order"),
        "ADD one\nADD two\nCHECK one\nCHECK two\nDEL two\nDEL one\nDEL two\nDEL one\n"
    );
    let config: Value = serde_json::from_str(&scripts.read("stdin.ADD")).unwrap();
    assert_eq!(
        config,
        json!({
            "type": "two", "name": "storage", "cniVersion": "1.1.0",
            "prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.2/24"}]},
        })
    );
}

#[tokio::test]
async fn del_gets_the_result_of_add_and_no_namespace_that_is_gone() {
    let scripts = Scripts::new(&[("one", HONEST)]);
    let subject = Subject::chain(&["one"]);
    scripts.plugins.add(&subject.at(), soon()).await.unwrap();
    scripts.plugins.del(&subject.at(), soon()).await.unwrap();
    let config: Value = serde_json::from_str(&scripts.read("stdin.DEL")).unwrap();
    assert_eq!(config["prevResult"]["ips"][0]["address"], "10.1.0.2/24");
    assert!(
        scripts
            .read("env.ADD")
            .contains("CNI_NETNS=/run/netns/fake\n")
    );
    assert!(scripts.read("env.DEL").contains("CNI_NETNS=\n"));
    let dir = scripts.dir.path().display();
    assert!(
        scripts
            .read("env.DEL")
            .contains(&format!("CNI_PATH={dir}/none:{dir}\n"))
    );
    // The second DEL finds no result.
    scripts.plugins.del(&subject.at(), soon()).await.unwrap();
    let config: Value = serde_json::from_str(&scripts.read("stdin.DEL")).unwrap();
    assert_eq!(config["prevResult"], Value::Null);
}

#[tokio::test]
async fn results_are_kept_for_their_owner_alone() {
    let scripts = Scripts::new(&[("one", HONEST)]);
    let subject = Subject::chain(&["one"]);
    let added = scripts.plugins.add(&subject.at(), soon()).await.unwrap();
    let results = scripts.dir.path().join("cache/results");
    let file = results.join("storage-5b7f-net1");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&results), mode(&file)), (0o700, 0o600));
    let [kept] = &scripts.plugins.attachments().await.unwrap()[..] else {
        panic!("not one")
    };
    assert_eq!((&kept.key, &kept.result), (&subject.key, &added.result));
    scripts.plugins.del(&subject.at(), soon()).await.unwrap();
    assert_eq!(fs::read_dir(&results).unwrap().count(), 0);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_no_interface_alive() {
    let scripts = Scripts::new(&[("one", HONEST)]);
    let subject = Subject::chain(&["one"]);
    scripts.plugins.add(&subject.at(), soon()).await.unwrap();
    fs::write(
        scripts.dir.path().join("cache/results/storage-5b7f-net1"),
        "{",
    )
    .unwrap();
    assert!(scripts.plugins.attachments().await.unwrap().is_empty());
    scripts.plugins.del(&subject.at(), soon()).await.unwrap();
    assert!(scripts.read("order").ends_with("DEL one\n"));
}

#[tokio::test]
async fn an_add_whose_result_cannot_be_kept_fails() {
    let scripts = Scripts::new(&[("one", HONEST)]);
    scripts.write("cache", "a file where the folder should be");
    let failure = scripts
        .plugins
        .add(&Subject::chain(&["one"]).at(), soon())
        .await
        .unwrap_err();
    assert!(
        matches!(failure.cause, ChainError::Cache(CacheError::Io { .. })),
        "{failure}"
    );
    assert_eq!(failure.cause.code(), "cni_cache_failed");
    let words = failure.to_string();
    assert!(
        words.starts_with("CNI result cache, ")
            && words.ends_with("; look at the disk, and at who owns the folder"),
        "{words}"
    );
}

#[tokio::test]
async fn gc_deletes_what_is_not_valid_and_tells_the_plugins() {
    let scripts = Scripts::new(&[("one", HONEST)]);
    let (mut kept, stale) = (Subject::chain(&["one"]), Subject::chain(&["one"]));
    kept.key.if_name = IfName::parse("net2").unwrap();
    for subject in [&kept, &stale] {
        scripts.plugins.add(&subject.at(), soon()).await.unwrap();
    }
    let valid = [ValidAttachment {
        container_id: "5b7f".into(),
        if_name: "net2".into(),
    }];
    let errors = scripts.plugins.gc(&stale.network, &valid, soon()).await;
    assert!(errors.is_empty(), "{errors:?}");
    assert!(scripts.read("order").ends_with("DEL one\nGC one\n"));
    assert!(scripts.read("env.DEL").contains("CNI_IFNAME=net1\n"));
    let config: Value = serde_json::from_str(&scripts.read("stdin.GC")).unwrap();
    assert_eq!(config["cni.dev/valid-attachments"], json!(valid));
    assert!(!scripts.read("env.GC").contains("CNI_CONTAINERID"));
    let left = scripts.plugins.attachments().await.unwrap();
    assert_eq!(
        left.iter().map(|left| &left.key).collect::<Vec<_>>(),
        [&kept.key]
    );
}

#[tokio::test]
async fn questions_are_asked_only_where_the_list_allows_them() {
    let scripts = Scripts::new(&[("one", HONEST)]);
    let list = |change: &Value| {
        let mut list = json!({"cniVersion": "1.1.0", "name": "n", "plugins": [{"type": "one"}]});
        list.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        Subject::new(&list)
    };
    let plugins = &scripts.plugins;
    for (change, check, status) in [
        (json!({}), true, true),
        (json!({"disableCheck": true}), false, true),
        (json!({"cniVersion": "1.0.0"}), true, false),
        (json!({"cniVersion": "0.3.1"}), false, false),
    ] {
        let subject = list(&change);
        assert_eq!(
            plugins.check(&subject.at(), soon()).await.unwrap(),
            check,
            "{change}"
        );
        assert_eq!(
            plugins.status(&subject.network, soon()).await.unwrap(),
            status,
            "{change}"
        );
    }
    for change in [json!({"disableGC": true}), json!({"cniVersion": "1.0.0"})] {
        assert!(
            plugins
                .gc(&list(&change).network, &[], soon())
                .await
                .is_empty()
        );
    }
    assert!(!scripts.read("order").contains("GC"));
}

#[tokio::test]
async fn only_del_goes_without_a_namespace() {
    let scripts = Scripts::new(&[("one", HONEST)]);
    let subject = Subject {
        netns: None,
        ..Subject::chain(&["one"])
    };
    let failure = scripts
        .plugins
        .add(&subject.at(), soon())
        .await
        .unwrap_err();
    assert_eq!(failure.cause.reason(), "NoNetworkNamespace");
    assert_eq!(
        failure.to_string(),
        "CNI ADD for network `storage`: the sandbox has no network namespace; remove \
         hostNetwork or the claim from the pod"
    );
    assert!(scripts.plugins.check(&subject.at(), soon()).await.is_err());
    scripts.plugins.del(&subject.at(), soon()).await.unwrap();
    assert_eq!(scripts.read("order"), "DEL one\n");
}

#[tokio::test]
async fn a_result_that_is_none_is_said_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, subject) = (Cache::new(dir.path()), Subject::chain(&["one"]));
    let results = dir.path().join("results");
    fs::create_dir(&results).unwrap();
    let path = results.join(CachedAttachment::file_name(&subject.network, &subject.key));
    for (content, what) in [
        (
            "hello",
            "not a cniCacheV1 record: expected value at line 1 column 1",
        ),
        (
            "{}",
            "not a cniCacheV1 record: missing field `kind` at line 1 column 2",
        ),
    ] {
        fs::write(&path, content).unwrap();
        let error = cache.get(&subject.network, &subject.key).await.unwrap_err();
        let expected = format!(
            "CNI result cache, {}: {what}; delete the file if nothing uses that sandbox",
            path.display()
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_chain_stops_at_the_first_failure() {
    let fails = r#"echo '{"cniVersion": "1.0.0", "code": 7, "msg": "no master"}'; exit 1"#;
    let scripts = Scripts::new(&[("one", fails), ("two", HONEST)]);
    let failure = scripts
        .plugins
        .add(&Subject::chain(&["one", "two"]).at(), soon())
        .await
        .unwrap_err();
    assert_eq!(
        failure.to_string(),
        "CNI ADD by plugin `one` for network `storage`: it reports code 7 (invalid network \
         configuration): no master; correct the plugin's fields in the network configuration"
    );
    assert_eq!(
        failure
            .timings
            .iter()
            .map(|timing| timing.ok)
            .collect::<Vec<_>>(),
        [false]
    );
    assert!(!scripts.dir.path().join("order").exists());
    assert!(scripts.plugins.attachments().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_container_that_a_plugin_does_not_know_is_deleted() {
    let unknown = r#"echo '{"code": 3, "msg": "who?"}'; exit 1"#;
    let scripts = Scripts::new(&[("one", HONEST), ("two", unknown)]);
    scripts
        .plugins
        .del(&Subject::chain(&["one", "two"]).at(), soon())
        .await
        .unwrap();
    assert_eq!(scripts.read("order"), "DEL one\n");
}
