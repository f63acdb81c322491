//! Versions of the CNI spec that netclaim speaks, and what each of them has.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Command;

/// A version of the spec, ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SpecVersion {
    /// 0.3.1: chains and prevResult.
    #[serde(rename = "0.3.1")]
    V0_3_1,
    /// 0.4.0: CHECK, and prevResult on DEL.
    #[serde(rename = "0.4.0")]
    V0_4_0,
    /// 1.0.0: an address no longer says its family.
    #[serde(rename = "1.0.0")]
    V1_0_0,
    /// 1.1.0: STATUS, GC, and more about interfaces and routes.
    #[serde(rename = "1.1.0")]
    V1_1_0,
}

impl SpecVersion {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];
    /// The newest.
    pub const LATEST: Self = Self::V1_1_0;
    /// All of them, for messages.
    pub const LISTED: &str = "0.3.1, 0.4.0, 1.0.0, 1.1.0";

    /// The version as it is written in `cniVersion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version that `text` names, if it is one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    /// The highest of ours among `declared`.
    pub fn negotiate<'a>(declared: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        declared.into_iter().filter_map(Self::parse).max()
    }

    /// Whether a plugin of this version knows `command`.
    pub fn has(self, command: Command) -> bool {
        match command {
            Command::Add | Command::Del | Command::Version => true,
            Command::Check => self >= Self::V0_4_0,
            Command::Status | Command::Gc => self >= Self::V1_1_0,
        }
    }

    /// Whether DEL is given the result of ADD.
    pub fn del_has_prev_result(self) -> bool {
        self >= Self::V0_4_0
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
