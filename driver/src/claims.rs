//! Reads one claim from the API server.
//!
//! Owns nothing and keeps nothing: a claim is read when the kubelet wants it prepared, or a pod
//! comes for it while it serves another.

use std::time::Duration;

use http::{Request, StatusCode};
use netclaim_core::{
    claim::{ClaimRef, object::ClaimObject},
    failure::Cause,
    name::NodeName,
};

pub mod follow;
pub mod pod;

/// Why a claim could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is gone.
    #[error(
        "claim {namespace}/{name} does not exist any more: the pod that uses it has to be made \
         anew, with its claim"
    )]
    Gone {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// We may not.
    #[error(
        "the API server does not let netclaim read claim {namespace}/{name}: {answer}; grant get \
         on resourceclaims.resource.k8s.io to netclaim's service account"
    )]
    Denied {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the server said.
        answer: String,
    },
    /// Nobody answers, or not in time.
    #[error(
        "the API server did not give claim {namespace}/{name}: {source}; the kubelet tries again"
    )]
    Unreachable {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Cause for ReadError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Gone { .. } => "ClaimGone",
            Self::Denied { .. } => "ClaimReadDenied",
            Self::Unreachable { .. } => "APIServerUnreachable",
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Gone { .. } => "claim_gone",
            Self::Denied { .. } => "claim_read_denied",
            Self::Unreachable { .. } => "api_server_unreachable",
        }
    }
}

/// The claims that the pods of `node` use, as the API server has them at this moment, each with
/// its identity. One that is gone, or not made yet, is left out.
pub async fn of_node(
    client: &kube::Client,
    node: &NodeName,
) -> Result<Vec<(ClaimRef, ClaimObject)>, kube::Error> {
    let mut found = Vec::new();
    for pod in pod::of_node(client, node).await? {
        let namespace = pod.metadata.namespace.clone();
        for name in pod.claims() {
            let request = get(&namespace, &name).map_err(kube::Error::HttpError)?;
            match client.request::<ClaimObject>(request).await {
                Ok(object) => found.push((object.claim(), object)),
                Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// The claim as the API server has it at this moment.
pub async fn read(
    client: &kube::Client,
    claim: &ClaimRef,
    within: Duration,
) -> Result<ClaimObject, ReadError> {
    let request = get(claim.namespace.as_str(), claim.name.as_str())
        .map_err(|error| unreachable(claim, error))?;
    let answer = tokio::time::timeout(within, client.request::<ClaimObject>(request)).await;
    let answer = answer.map_err(|late| unreachable(claim, late))?;
    answer.map_err(|error| refused(claim, error))
}

/// The path of a namespace's claims.
pub(crate) fn folder(namespace: &str) -> String {
    format!("/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims")
}

fn get(namespace: &str, name: &str) -> http::Result<Request<Vec<u8>>> {
    Request::get(format!("{}/{name}", folder(namespace))).body(Vec::new())
}

/// Why an object could not be read, whatever it is.
enum Unread {
    Gone,
    Denied(String),
    Unreachable(kube::Error),
}

impl From<kube::Error> for Unread {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == StatusCode::NOT_FOUND => Self::Gone,
            kube::Error::Api(status) if status.code == StatusCode::FORBIDDEN => {
                Self::Denied(status.message.clone())
            }
            other => Self::Unreachable(other),
        }
    }
}

fn refused(claim: &ClaimRef, error: kube::Error) -> ReadError {
    let (namespace, name) = (claim.namespace.to_string(), claim.name.to_string());
    match error.into() {
        Unread::Gone => ReadError::Gone { namespace, name },
        Unread::Denied(answer) => ReadError::Denied {
            namespace,
            name,
            answer,
        },
        Unread::Unreachable(error) => unreachable(claim, error),
    }
}

fn unreachable(
    claim: &ClaimRef,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ReadError {
    ReadError::Unreachable {
        namespace: claim.namespace.to_string(),
        name: claim.name.to_string(),
        source: source.into(),
    }
}

#[cfg(test)]
mod tests;
