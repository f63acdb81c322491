//! What users and plugins do wrong: refused or failed in words, the same for every reader, and
//! nothing is left of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use netclaim_tests::world::Options;
use netclaim_tests::world::apiserver::resource::{CLAIMS, PODS};
use netclaim_tests::world::apiserver::store::Part;
use netclaim_tests::world::controller::place;
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::scheduler;
use serde_json::{Value, json};

use super::stage::{
    CLASS, Cause, LIMIT, OWN_PLUGINS, Stage, macvlan, macvlan_then, parameters, play, until,
};

fn cause(step: &'static str, reason: &'static str, code: &'static str) -> Cause {
    Cause { step, reason, code }
}

/// A claim with `parameters` is refused for `cause`, in words that have all of `words`.
async fn check(
    stage: &Stage,
    name: &str,
    parameters: &Value,
    cause: Cause,
    words: &[&str],
) -> Result<()> {
    stage.claim(name, CLASS, parameters)?;
    let pod = stage.pod(name, &[name])?;
    let kubelet = stage.refused(&pod).await?;
    let said = stage.agreed(&pod, name, cause).await?;
    ensure!(
        kubelet.contains(&said),
        "the kubelet was told {kubelet:?} instead of {said:?}"
    );
    for word in words {
        ensure!(said.contains(word), "{said:?} does not say {word:?}");
    }
    Ok(())
}

#[test]
fn what_the_policy_refuses() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let refused = |reason, code| cause("prepare", reason, code);
            let mut tricked = macvlan();
            tricked[0]["ipam"]["dataDir"] = "/etc".into();
            check(
                stage,
                "data-dir",
                &parameters("net1", &tricked),
                refused("ReservedField", "reserved_field"),
                &["config.plugins[0].ipam.dataDir", "/etc", "default/data-dir"],
            )
            .await?;
            tricked = macvlan();
            tricked[0]["ipam"]["resolvConf"] = "/etc/shadow".into();
            check(
                stage,
                "resolv-conf",
                &parameters("net1", &tricked),
                refused("ReservedField", "reserved_field"),
                &["resolvConf"],
            )
            .await?;
            tricked = macvlan();
            tricked[0]["type"] = "../../../bin/sh".into();
            check(
                stage,
                "path-type",
                &parameters("net1", &tricked),
                refused("InvalidValue", "invalid_value"),
                &["../../../bin/sh"],
            )
            .await?;
            tricked = macvlan();
            tricked[0]["master"] = "eth0".into();
            check(
                stage,
                "other-master",
                &parameters("net1", &tricked),
                refused("OtherDevice", "other_device"),
                &["eth0", "eth1"],
            )
            .await?;
            check(
                stage,
                "bad-name",
                &parameters("../net1", &macvlan()),
                refused("InvalidValue", "invalid_value"),
                &["ifName", "../net1"],
            )
            .await?;
            check(
                stage,
                "no-config",
                &Value::Null,
                refused("NoConfig", "no_config"),
                &["spec.devices.config"],
            )
            .await?;
            stage.left(0).await
        })
    })
}

/// A pod of a class with the chain macvlan and then `plugin`, which must fail.
async fn check_plugin(
    stage: &Stage,
    plugin: &'static str,
    cause: Cause,
    words: &str,
) -> Result<()> {
    stage.class(plugin, &parameters("net1", &macvlan_then(plugin)))?;
    stage.claim(plugin, plugin, &Value::Null)?;
    let pod = stage.pod(plugin, &[plugin])?;
    let kubelet = stage.refused(&pod).await?;
    let said = stage.agreed(&pod, plugin, cause).await?;
    ensure!(
        kubelet.contains(&said),
        "the kubelet was told {kubelet:?} instead of {said:?}"
    );
    // A pod may have several claims, and its Event is all that most people see.
    let whose = format!("{plugin}, request nic, interface net1: ");
    for words in [&whose, words] {
        ensure!(said.contains(words), "{said:?} does not say {words:?}");
    }
    stage.left(0).await
}

#[test]
fn plugins_that_fail() -> Result<()> {
    test(|| {
        play(Options::default(), &OWN_PLUGINS, async |stage| {
            stage.plugin(
                "fails",
                r#"cat >/dev/null
echo '{"cniVersion":"1.0.0","code":101,"msg":"the switch is full"}'; exit 1"#,
            )?;
            check_plugin(
                stage,
                "fails",
                cause("cni_add", "PluginReportedError", "plugin_reported_error"),
                "the switch is full",
            )
            .await?;
            check_plugin(
                stage,
                "absent",
                cause("cni_add", "PluginNotFound", "plugin_not_found"),
                "/run/world/cni",
            )
            .await?;
            // The next pod works.
            stage.running("next").await?;
            stage.left(1).await
        })
    })
}

#[test]
fn a_plugin_that_hangs_is_killed_in_time() -> Result<()> {
    test(|| {
        let mut options = Options::default();
        options.runtime.request_timeout = Duration::from_secs(2);
        play(options, &OWN_PLUGINS, async |stage| {
            stage.plugin("hangs", "sleep 301 & wait")?;
            check_plugin(
                stage,
                "hangs",
                cause("cni_add", "PluginHung", "plugin_hung"),
                "did not end within",
            )
            .await?;
            // The runtime dropped nobody: the answer came before its time was over.
            let plugins = stage.worker().kubelet.runtime.read().await.plugins().await;
            ensure!(!plugins.is_empty(), "the driver was late and is dropped");
            ensure!(
                stage
                    .worker()
                    .node
                    .place
                    .output("pgrep", "-f sleep.301")
                    .is_err(),
                "the plugin's child lives"
            );
            stage.running("next").await?;
            stage.left(1).await
        })
    })
}

#[test]
fn a_new_claim_heals_a_pod_whose_plugin_works_again() -> Result<()> {
    test(|| {
        play(Options::default(), &OWN_PLUGINS, async |stage| {
            let repaired = "cat >/dev/null; echo '{\"cniVersion\":\"1.0.0\"}'";
            stage.plugin("fragile", "exit 7")?;
            check_plugin(
                stage,
                "fragile",
                cause("cni_add", "PluginFailedSilently", "plugin_failed_silently"),
                "exited with 7",
            )
            .await?;
            stage.plugin("fragile", repaired)?;
            let pod = stage.world.api.store.get(PODS, "default", "fragile")?;
            stage.world.run_pod(&pod, LIMIT).await?;
            stage.told("fragile", "Ready", "True/Attached").await?;

            // The same with a configuration that is corrected by a claim of its own.
            let mut wrong = macvlan();
            wrong[0]["mtu"] = 9_000.into();
            stage.claim("too-large", CLASS, &parameters("net1", &wrong))?;
            let pod = stage.pod("too-large", &["too-large"])?;
            stage.refused(&pod).await?;
            stage
                .agreed(
                    &pod,
                    "too-large",
                    cause("cni_add", "PluginReportedError", "plugin_reported_error"),
                )
                .await?;
            stage.world.delete_pod(&pod).await?;
            stage.running("corrected").await?;
            stage.left(2).await
        })
    })
}

#[test]
fn an_exhausted_pool_serves_again_when_an_address_is_free() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let mut small = macvlan();
            small[0]["ipam"]["ranges"] = json!([[{"subnet": "10.10.1.0/30"}]]);
            let small = parameters("net1", &small);
            // Network, gateway and broadcast are taken: one is left.
            stage.claim("first", CLASS, &small)?;
            let first = stage.pod("first", &["first"])?;
            let first = stage.world.run_pod(&first, LIMIT).await?;
            stage.claim("second", CLASS, &small)?;
            let second = stage.pod("second", &["second"])?;
            stage.refused(&second).await?;
            let said = stage
                .agreed(
                    &second,
                    "second",
                    cause("cni_add", "PluginReportedError", "plugin_reported_error"),
                )
                .await?;
            ensure!(said.contains("no IP addresses available"), "{said}");
            stage.world.delete_pod(&first).await?;
            stage.world.run_pod(&second, LIMIT).await?;
            stage.told("second", "Ready", "True/Attached").await?;
            stage.left(1).await
        })
    })
}

/// A pod that is `edit`ed cannot have its interface, for the cause that is said of it.
async fn check_pod(stage: &Stage, edit: fn(&mut Value), cause: Cause) -> Result<()> {
    let pod = stage.usual(&cause.code.replace('_', "-"))?;
    let store = &stage.world.api.store;
    let (namespace, name) = place(&pod);
    let pod = store.edit(PODS, namespace, name, Part::Main, "test", edit)?;
    let kubelet = stage.refused(&pod).await?;
    let said = stage.agreed(&pod, name, cause).await?;
    ensure!(kubelet.contains(&said), "{kubelet}");
    stage.left(0).await
}

#[test]
fn a_pod_without_a_network_of_its_own_or_with_a_guest() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            check_pod(
                stage,
                |pod| pod["spec"]["hostNetwork"] = true.into(),
                cause("plan", "HostNetwork", "host_network"),
            )
            .await?;
            check_pod(
                stage,
                |pod| pod["spec"]["runtimeClassName"] = "kata-qemu".into(),
                cause("plan", "RuntimeHandlerRefused", "runtime_handler_refused"),
            )
            .await
        })
    })
}

#[test]
fn one_name_for_two_interfaces() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            for claim in ["one", "two"] {
                stage.claim(claim, CLASS, &parameters("net1", &macvlan()))?;
            }
            let pod = stage.pod("twice", &["one", "two"])?;
            stage.refused(&pod).await?;
            let duplicate = cause(
                "prepare",
                "DuplicateInterfaceName",
                "duplicate_interface_name",
            );
            let (refused, other) = match stage.condition("two", "Ready")? {
                Value::Null => ("one", "two"),
                _ => ("two", "one"),
            };
            let said = match stage.agreed(&pod, refused, duplicate).await {
                Ok(said) => said,
                Err(_) => stage.agreed(&pod, other, duplicate).await?,
            };
            ensure!(said.contains("net1"), "{said}");
            stage.left(0).await
        })
    })
}

#[test]
fn a_link_that_is_gone() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let pod = stage.usual("late")?;
            let pod = scheduler::schedule(&stage.world.api.store, &pod)?;
            stage.worker().node.place.ip(&["link del eth1"])?;
            until("the slice says that eth1 is gone", async || {
                let device = stage.device("eth1").unwrap_or_default();
                Ok((device["taints"][0]["value"] == "gone").then_some(()))
            })
            .await?;
            stage.worker().kubelet.try_run_pod(&pod).await.unwrap_err();
            stage
                .agreed(&pod, "late", cause("prepare", "LinkGone", "link_gone"))
                .await?;
            let claim = stage.world.api.store.get(CLAIMS, "default", "late")?;
            ensure!(
                claim["status"]["allocation"].is_object(),
                "the allocation is the scheduler's"
            );
            stage.left(0).await
        })
    })
}
