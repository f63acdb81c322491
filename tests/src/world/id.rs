//! Names and times that the world gives out.

use std::fs;

use k8s_openapi::jiff::Timestamp;

/// A random UUID, of the kernel's making.
pub fn uuid() -> String {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid");
    uuid.unwrap_or_default().trim().to_owned()
}

/// Five random characters, as `generateName` appends them.
pub fn suffix() -> String {
    uuid().chars().take(5).collect()
}

/// The time, as Kubernetes writes it.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
