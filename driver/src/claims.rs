//! Reads one claim from the API server.
//!
//! Owns nothing and keeps nothing: a claim is read when the kubelet wants it prepared.

use std::time::Duration;

use http::{Request, StatusCode};
use netclaim_core::{
    claim::{ClaimRef, object::ClaimObject},
    failure::Cause,
};

/// The kubelet waits longer than this for a Prepare, and tries again.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// The claim as the API server has it at this moment.
pub async fn read(client: &kube::Client, claim: &ClaimRef) -> Result<ClaimObject, ReadError> {
    let path = format!(
        "/apis/resource.k8s.io/v1/namespaces/{}/resourceclaims/{}",
        claim.namespace, claim.name
    );
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| unreachable(claim, error))?;
    let answer = tokio::time::timeout(PATIENCE, client.request::<ClaimObject>(request)).await;
    let answer = answer.map_err(|late| unreachable(claim, late))?;
    answer.map_err(|error| refused(claim, error))
}

fn refused(claim: &ClaimRef, error: kube::Error) -> ReadError {
    let (namespace, name) = (claim.namespace.to_string(), claim.name.to_string());
    match error {
        kube::Error::Api(status) if status.code == StatusCode::NOT_FOUND => {
            ReadError::Gone { namespace, name }
        }
        kube::Error::Api(status) if status.code == StatusCode::FORBIDDEN => ReadError::Denied {
            namespace,
            name,
            answer: status.message.clone(),
        },
        other => unreachable(claim, other),
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
