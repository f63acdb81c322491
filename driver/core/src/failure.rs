//! Why something did not happen, in the words every reader gets.
//!
//! One cause has one wording: the pod's event, the claim's condition, the log line, the metric
//! label and `dra-top` all read the same [`Failure`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Where on a claim's way something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The claim was fetched and checked at `NodePrepareResources`.
    Prepare,
    /// The sandbox was matched with the claims of its pod.
    Plan,
    /// The promise was written to disk.
    Journal,
    /// A CNI plugin was asked to add the interface.
    CniAdd,
    /// The counting programs were put on the interface.
    Probe,
    /// A CNI plugin was asked to delete the interface.
    CniDel,
    /// The claim's status was written.
    Status,
}

impl Step {
    /// The metric label.
    pub fn code(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Plan => "plan",
            Self::Journal => "journal",
            Self::CniAdd => "cni_add",
            Self::Probe => "probe",
            Self::CniDel => "cni_del",
            Self::Status => "status",
        }
    }
}

/// A cause, once, for every reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where it happened.
    pub step: Step,
    /// `CamelCase`: the condition's reason and the Event's reason.
    pub reason: Cow<'static, str>,
    /// `snake_case`: the metric label.
    pub code: Cow<'static, str>,
    /// What was found, what was expected, what to do.
    pub message: String,
}

/// An error that reaches users.
pub trait Cause: std::fmt::Display {
    /// `CamelCase`, stable: a condition's reason.
    fn reason(&self) -> &'static str;
    /// `snake_case`, stable: a metric label.
    fn code(&self) -> &'static str;
}

impl Failure {
    /// Puts a cause into the words that every reader gets.
    pub fn new(step: Step, cause: &(impl Cause + ?Sized)) -> Self {
        Self {
            step,
            reason: cause.reason().into(),
            code: cause.code().into(),
            message: cause.to_string(),
        }
    }
}

/// How long one step of an attachment took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Which step.
    pub step: Step,
    /// The CNI plugin, for the steps that run one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Microseconds.
    pub micros: u64,
    /// Whether it succeeded.
    pub ok: bool,
}
