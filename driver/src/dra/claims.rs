//! `DRAPlugin`, `v1` and `v1beta1`: claims in, devices or words out.
//!
//! Every claim of a request gets an entry in the answer, and a claim's failure is its own: it never
//! fails the request.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use netclaim_core::{
    claim::{Allocated, ClaimRef},
    failure::Failure,
    name::NameError,
};
use netclaim_proto::dra::{v1, v1beta1};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::Prepare;
use crate::metrics::{DraMethod, Metrics};

/// Serves both versions.
#[derive(Clone, Debug)]
pub(super) struct Claims<P> {
    engine: P,
    running: TaskTracker,
    metrics: Arc<Metrics>,
}

/// Why a claim has no answer of the engine.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    /// A name that the API server would not have taken.
    #[error(
        "the kubelet named a claim that cannot be: {0}; report this, with the kubelet's version"
    )]
    Named(#[from] NameError),
    /// A defect of ours.
    #[error("netclaim broke down over this claim; its log has the panic, please report it")]
    Broken,
}

/// A claim as either version names it.
struct Asked {
    namespace: String,
    name: String,
    uid: String,
}

/// What became of one claim.
struct Prepared(Result<Vec<Allocated>, String>);

type Answers<T> = BTreeMap<String, Result<T, String>>;

impl<P: Prepare> Claims<P> {
    pub(super) fn new(engine: P, running: &TaskTracker, metrics: &Arc<Metrics>) -> Self {
        Self {
            engine,
            running: running.clone(),
            metrics: Arc::clone(metrics),
        }
    }

    pub(super) fn into_v1(self) -> v1::dra_plugin_server::DraPluginServer<Self> {
        v1::dra_plugin_server::DraPluginServer::new(self)
    }

    pub(super) fn into_v1beta1(self) -> v1beta1::dra_plugin_server::DraPluginServer<Self> {
        v1beta1::dra_plugin_server::DraPluginServer::new(self)
    }

    async fn prepare_all(&self, asked: Vec<Asked>) -> Answers<Vec<Allocated>> {
        let prepare = |engine: P, claim| async move { engine.prepare(claim).await };
        self.each(DraMethod::Prepare, asked, prepare).await
    }

    async fn unprepare_all(&self, asked: Vec<Asked>) -> Answers<()> {
        let unprepare = |engine: P, claim| async move { engine.unprepare(claim).await };
        self.each(DraMethod::Unprepare, asked, unprepare).await
    }

    /// All claims at once, each in a task of its own: a kubelet that hangs up must not leave a
    /// claim half prepared, and a claim that waits must not hold up the others.
    async fn each<T, V, R>(&self, method: DraMethod, asked: Vec<Asked>, verb: V) -> Answers<T>
    where
        T: Send + 'static,
        V: Fn(P, ClaimRef) -> R,
        R: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let start = |asked: Asked| {
            let uid = asked.uid.clone();
            let claim = ClaimRef::try_from(asked);
            let task = claim.map(|claim| {
                let answer = verb(self.engine.clone(), claim);
                let metrics = Arc::clone(&self.metrics);
                self.running.spawn(counted(metrics, method, answer))
            });
            (uid, task)
        };
        let started: Vec<_> = asked.into_iter().map(start).collect();
        let mut answers = BTreeMap::new();
        for (uid, task) in started {
            let answer = match task {
                Ok(task) => task
                    .await
                    .unwrap_or_else(|_| Err(Unanswered::Broken.to_string())),
                Err(error) => Err(Unanswered::from(error).to_string()),
            };
            answers.insert(uid, answer);
        }
        answers
    }
}

async fn counted<T>(
    metrics: Arc<Metrics>,
    method: DraMethod,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, String> {
    let begun = Instant::now();
    let answer = answer.await;
    let code = answer.as_ref().err().map(|failure| failure.code.as_ref());
    metrics.dra_request(method, code, begun.elapsed());
    answer.map_err(|failure| failure.message)
}

impl TryFrom<Asked> for ClaimRef {
    type Error = NameError;

    fn try_from(asked: Asked) -> Result<Self, NameError> {
        Ok(Self {
            namespace: asked.namespace.try_into()?,
            name: asked.name.try_into()?,
            uid: asked.uid.try_into()?,
        })
    }
}

/// The same service twice: the versions differ in `share_id` only.
macro_rules! dra_plugin {
    ($version:ident $(, $share_id:ident)?) => {
        #[tonic::async_trait]
        impl<P: Prepare> $version::dra_plugin_server::DraPlugin for Claims<P> {
            async fn node_prepare_resources(
                &self,
                request: Request<$version::NodePrepareResourcesRequest>,
            ) -> Result<Response<$version::NodePrepareResourcesResponse>, Status> {
                let asked = request.into_inner().claims.into_iter().map(Into::into).collect();
                let answers = self.prepare_all(asked).await.into_iter();
                let claims = answers.map(|(uid, answer)| (uid, Prepared(answer).into())).collect();
                Ok(Response::new($version::NodePrepareResourcesResponse { claims }))
            }

            async fn node_unprepare_resources(
                &self,
                request: Request<$version::NodeUnprepareResourcesRequest>,
            ) -> Result<Response<$version::NodeUnprepareResourcesResponse>, Status> {
                let asked = request.into_inner().claims.into_iter().map(Into::into).collect();
                let answers = self.unprepare_all(asked).await.into_iter();
                let claims = answers.map(|(uid, answer)| {
                    let error = answer.err().unwrap_or_default();
                    (uid, $version::NodeUnprepareResourceResponse { error })
                });
                let claims = claims.collect();
                Ok(Response::new($version::NodeUnprepareResourcesResponse { claims }))
            }
        }

        impl From<$version::Claim> for Asked {
            fn from(claim: $version::Claim) -> Self {
                Self { namespace: claim.namespace, name: claim.name, uid: claim.uid }
            }
        }

        impl From<Prepared> for $version::NodePrepareResourceResponse {
            fn from(Prepared(answer): Prepared) -> Self {
                let device = |allocated: Allocated| $version::Device {
                    request_names: vec![allocated.request.base().to_owned()],
                    pool_name: allocated.pool.into(),
                    device_name: allocated.device.into(),
                    // The interface comes through CNI: there is nothing for the runtime to inject.
                    cdi_device_ids: Vec::new(),
                    $($share_id: allocated.share_id.map(Into::into),)?
                };
                match answer {
                    Ok(devices) => Self {
                        devices: devices.into_iter().map(device).collect(),
                        error: String::new(),
                    },
                    Err(error) => Self { devices: Vec::new(), error },
                }
            }
        }
    };
}

dra_plugin!(v1, share_id);
dra_plugin!(v1beta1);
