//! Names of our sockets in the kubelet's folders, and which of those we find are ours.
//!
//! With the pod's UID in them, the two instances of a rolling update have different ones. The
//! kernel takes 107 bytes: the kubelet's usual folder and the usual driver name with a whole UID
//! are one too many, so the UID gives way first, then the driver's name.

use std::path::Path;

use crate::socket::PATH_MAX;

const SUFFIX: &str = "-reg.sock";

/// As much of a UID as git shows of a commit: 32 random bits for the few pods of one node.
const SHORT: usize = 8;

/// Name of the socket that serves claims; its folder is the driver's own.
pub(super) fn dra(pod_uid: Option<&str>) -> String {
    match pod_uid {
        Some(uid) => format!("dra-{}.sock", short(uid)),
        None => "dra.sock".to_owned(),
    }
}

/// Name of the socket in the folder that all plugins of the node share.
pub(super) fn registration(registry: &Path, driver: &str, pod_uid: Option<&str>) -> String {
    let uid = pod_uid.unwrap_or_default();
    let forms = match pod_uid {
        Some(_) => [
            format!("{driver}-{uid}{SUFFIX}"),
            format!("{driver}-{}{SUFFIX}", short(uid)),
        ],
        None => [format!("{driver}{SUFFIX}"), format!("{driver}{SUFFIX}")],
    };
    let fits = |name: &String| registry.join(name).as_os_str().len() <= PATH_MAX;
    let hashed = || format!("{}{}{SUFFIX}", hashed(driver), short(uid));
    forms.into_iter().find(fits).unwrap_or_else(hashed)
}

/// Whether a socket in the shared folder is named as one of this driver's instances names its own.
pub(super) fn is_registration_of(driver: &str, name: &str) -> bool {
    let Some(stem) = name.strip_suffix(SUFFIX) else {
        return false;
    };
    if let Some(uid) = stem.strip_prefix(&hashed(driver)) {
        return uid.is_empty() || is_uid(uid);
    }
    match stem.strip_prefix(driver) {
        Some("") => true,
        // The rest must be a UID: driver `a` does not own what driver `a-b` has made.
        Some(rest) => rest.strip_prefix('-').is_some_and(is_uid),
        None => false,
    }
}

/// Whether a socket in our own folder is one that serves claims.
pub(super) fn is_dra(name: &str) -> bool {
    let stem = name.strip_suffix(".sock");
    stem.is_some_and(|stem| stem == "dra" || stem.starts_with("dra-"))
}

/// A whole UID (36 characters; 32 of a static pod) or the beginning of one.
fn is_uid(text: &str) -> bool {
    [SHORT, 32, 36].contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

fn short(uid: &str) -> &str {
    uid.get(..SHORT).unwrap_or(uid)
}

/// The driver's name in 16 characters (FNV-1a, 64 bits): the kubelet reads the name from us, not
/// from the file.
fn hashed(driver: &str) -> String {
    let hash = driver
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("dra-{hash:016x}-")
}

#[cfg(test)]
mod tests;
