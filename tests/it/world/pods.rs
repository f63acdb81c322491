//! Kubelet and runtime, with a toy for a driver.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use netclaim_proto::dra::v1::{Device, NodePrepareResourceResponse};
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::kubelet::Version;
use netclaim_tests::world::runtime::nri::Generation;
use netclaim_tests::world::{Options, Worker, World, talk, traffic};
use nri_client::{Registration, serve};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::toy::{Answer, Calls, Toy, ToyNri};

const LIMIT: Duration = Duration::from_mins(1);

async fn until(what: &str, fact: impl AsyncFn() -> bool) -> Result<()> {
    let wait = async {
        while !fact().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, wait).await.with_context(|| what.to_owned())
}

/// The toy's slice, class and claims; `pods` pods with a claim each.
fn objects(world: &World, pods: usize) -> Result<Vec<Value>> {
    let store = &world.api.store;
    talk::create(
        store,
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
        "metadata": {"name": "s"}, "spec": {"driver": "toy.example", "nodeName": "kind-worker",
            "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "eth1", "allowMultipleAllocations": true,
                "capacity": {"max": {"value": "2",
                    "requestPolicy": {"default": "1", "validValues": ["1"]}}}}]}}),
    )?;
    talk::create(
        store,
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass",
        "metadata": {"name": "toy"},
        "spec": {"selectors": [{"cel": {"expression": "device.driver == 'toy.example'"}}]}}),
    )?;
    talk::create(
        store,
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate",
        "metadata": {"name": "toy"}, "spec": {"spec": {"devices": {"requests": [
            {"name": "r", "exactly": {"deviceClassName": "toy"}}]}}}}),
    )?;
    (0..pods)
        .map(|index| {
            talk::create(
                store,
                json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("pod{index}")},
                "spec": {"containers": [{"name": "main"}],
                    "resourceClaims": [{"name": "net", "resourceClaimTemplateName": "toy"}]}}),
            )
        })
        .collect()
}

fn joined(worker: &Worker, plugin: &Arc<ToyNri>) -> Result<JoinSet<()>> {
    let node = Arc::clone(&worker.node);
    let plugin = Arc::clone(plugin);
    let registration = Registration::new("toy", 10)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            if let Ok(stream) = node.connect("/run/nri/nri.sock") {
                let _ended = serve(stream, Arc::clone(&plugin), &registration).await;
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    Ok(tasks)
}

fn seen(calls: &Calls) -> Vec<String> {
    std::mem::take(&mut calls.lock().unwrap())
}

/// A kubelet that waits for nothing longer than a test must.
fn impatient() -> Options {
    let mut options = Options::default();
    options.kubelet.first_retry = Duration::from_millis(10);
    options
}

#[test]
fn the_kubelet_refuses_a_bad_registration() -> Result<()> {
    test(|| async {
        let world = World::up(&impatient())?;
        let worker = &world.workers[0];
        let check = async |change: fn(&mut Toy), expected: &str| -> Result<()> {
            let mut toy = Toy::new();
            change(&mut toy);
            let tasks = toy.serve(&worker.node)?;
            let told = || async { !toy.calls.lock().unwrap().is_empty() };
            until("the plugin is told", told).await?;
            drop(tasks);
            toy.remove(&worker.node)?;
            let told = seen(&toy.calls).remove(0);
            ensure!(told.contains(expected), "{told:?} instead of {expected:?}");
            Ok(())
        };
        check(|_| (), "registered=true").await?;
        check(
            |toy| toy.info.r#type = "CSIPlugin".to_owned(),
            "registered=false no handler registered for plugin type: CSIPlugin",
        )
        .await?;
        check(
            |toy| toy.info.name.clear(),
            "registered=false DRA plugin name is empty",
        )
        .await?;
        check(
            |toy| toy.info.supported_versions = vec!["1.0.0".to_owned()],
            "registered=false none of the DRA gRPC services",
        )
        .await?;
        check(
            |toy| toy.info.supported_versions.clear(),
            "registered=false empty list for supported gRPC services",
        )
        .await?;
        until("the plugins are gone", || async {
            worker.kubelet.plugins.get("toy.example").is_err()
        })
        .await
    })
}

#[test]
fn the_kubelet_calls_by_the_sockets_path_and_backs_off() -> Result<()> {
    test(|| async {
        let world = World::up(&impatient())?;
        let worker = &world.workers[0];
        let toy = Toy {
            insists: true,
            ..Toy::new()
        };
        let served = toy.serve(&worker.node)?;
        let plugins = &worker.kubelet.plugins;
        until("it is tried several times, each time later", || async {
            plugins.wait("toy-reg.sock") >= Some(Duration::from_millis(80))
        })
        .await?;
        let refusals = plugins.refusals();
        let why = refusals.get("toy-reg.sock").context("it is registered")?;
        ensure!(why.contains("reset") || why.contains("stream"), "{why}");
        ensure!(seen(&toy.calls).is_empty(), "it was reached");
        // Made anew by one who does not insist, it waits for its turn and is taken.
        drop(served);
        toy.remove(&worker.node)?;
        let _served = Toy::new().serve(&worker.node)?;
        plugins.registered("toy.example", LIMIT).await?;
        ensure!(plugins.wait("toy-reg.sock").is_none(), "it waits still");
        Ok(())
    })
}

#[test]
fn the_kubelet_checks_what_is_prepared() -> Result<()> {
    test(|| async {
        let world = World::up(&impatient())?;
        let worker = &world.workers[0];
        let pods = objects(&world, 1)?;
        let check = async |prepare: fn(
            &netclaim_proto::dra::v1::Claim,
        ) -> Option<NodePrepareResourceResponse>,
                           expected: &str|
               -> Result<()> {
            let toy = Toy {
                prepare,
                ..Toy::new()
            };
            let tasks = toy.serve(&worker.node)?;
            worker
                .kubelet
                .plugins
                .registered("toy.example", LIMIT)
                .await?;
            let refused = world.run_pod(&pods[0], Duration::ZERO).await;
            drop(tasks);
            toy.remove(&worker.node)?;
            until("the plugin is gone", || async {
                worker.kubelet.plugins.get("toy.example").is_err()
            })
            .await?;
            let refused = format!("{:#}", refused.err().context("it started")?);
            ensure!(
                refused.contains(expected),
                "{refused:?} instead of {expected:?}"
            );
            Ok(())
        };
        check(|_| None, "did not return results for some claims").await?;
        check(|_| Some(failed("no such link")), "no such link").await?;
        check(|_| Some(gave("eth7")), "is not in the allocation").await?;
        let unregistered = world.run_pod(&pods[0], Duration::ZERO).await.unwrap_err();
        ensure!(format!("{unregistered:#}").contains("DRA driver toy.example is not registered"));
        Ok(())
    })
}

#[test]
fn the_kubelet_starts_pods_side_by_side() -> Result<()> {
    test(|| async {
        let world = World::up(&Options::default())?;
        let worker = &world.workers[0];
        // Neither Prepare ends before the other has begun.
        let toy = Toy {
            together: Arc::new(Barrier::new(2)),
            ..Toy::new()
        };
        let _guest = Guest::come(worker, &toy, Answer::Yes).await?;
        let pods = objects(&world, 2)?;
        let run = timeout(LIMIT, world.run_pods(&pods, LIMIT)).await;
        run.context("one pod waits for the other")??;
        let prepared = seen(&toy.calls).into_iter();
        ensure!(prepared.filter(|call| call == "prepare").count() == 2);
        Ok(())
    })
}

fn failed(error: &str) -> NodePrepareResourceResponse {
    NodePrepareResourceResponse {
        error: error.to_owned(),
        ..Default::default()
    }
}

fn gave(device: &str) -> NodePrepareResourceResponse {
    let device = Device {
        pool_name: "p".to_owned(),
        device_name: device.to_owned(),
        ..Default::default()
    };
    NodePrepareResourceResponse {
        devices: vec![device],
        ..Default::default()
    }
}

/// Waits until the toy follows the runtime.
async fn on_nri(worker: &Worker) -> Result<()> {
    until("the toy is on NRI", || async {
        worker.kubelet.runtime.read().await.plugins().await == ["10-toy"]
    })
    .await
}

/// A toy that the kubelet and the runtime have.
struct Guest {
    plugin: Arc<ToyNri>,
    joined: JoinSet<()>,
    _served: JoinSet<()>,
}

impl Guest {
    async fn come(worker: &Worker, toy: &Toy, run: Answer) -> Result<Self> {
        let served = toy.serve(&worker.node)?;
        let plugin = Arc::new(ToyNri {
            calls: Arc::clone(&toy.calls),
            run: Mutex::new(run),
        });
        let joined = joined(worker, &plugin)?;
        let plugins = &worker.kubelet.plugins;
        plugins.registered("toy.example", LIMIT).await?;
        on_nri(worker).await?;
        seen(&toy.calls);
        Ok(Self {
            plugin,
            joined,
            _served: served,
        })
    }
}

/// A whole life of two pods, with the events in order.
async fn live(options: Options, stop: &str) -> Result<()> {
    let world = World::up(&options)?;
    let worker = &world.workers[0];
    let toy = Toy::new();
    let _guest = Guest::come(worker, &toy, Answer::Yes).await?;
    let pods = objects(&world, 3)?;
    let first = world.run_pod(&pods[0], LIMIT).await?;
    assert_eq!(seen(&toy.calls), ["prepare", "run pod0", "create main"]);
    let second = world.run_pod(&pods[1], LIMIT).await?;
    seen(&toy.calls);
    let third = world.run_pod(&pods[2], LIMIT).await.unwrap_err();
    ensure!(
        format!("{third:#}").contains("0/1 nodes are available"),
        "capacity is 2: {third:#}"
    );
    let address: IpAddr = "10.244.1.3".parse()?;
    let (from, to) = (worker.netns(&first).await?, worker.netns(&second).await?);
    traffic::send_udp(&worker.node, from.clone(), to.clone(), address, 5, 100)?;
    traffic::send_tcp(&worker.node, from.clone(), to, address, 100_000)?;
    let counted = traffic::interface(&worker.node, from, "eth0")?.counters;
    ensure!(counted.tx_bytes > 100_500, "{counted:?}");

    worker.kubelet.runtime.write().await.restart().await?;
    on_nri(worker).await?;
    assert_eq!(seen(&toy.calls)[1..], ["synchronize 2"]);

    world.delete_pod(&first).await?;
    assert_eq!(seen(&toy.calls), [stop, "remove pod0", "unprepare"]);
    world.run_pod(&pods[2], LIMIT).await?;
    ensure!(worker.node.list("/run/netns")?.len() == 2);
    Ok(())
}

#[test]
fn pods_live_on_containerd_of_today() -> Result<()> {
    test(|| async {
        let mut options = Options::default();
        options.runtime.pods_per_message = 1;
        live(options, "stop pod0 netns=true").await
    })
}

#[test]
fn pods_live_on_containerd_of_yesterday() -> Result<()> {
    test(|| async {
        let mut options = Options::default();
        options.runtime.generation = Generation::StateChange;
        live(options, "stop pod0 netns=true").await
    })
}

#[test]
fn a_plugin_that_does_not_speak_what_it_says_is_noticed() -> Result<()> {
    test(|| async {
        let mut options = Options::default();
        options.kubelet.version = Version::V1beta1;
        let world = World::up(&options)?;
        let mut toy = Toy::new();
        let versions = &mut toy.info.supported_versions;
        versions.push("v1beta1.DRAPlugin".to_owned());
        let _guest = Guest::come(&world.workers[0], &toy, Answer::Yes).await?;
        let pods = objects(&world, 1)?;
        let failed = world.run_pod(&pods[0], Duration::ZERO).await.unwrap_err();
        ensure!(
            format!("{failed:#}").contains("Unimplemented"),
            "{failed:#}"
        );
        Ok(())
    })
}

#[test]
fn a_plugins_refusal_and_its_silence() -> Result<()> {
    test(|| async {
        let mut options = Options::default();
        options.runtime.request_timeout = Duration::from_secs(1);
        options.runtime.generation = Generation::StateChange;
        options.runtime.removes_netns_first = true;
        let world = World::up(&options)?;
        let worker = &world.workers[0];
        let toy = Toy::new();
        let mut guest = Guest::come(worker, &toy, Answer::No).await?;
        let pods = objects(&world, 1)?;
        let refused = world.run_pod(&pods[0], Duration::ZERO).await.unwrap_err();
        ensure!(
            format!("{refused:#}").ends_with("plugin \"10-toy\": as the test says"),
            "{refused:#}"
        );
        assert_eq!(seen(&toy.calls), ["prepare", "run pod0"]);
        ensure!(worker.node.list("/run/netns")?.is_empty());

        *guest.plugin.run.lock().unwrap() = Answer::TooLate;
        guest.joined.shutdown().await;
        guest.joined = joined(worker, &guest.plugin)?;
        on_nri(worker).await?;
        seen(&toy.calls);
        world
            .run_pod(&pods[0], LIMIT)
            .await
            .context("a late plugin is dropped, the pod runs")?;
        until("the toy is back", || async {
            seen(&toy.calls).iter().any(|call| call == "synchronize 1")
        })
        .await
    })
}
