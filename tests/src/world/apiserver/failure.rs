//! What the API server answers when it refuses.
//!
//! Owns the wording and codes of `metav1.Status`. It must never refuse without a reason that a
//! client can tell from others.

use serde_json::{Value, json};
use thiserror::Error;

/// Why a request failed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Failure {
    /// No such object, or no such resource.
    #[error("{resource} \"{name}\" not found")]
    NotFound {
        /// `resourceclaims.resource.k8s.io`
        resource: String,
        /// The object's name.
        name: String,
    },
    /// The name is taken.
    #[error("{resource} \"{name}\" already exists")]
    AlreadyExists {
        /// `resourceclaims.resource.k8s.io`
        resource: String,
        /// The object's name.
        name: String,
    },
    /// The object changed meanwhile, or another manager owns a field.
    #[error("{0}")]
    Conflict(String),
    /// The object breaks rules.
    #[error("{kind} \"{name}\" is invalid: {}", join(causes))]
    Invalid {
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// Each rule that it breaks.
        causes: Vec<Cause>,
    },
    /// The user may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// Who is the user?
    #[error("Unauthorized")]
    Unauthorized,
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// The version asked for is forgotten.
    #[error("too old resource version: {asked} ({oldest})")]
    Expired {
        /// What was asked for.
        asked: u64,
        /// The oldest that is remembered.
        oldest: u64,
    },
    /// The body's content type.
    #[error("the body of the request was in an unknown format - accepted media types include: {0}")]
    UnsupportedMediaType(&'static str),
    /// The path has no such verb.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
}

/// A rule that an object breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Where: `spec.devices[0].name`.
    pub field: String,
    /// `FieldValueInvalid` and the like.
    pub reason: &'static str,
    /// What is wrong.
    pub detail: String,
}

impl Failure {
    /// The HTTP status and its reason, as `metav1.StatusReason` names it.
    pub fn code(&self) -> (u16, &'static str) {
        match self {
            Self::NotFound { .. } => (404, "NotFound"),
            Self::AlreadyExists { .. } => (409, "AlreadyExists"),
            Self::Conflict(_) => (409, "Conflict"),
            Self::Invalid { .. } => (422, "Invalid"),
            Self::Forbidden(_) => (403, "Forbidden"),
            Self::Unauthorized => (401, "Unauthorized"),
            Self::BadRequest(_) => (400, "BadRequest"),
            Self::Expired { .. } => (410, "Expired"),
            Self::UnsupportedMediaType(_) => (415, "UnsupportedMediaType"),
            Self::MethodNotAllowed => (405, "MethodNotAllowed"),
        }
    }

    /// As a client receives it.
    pub fn to_status(&self) -> Value {
        let (code, reason) = self.code();
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.to_string(), "reason": reason, "code": code,
        });
        if let Self::Invalid { kind, name, causes } = self {
            let causes: Vec<Value> = causes
                .iter()
                .map(|cause| {
                    json!({"reason": cause.reason, "field": cause.field, "message": cause.detail})
                })
                .collect();
            status["details"] = json!({"kind": kind, "name": name, "causes": causes});
        }
        status
    }
}

fn join(causes: &[Cause]) -> String {
    let causes: Vec<String> = causes
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.detail))
        .collect();
    match causes.as_slice() {
        [only] => only.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}
