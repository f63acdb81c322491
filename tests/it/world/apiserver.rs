//! The API server, through the client that the driver uses.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceSlice};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use netclaim_tests::world::apiserver::resource::{CLAIMS, SLICES};
use netclaim_tests::world::apiserver::store::{Feature, Part};
use netclaim_tests::world::apiserver::{ApiServer, kubeconfig};
use netclaim_tests::world::talk;
use serde_json::{Value, json};

async fn client(api: &mut ApiServer, user: &str) -> Result<Client> {
    let config = Kubeconfig::from_yaml(&kubeconfig(api.listen(None)?, user))?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn slice(node: &str) -> Value {
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
        "metadata": {"generateName": format!("{node}-")},
        "spec": {"driver": "d.example", "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "eth1", "allowMultipleAllocations": true,
                "capacity": {"max": {"value": "9", "requestPolicy": {"default": "1", "validValues": ["1"]}}},
                "taints": [{"key": "k", "effect": "NoSchedule"}]}]}})
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn code<T>(result: Result<T, kube::Error>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        Err(other) => panic!("{other}"),
        Ok(_) => 200,
    }
}

#[tokio::test]
async fn versions_conflict_and_generations_count() -> Result<()> {
    let mut server = ApiServer::new()?;
    let slices: Api<ResourceSlice> = Api::all(client(&mut server, "netclaim").await?);
    let made = slices
        .create(&PostParams::default(), &parse(slice("a")))
        .await?;
    let name = made.metadata.name.clone().context("a name")?;
    assert!(name.starts_with("a-") && name.len() == 7, "{name}");
    assert_eq!(made.metadata.generation, Some(1));
    assert_eq!(
        code(slices.create(&PostParams::default(), &made).await),
        409
    );

    let mut changed = made.clone();
    changed.spec.pool.generation = 2;
    let again = slices
        .replace(&name, &PostParams::default(), &changed)
        .await?;
    assert_eq!(again.metadata.generation, Some(2));
    assert_eq!(
        code(
            slices
                .replace(&name, &PostParams::default(), &changed)
                .await
        ),
        409
    );
    let same = slices
        .replace(&name, &PostParams::default(), &again)
        .await?;
    assert_eq!(
        same.metadata.resource_version,
        again.metadata.resource_version
    );

    let mut moved = again.clone();
    moved.spec.node_name = Some("b".to_owned());
    assert_eq!(
        code(slices.replace(&name, &PostParams::default(), &moved).await),
        422
    );
    assert_eq!(code(slices.get("none").await), 404);
    Ok(())
}

#[tokio::test]
async fn watches_see_what_they_select() -> Result<()> {
    let mut server = ApiServer::new()?;
    let slices: Api<ResourceSlice> = Api::all(client(&mut server, "netclaim").await?);
    for node in ["a", "b"] {
        slices
            .create(&PostParams::default(), &parse(slice(node)))
            .await?;
    }
    let of_a = "spec.nodeName=a,spec.driver=d.example";
    let listed = slices.list(&ListParams::default().fields(of_a)).await?;
    assert_eq!(listed.items.len(), 1);
    let version = listed.metadata.resource_version.context("a version")?;
    let mut events = slices
        .watch(&WatchParams::default().fields(of_a), &version)
        .await?
        .boxed();
    slices
        .create(&PostParams::default(), &parse(slice("b")))
        .await?;
    let name = listed.items[0].metadata.name.clone().context("a name")?;
    slices
        .delete(&name, &kube::api::DeleteParams::default())
        .await?;
    let event = tokio::time::timeout(Duration::from_mins(1), events.try_next()).await??;
    let Some(WatchEvent::Deleted(gone)) = event else {
        panic!("{event:?}");
    };
    assert_eq!(gone.metadata.name, Some(name));

    server.store.compact();
    let stale = slices.watch(&WatchParams::default(), "1").await;
    let stale = match stale {
        Ok(stream) => match stream.boxed().try_next().await {
            Ok(Some(WatchEvent::Error(status))) => status.code,
            other => panic!("{other:?}"),
        },
        refused => code(refused.map(|_| ())),
    };
    assert_eq!(stale, 410);
    Ok(())
}

#[tokio::test]
async fn a_server_refuses_drops_and_is_away() -> Result<()> {
    let mut server = ApiServer::new()?;
    let client = client(&mut server, "netclaim").await?;
    let slices: Api<ResourceSlice> = Api::all(client.clone());
    server.deny("create", "resourceslices");
    let refused = slices
        .create(&PostParams::default(), &parse(slice("a")))
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("User \"netclaim\" cannot create resource \"resourceslices\""),
        "{refused}"
    );
    server.allow_all();
    server.disable(Feature::ConsumableCapacity);
    server.disable(Feature::DeviceTaints);
    let made = slices
        .create(&PostParams::default(), &parse(slice("a")))
        .await?;
    let device = made.spec.devices.context("devices")?.remove(0);
    assert_eq!(
        (device.allow_multiple_allocations, device.taints),
        (None, None)
    );
    assert!(device.capacity.unwrap()["max"].request_policy.is_none());

    server.set_up(false);
    assert!(slices.list(&ListParams::default()).await.is_err());
    server.set_up(true);
    assert_eq!(slices.list(&ListParams::default()).await?.items.len(), 1);

    let nobody = Config::new(format!("http://{}", server.listen(None)?).parse()?);
    let pods: Api<Pod> = Api::default_namespaced(Client::try_from(nobody)?);
    assert_eq!(code(pods.list(&ListParams::default()).await), 401);
    Ok(())
}

#[tokio::test]
async fn admin_access_needs_the_label() -> Result<()> {
    let server = ApiServer::new()?;
    let refused = talk::apply(&server.store, talk::TEMPLATE_V1BETA1).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("resource.kubernetes.io/admin-access"),
        "{refused}"
    );
    talk::allow_admin_access(&server.store, "default")?;
    talk::apply(&server.store, talk::TEMPLATE_V1BETA1)?;
    Ok(())
}

fn entry(device: &str, reason: &str) -> Value {
    json!({"driver": "d.example", "pool": "p", "device": device, "shareID": "s",
        "conditions": [{"type": "Ready", "status": "True", "reason": reason, "message": "",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
}

fn apply(devices: &[Value]) -> Patch<Value> {
    Patch::Apply(
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": "c"}, "status": {"devices": devices}}),
    )
}

#[tokio::test]
async fn the_status_is_applied_per_manager() -> Result<()> {
    let mut server = ApiServer::new()?;
    let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": "c"}, "spec": {"devices": {"requests": [
            {"name": "r", "exactly": {"deviceClassName": "x"}}]}}});
    let mut claim = talk::create(&server.store, claim)?;
    let result = |device: &str| json!({"driver": "d.example", "pool": "p", "device": device, "request": "r", "shareID": "s"});
    claim["status"] =
        json!({"allocation": {"devices": {"results": [result("eth0"), result("eth1")]}}});
    server.store.replace(CLAIMS, Part::Status, &claim, "test")?;

    let claims: Api<ResourceClaim> =
        Api::default_namespaced(client(&mut server, "netclaim").await?);
    let (ours, theirs) = (PatchParams::apply("ours"), PatchParams::apply("theirs"));
    claims
        .patch_status("c", &ours, &apply(&[entry("eth0", "Attached")]))
        .await?;
    claims
        .patch_status("c", &theirs, &apply(&[entry("eth1", "Attached")]))
        .await?;
    let conflict = claims
        .patch_status("c", &theirs, &apply(&[entry("eth0", "Other")]))
        .await;
    assert_eq!(code(conflict), 409);
    let forced = theirs.clone().force();
    let unknown = claims
        .patch_status("c", &forced, &apply(&[entry("eth7", "Attached")]))
        .await;
    assert_eq!(code(unknown), 422, "eth7 is not allocated");

    let left = claims.patch_status("c", &ours, &apply(&[])).await?;
    let devices = left
        .status
        .context("a status")?
        .devices
        .context("devices")?;
    assert_eq!(devices.len(), 1, "only theirs: {devices:?}");
    assert_eq!(devices[0].device, "eth1");
    assert_eq!(server.store.all(SLICES).len(), 0);
    Ok(())
}
