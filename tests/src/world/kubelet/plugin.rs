//! One registered plugin: its calls, and the check of its answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use http::uri::PathAndQuery;
use netclaim_proto::dra::v1::{
    Claim, Device, NodePrepareResourcesRequest, NodePrepareResourcesResponse,
    NodeUnprepareResourcesRequest, NodeUnprepareResourcesResponse,
};
use netclaim_proto::health::v1::{
    HealthStatus, NodeWatchResourcesRequest, NodeWatchResourcesResponse,
};
use serde_json::Value;
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use super::{dial, list, text};
use crate::world::node::Node;

/// A version of the DRA protocol. The messages of the older are those of the newer, with less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `v1.DRAPlugin`
    V1,
    /// `v1beta1.DRAPlugin`
    V1beta1,
}

/// What a plugin says of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// How it is.
    pub status: HealthStatus,
    /// In words.
    pub message: String,
}

/// What a plugin told of its devices' health.
#[derive(Debug, Default)]
struct Told {
    lists: usize,
    /// The last list, by pool and device: what is not in it is not known any more.
    devices: BTreeMap<(String, String), Health>,
}

/// A registered plugin.
#[derive(Debug)]
pub struct Plugin {
    /// The driver.
    pub name: String,
    /// The version that both speak.
    pub version: Version,
    channel: Channel,
    told: Arc<Mutex<Told>>,
    tasks: JoinSet<()>,
}

impl Version {
    /// As plugins write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1.DRAPlugin",
            Self::V1beta1 => "v1beta1.DRAPlugin",
        }
    }

    /// The newest version up to `most` among those that a plugin supports.
    pub(super) fn choose(most: Self, supported: &[String]) -> Option<Self> {
        let ours: &[Self] = match most {
            Self::V1 => &[Self::V1, Self::V1beta1],
            Self::V1beta1 => &[Self::V1beta1],
        };
        let offered = |version: &&Self| supported.iter().any(|name| name == version.as_str());
        ours.iter().find(offered).copied()
    }
}

impl Plugin {
    pub(super) fn new(
        node: &Arc<Node>,
        name: String,
        endpoint: String,
        version: Version,
        supported: &[String],
    ) -> Self {
        let channel = dial::channel(node, endpoint);
        let told = Arc::default();
        let mut tasks = JoinSet::new();
        let watched = ["v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth"]
            .into_iter()
            .find(|service| supported.iter().any(|name| name == service));
        if let Some(service) = watched {
            tasks.spawn(watch_health(channel.clone(), service, Arc::clone(&told)));
        }
        Self {
            name,
            version,
            channel,
            told,
            tasks,
        }
    }

    /// What the plugin last said of a device; none if nothing.
    pub fn health(&self, pool: &str, device: &str) -> Option<Health> {
        let key = (pool.to_owned(), device.to_owned());
        lock(&self.told).devices.get(&key).cloned()
    }

    /// How many lists the plugin sent, and how many devices are in the last.
    pub fn told(&self) -> (usize, usize) {
        let told = lock(&self.told);
        (told.lists, told.devices.len())
    }

    /// Whether the health stream is there.
    pub fn is_watched(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Prepares `claims`, and checks that the plugin gives each what it was allocated.
    pub async fn prepare(&self, claims: &[&Value]) -> Result<()> {
        let request = NodePrepareResourcesRequest {
            claims: to_messages(claims),
        };
        let answer: NodePrepareResourcesResponse = self
            .dra("NodePrepareResources", request)
            .await
            .context("NodePrepareResources failed")?;
        refuse_strangers(claims, answer.claims.keys())?;
        for claim in claims {
            let name = text(&claim["metadata"]["name"]);
            let uid = text(&claim["metadata"]["uid"]);
            let Some(entry) = answer.claims.get(&uid) else {
                bail!("NodePrepareResources did not return results for some claims: {name}");
            };
            ensure!(
                entry.error.is_empty(),
                "NodePrepareResources failed for ResourceClaim {name}: {}",
                entry.error
            );
            for device in &entry.devices {
                self.check(claim, device)
                    .with_context(|| format!("NodePrepareResources for ResourceClaim {name}"))?;
            }
        }
        Ok(())
    }

    /// Unprepares `claims`.
    pub async fn unprepare(&self, claims: &[&Value]) -> Result<()> {
        let request = NodeUnprepareResourcesRequest {
            claims: to_messages(claims),
        };
        let answer: NodeUnprepareResourcesResponse = self
            .dra("NodeUnprepareResources", request)
            .await
            .context("NodeUnprepareResources failed")?;
        for claim in claims {
            let name = text(&claim["metadata"]["name"]);
            let entry = answer.claims.get(&text(&claim["metadata"]["uid"]));
            let entry = entry.with_context(|| {
                format!("NodeUnprepareResources did not return results for claim {name}")
            })?;
            ensure!(
                entry.error.is_empty(),
                "NodeUnprepareResources failed for ResourceClaim {name}: {}",
                entry.error
            );
        }
        Ok(())
    }

    /// A device of an answer must be one that was allocated, for a request it was allocated to.
    fn check(&self, claim: &Value, device: &Device) -> Result<()> {
        let results = list(&claim["status"]["allocation"]["devices"]["results"]);
        let result = results.iter().find(|result| {
            let share = device.share_id.as_deref();
            result["driver"] == self.name
                && result["pool"] == device.pool_name
                && result["device"] == device.device_name
                && (self.version == Version::V1beta1 || result["shareID"].as_str() == share)
        });
        let Some(result) = result else {
            bail!("device {device:?} is not in the allocation");
        };
        let request = text(&result["request"]);
        let base = request.split('/').next().unwrap_or_default();
        ensure!(
            device.request_names.iter().all(|name| name == base),
            "device {} is for request {base}, not {:?}",
            device.device_name,
            device.request_names
        );
        let qualified = |id: &String| id.contains('/') && id.contains('=');
        ensure!(
            device.cdi_device_ids.iter().all(qualified),
            "CDI device IDs must be vendor/class=name: {:?}",
            device.cdi_device_ids
        );
        Ok(())
    }

    async fn dra<A, B>(&self, method: &str, message: A) -> Result<B>
    where
        A: prost::Message + 'static,
        B: prost::Message + Default + 'static,
    {
        let service = format!("k8s.io.kubelet.pkg.apis.dra.{}", self.version.as_str());
        let path = PathAndQuery::try_from(format!("/{service}/{method}"))?;
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await?;
        let codec = ProstCodec::<A, B>::default();
        let answer = grpc.unary(tonic::Request::new(message), path, codec).await;
        match answer {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => bail!(
                "rpc error: code = {:?} desc = {}",
                status.code(),
                status.message()
            ),
        }
    }
}

fn to_messages(claims: &[&Value]) -> Vec<Claim> {
    let message = |claim: &&Value| Claim {
        namespace: text(&claim["metadata"]["namespace"]),
        uid: text(&claim["metadata"]["uid"]),
        name: text(&claim["metadata"]["name"]),
    };
    claims.iter().map(message).collect()
}

/// The answer must be about the claims that were asked for.
fn refuse_strangers<'a>(
    claims: &[&Value],
    answered: impl Iterator<Item = &'a String>,
) -> Result<()> {
    for uid in answered {
        let asked = claims.iter().any(|claim| claim["metadata"]["uid"] == **uid);
        ensure!(
            asked,
            "NodePrepareResources returned an unrequested claim {uid}"
        );
    }
    Ok(())
}

/// Follows the health stream; when it ends, nothing is known any more.
async fn watch_health(channel: Channel, service: &'static str, told: Arc<Mutex<Told>>) {
    let followed = follow_health(channel, service, &told).await;
    tracing::debug!(?followed, "a plugin's health stream ended");
    lock(&told).devices.clear();
}

async fn follow_health(channel: Channel, service: &str, told: &Mutex<Told>) -> Result<()> {
    let path = PathAndQuery::try_from(format!("/{service}/NodeWatchResources"))?;
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    let request = tonic::Request::new(NodeWatchResourcesRequest {});
    let codec = ProstCodec::<_, NodeWatchResourcesResponse>::default();
    let mut stream = grpc
        .server_streaming(request, path, codec)
        .await?
        .into_inner();
    while let Some(message) = stream.message().await? {
        let mut devices = BTreeMap::new();
        for device in message.devices {
            let status = device.health();
            let Some(id) = device.device else { continue };
            ensure!(
                device.message.len() <= 1024,
                "a health message is longer than 1024 bytes"
            );
            let known = Health {
                status,
                message: device.message,
            };
            devices.insert((id.pool_name, id.device_name), known);
        }
        let mut told = lock(told);
        told.lists += 1;
        told.devices = devices;
    }
    Ok(())
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
