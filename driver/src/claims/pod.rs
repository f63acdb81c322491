//! Reads from the API server which claims a pod uses.
//!
//! A pod says so in its own object, for as long as it lives: one request tells it of all claims of
//! a namespace.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use netclaim_core::{claim::PodRef, failure::Cause};

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

/// The names of the claims that a pod uses, by its own word.
pub async fn claims_of(
    client: &kube::Client,
    pod: &PodRef,
    within: Duration,
) -> Result<BTreeSet<String>, PodError> {
    let pods = Api::<Pod>::namespaced(client.clone(), pod.namespace.as_str());
    let answer = tokio::time::timeout(within, pods.get(pod.name.as_str())).await;
    match answer {
        Ok(Ok(found)) if found.metadata.uid.as_deref() == Some(pod.uid.as_str()) => {
            Ok(names(found))
        }
        Ok(Ok(_)) => Err(PodError::Gone { pod: pod.clone() }),
        Ok(Err(error)) => Err(refused(pod, error)),
        Err(late) => Err(PodError::Unreachable {
            pod: pod.clone(),
            source: late.into(),
        }),
    }
}

/// The names of a pod's claims: its own, those made for it from a template, and the one made for
/// the extended resources that it asks for (KEP-5004).
pub(super) fn names(pod: Pod) -> BTreeSet<String> {
    let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
    let own = spec.resource_claims.into_iter().flatten();
    let own = own.filter_map(|claim| claim.resource_claim_name);
    let made = status.resource_claim_statuses.into_iter().flatten();
    let made = made.filter_map(|claim| claim.resource_claim_name);
    let extended = status.extended_resource_claim_status;
    let extended = extended.map(|claim| claim.resource_claim_name);
    own.chain(made).chain(extended).collect()
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
