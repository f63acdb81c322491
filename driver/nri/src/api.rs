//! The messages of `nri.pkg.api.v1alpha1`, generated from `proto/api.proto`, and the questions
//! that every plugin asks of them.
//!
//! Must never hold a second copy of a message's shape: what the file says is what is here.

pub use generated::*;

#[expect(
    missing_docs,
    clippy::doc_markdown,
    reason = "generated: the comments are those of api.proto"
)]
mod generated {
    include!("generated/nri.pkg.api.v1alpha1.rs");
}

/// The version of NRI whose `api.proto` this crate speaks.
pub const NRI_VERSION: &str = "v0.12.2";

/// The service that the runtime calls on a plugin.
pub const PLUGIN_SERVICE: &str = "nri.pkg.api.v1alpha1.Plugin";

/// The service that a plugin calls on the runtime.
pub const RUNTIME_SERVICE: &str = "nri.pkg.api.v1alpha1.Runtime";

/// The subscription mask of `ConfigureResponse.events`: bit `n - 1` for event number `n`.
///
/// Subscribe to nothing that you do not need: an old runtime drops a plugin that sets a bit it
/// does not know.
pub const fn event_mask(events: &[Event]) -> i32 {
    let mut mask = 0;
    let mut next = 0;
    while next < events.len() {
        mask |= 1 << (events[next] as i32 - 1);
        next += 1;
    }
    mask
}

impl PodSandbox {
    /// The path of the pod's network namespace; none for a pod on the host's network, whose
    /// entry is absent or has an empty path.
    pub fn network_namespace(&self) -> Option<&str> {
        let namespaces = &self.linux.as_ref()?.namespaces;
        let network = namespaces
            .iter()
            .find(|namespace| namespace.r#type == "network")?;
        Some(network.path.as_str()).filter(|path| !path.is_empty())
    }
}

#[cfg(test)]
mod tests;
