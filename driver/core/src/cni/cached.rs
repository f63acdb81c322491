//! What is kept of an ADD, in libcni's file format, so that `cnitool` or another runtime can undo
//! it without us.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AddResult, ConfList, ConfListError, Invocation, ResultError, ValidAttachment};
use crate::{
    attachment::Key,
    claim::PodRef,
    name::{IfName, NameError, Namespace, PodName, PodUid, SandboxId},
};

/// An ADD that succeeded and was not undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedAttachment {
    /// Which interface of which sandbox.
    pub key: Key,
    /// The sandbox's network namespace.
    pub netns: Option<String>,
    /// The chain.
    pub network: ConfList,
    /// The capability arguments.
    pub runtime_config: Map<String, Value>,
    /// The pod.
    pub pod: PodRef,
    /// What the chain reported.
    pub result: AddResult,
}

/// A file that is no record of ours.
#[derive(Debug, thiserror::Error)]
pub enum CachedAttachmentError {
    /// Not JSON, or not of libcni's shape.
    #[error("not a cniCacheV1 record: {0}")]
    Json(#[from] serde_json::Error),
    /// Another kind of record.
    #[error("a record of kind {found:?}, expected \"cniCacheV1\"")]
    Kind {
        /// Its kind.
        found: String,
    },
    /// The configuration is not base64.
    #[error("its config is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The configuration is no list.
    #[error("its config: {0}")]
    Config(#[from] ConfListError),
    /// The result is none.
    #[error("its result: {0}")]
    Result(#[from] ResultError),
    /// An identity that Kubernetes would not give.
    #[error("{0}")]
    Name(#[from] NameError),
}

/// libcni's `cachedInfo` (libcni/api.go).
#[derive(Serialize, Deserialize)]
struct Record {
    kind: String,
    #[serde(rename = "containerId")]
    container_id: String,
    config: String,
    #[serde(rename = "ifName")]
    if_name: String,
    #[serde(rename = "networkName")]
    network_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    netns: Option<String>,
    #[serde(default, rename = "cniArgs")]
    args: Vec<(String, String)>,
    #[serde(
        default,
        rename = "capabilityArgs",
        skip_serializing_if = "Map::is_empty"
    )]
    capability_args: Map<String, Value>,
    result: Value,
}

const KIND: &str = "cniCacheV1";

impl CachedAttachment {
    /// The record of an ADD.
    pub fn new(at: &Invocation<'_>, result: &AddResult) -> Self {
        Self {
            key: at.key.clone(),
            netns: at.netns.map(str::to_owned),
            network: at.network.clone(),
            runtime_config: at.runtime_config.clone(),
            pod: at.pod.clone(),
            result: result.clone(),
        }
    }

    /// The name of the record's file. All three parts are safe in a path.
    pub fn file_name(network: &ConfList, key: &Key) -> String {
        format!("{}-{}-{}", network.name(), key.sandbox, key.if_name)
    }

    /// What DEL needs.
    pub fn invocation(&self) -> Invocation<'_> {
        Invocation {
            key: &self.key,
            netns: self.netns.as_deref(),
            network: &self.network,
            runtime_config: &self.runtime_config,
            pod: &self.pod,
        }
    }

    /// What GC calls it.
    pub fn id(&self) -> ValidAttachment {
        ValidAttachment {
            container_id: self.key.sandbox.to_string(),
            if_name: self.key.if_name.to_string(),
        }
    }

    /// The file's content.
    pub fn write(&self) -> Result<Vec<u8>, CachedAttachmentError> {
        let at = self.invocation();
        let config = serde_json::to_vec(&self.network)?;
        Ok(serde_json::to_vec(&Record {
            kind: KIND.into(),
            container_id: self.key.sandbox.to_string(),
            config: BASE64_STANDARD.encode(config),
            if_name: self.key.if_name.to_string(),
            network_name: self.network.name().to_owned(),
            netns: self.netns.clone(),
            args: at
                .args()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            capability_args: self.runtime_config.clone(),
            result: self.result.at(self.network.version()),
        })?)
    }

    /// Reads a file's content.
    pub fn read(content: &[u8]) -> Result<Self, CachedAttachmentError> {
        let record: Record = serde_json::from_slice(content)?;
        if record.kind != KIND {
            return Err(CachedAttachmentError::Kind { found: record.kind });
        }
        let config: Value = serde_json::from_slice(&BASE64_STANDARD.decode(&record.config)?)?;
        let network = ConfList::parse(&config)?;
        let result = AddResult::read(&record.result)?;
        let arg = |wanted: &str| {
            let pair = record.args.iter().find(|(key, _)| key == wanted);
            pair.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        Ok(Self {
            pod: PodRef {
                namespace: Namespace::parse(arg("K8S_POD_NAMESPACE"))?,
                name: PodName::parse(arg("K8S_POD_NAME"))?,
                uid: PodUid::parse(arg("K8S_POD_UID"))?,
            },
            key: Key {
                sandbox: SandboxId::parse(record.container_id)?,
                if_name: IfName::parse(record.if_name)?,
            },
            netns: record.netns,
            network,
            runtime_config: record.capability_args,
            result,
        })
    }
}
