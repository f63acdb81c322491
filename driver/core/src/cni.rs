//! The Container Network Interface, spec 1.1: configurations, what a plugin is given, what it
//! answers, and what its failures mean.
//!
//! Owns the wire shapes and every decision about them. It never runs a plugin, reads a file or
//! looks at a clock (the driver's `host::cni` does), and it has no opinion on which plugins or
//! fields a tenant may use (that is the claim policy's).
//!
//! Source: <https://github.com/containernetworking/cni/blob/main/SPEC.md>; where the spec is silent,
//! libcni 1.3 is followed, and the place says so.

mod advice;
mod cached;
mod command;
mod conflist;
mod error;
mod loader;
mod outcome;
pub mod request;
mod result;
mod version;

pub use cached::{CachedAttachment, CachedAttachmentError};
pub use command::{Command, Invocation, VARIABLES, environment};
pub use conflist::{ConfList, ConfListError, PluginConf};
pub use error::{CniError, Fault, PluginFailure};
pub use loader::interpreter;
pub use outcome::{Exit, Finished, Supported, read_result, read_versions};
pub use request::ValidAttachment;
pub use result::{AddResult, Dns, Interface, IpConfig, PodInterface, ResultError, Route};
pub use version::SpecVersion;

/// The longest standard output of a plugin that is read, in bytes: a result with 1,000 addresses
/// and as many routes stays below 200 KiB.
pub const STDOUT_LIMIT: usize = 1 << 20;

/// Whether `name` may name a network, a plugin or a container: libcni's
/// `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`. Such a name is also one safe path component.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// At most the first 160 characters of what a plugin printed, with control characters escaped.
fn head(bytes: &[u8]) -> String {
    const SHOWN: usize = 160;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN)]);
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().count() > SHOWN || bytes.len() > 4 * SHOWN {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
