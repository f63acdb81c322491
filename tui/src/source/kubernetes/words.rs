//! What the API server's refusals mean, and what to do about them.

use std::error::Error;

use netclaim_core::cluster::{Kind, RelayRow, WatchState};

use crate::source::observe::Mute;

/// The chart's roles for who uses dra-top; both bear this name where the release is `netclaim`.
const ROLE: &str = "netclaim-dra-top";

/// What it means that objects cannot be listed or watched.
pub(super) fn unwatched(verb: &str, kind: Kind, scope: &str, cause: &kube::Error) -> WatchState {
    match cause {
        kube::Error::Api(status) if status.code == 403 => WatchState::Denied {
            missing: match kind {
                Kind::Relays => format!("{verb} pods {scope}: bind Role {ROLE} of that namespace"),
                _ => format!("{verb} {kind} {scope}: bind ClusterRole {ROLE}"),
            },
        },
        kube::Error::Api(status) if status.code == 404 => WatchState::Stale {
            why: format!(
                "the server has no {kind} in resource.k8s.io/v1; it is in Kubernetes 1.34 and later"
            ),
        },
        kube::Error::Api(status) => WatchState::Stale {
            why: format!("the server said {}: {}", status.code, status.message),
        },
        other => WatchState::Stale { why: root(other) },
    }
}

/// What it means that a relay's port is not forwarded.
pub(super) fn unforwarded(relay: &RelayRow, cause: &kube::Error) -> String {
    let pod = &relay.pod;
    match cause {
        kube::Error::Api(status) if status.code == 403 => format!(
            "no right to {} pods/portforward in namespace {}: bind Role {ROLE} of that namespace",
            verb(&status.message),
            pod.namespace
        ),
        kube::Error::Api(status) if status.code == 404 => {
            format!("its relay, pod {}, is gone", pod.name)
        }
        kube::Error::Api(status) => format!(
            "the API server does not reach its relay, pod {}: {}",
            pod.name, status.message
        ),
        other => root(other),
    }
}

/// What it means that nothing listens where a relay ought to.
pub(super) fn closed(relay: &RelayRow, said: &str) -> String {
    let RelayRow { pod, port, .. } = relay;
    format!(
        "its relay, pod {}, does not answer on port {port}: {said}",
        pod.name
    )
}

/// What it means that a driver does not speak, or not any more, though its relay does.
pub(super) fn mute(mute: &Mute, spoke: bool) -> String {
    if spoke {
        return mute.to_string();
    }
    format!("its relay answers and its driver does not; is netclaim running there? ({mute})")
}

/// The verb that is refused, out of `User "u" cannot create resource "pods/portforward" in …`:
/// one is asked for by older servers, two since Kubernetes 1.35.
fn verb(message: &str) -> &str {
    let found = message.split_once(" cannot ");
    let found = found.and_then(|(_, rest)| rest.split_once(" resource "));
    found.map_or("get and create", |(verb, _)| verb)
}

/// The innermost cause: the others only say that there is one.
fn root(error: &kube::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
