//! Reads from the API server which claims a pod uses.
//!
//! A pod says so in its own object, for as long as it lives: one request tells it of all claims of
//! a namespace.

use std::{collections::BTreeSet, time::Duration};

use http::Request;
use netclaim_core::{claim::PodRef, failure::Cause, name::NodeName};
use serde::{Deserialize, de::DeserializeOwned};

use super::Unread;

/// Why it is not known which claims a pod uses.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// It is gone, or another one is called so.
    #[error("pod {pod} does not exist any more; whoever made it makes another")]
    Gone {
        /// The pod.
        pod: PodRef,
    },
    /// We may not ask.
    #[error(
        "the API server does not let netclaim read pod {pod}: {answer}; it may use a claim that \
         serves another pod, and must not start without that interface: grant get on pods to \
         netclaim's service account"
    )]
    Denied {
        /// The pod.
        pod: PodRef,
        /// What the server said.
        answer: String,
    },
    /// Nobody answers, or not in time.
    #[error(
        "the API server did not give pod {pod}: {source}; it may use a claim that serves another \
         pod, and must not start without that interface; the kubelet tries again"
    )]
    Unreachable {
        /// The pod.
        pod: PodRef,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Cause for PodError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Gone { .. } => "PodGone",
            Self::Denied { .. } => "PodReadDenied",
            Self::Unreachable { .. } => "APIServerUnreachable",
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Gone { .. } => "pod_gone",
            Self::Denied { .. } => "pod_read_denied",
            Self::Unreachable { .. } => "api_server_unreachable",
        }
    }
}

/// `core/v1 Pod`: the few fields that say which claims it uses.
#[derive(Debug, Deserialize)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) namespace: String,
    uid: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    resource_claims: Option<Vec<Uses>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    resource_claim_statuses: Option<Vec<Uses>>,
    extended_resource_claim_status: Option<Uses>,
}

/// `PodResourceClaim`, `PodResourceClaimStatus` and `PodExtendedResourceClaimStatus`: the name is
/// absent where a template gives it, and until it has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Uses {
    resource_claim_name: Option<String>,
}

/// `PodList`.
#[derive(Debug, Deserialize)]
struct Pods {
    items: Vec<Pod>,
}

impl Pod {
    /// The names of its claims: its own, those made for it from a template, and the one made for
    /// the extended resources that it asks for (KEP-5004).
    pub(super) fn claims(self) -> BTreeSet<String> {
        let own = self.spec.and_then(|spec| spec.resource_claims);
        let (made, extended) = self.status.map_or((None, None), |status| {
            let extended = status.extended_resource_claim_status;
            (status.resource_claim_statuses, extended)
        });
        let uses = own.into_iter().chain(made).flatten().chain(extended);
        uses.filter_map(|uses| uses.resource_claim_name).collect()
    }
}

/// The names of the claims that a pod uses, by its own word.
pub async fn claims_of(
    client: &kube::Client,
    pod: &PodRef,
    within: Duration,
) -> Result<BTreeSet<String>, PodError> {
    let path = format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
    let answer = tokio::time::timeout(within, get::<Pod>(client, &path)).await;
    match answer {
        Ok(Ok(found)) if found.metadata.uid == pod.uid.as_str() => Ok(found.claims()),
        Ok(Ok(_)) => Err(PodError::Gone { pod: pod.clone() }),
        Ok(Err(error)) => Err(refused(pod, error)),
        Err(late) => Err(PodError::Unreachable {
            pod: pod.clone(),
            source: late.into(),
        }),
    }
}

/// The pods of a node.
pub(super) async fn of_node(
    client: &kube::Client,
    node: &NodeName,
) -> Result<Vec<Pod>, kube::Error> {
    let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}");
    Ok(get::<Pods>(client, &path).await?.items)
}

async fn get<T: DeserializeOwned>(client: &kube::Client, path: &str) -> Result<T, kube::Error> {
    let request = Request::get(path).body(Vec::new());
    client
        .request(request.map_err(kube::Error::HttpError)?)
        .await
}

fn refused(pod: &PodRef, error: kube::Error) -> PodError {
    let pod = pod.clone();
    match error.into() {
        Unread::Gone => PodError::Gone { pod },
        Unread::Denied(answer) => PodError::Denied { pod, answer },
        Unread::Unreachable(error) => PodError::Unreachable {
            pod,
            source: error.into(),
        },
    }
}
