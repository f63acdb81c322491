//! Ids that our network namespace has for others (`RTM_GETNSID`).

use std::{
    collections::BTreeSet,
    fs::File,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use futures::StreamExt as _;
use rtnetlink::{
    Handle,
    packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        nsid::{NsidAttribute, NsidMessage},
    },
};

/// What is mounted in a folder of namespaces; nothing when there is no such folder.
pub(super) fn mounted(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// The ids of those namespaces that have one.
///
/// One without an id is no peer of any of our links, and a path that is no namespace has none: it
/// may be left from a pod that is gone.
pub(super) async fn ids(handle: &Handle, paths: &BTreeSet<PathBuf>) -> BTreeSet<i32> {
    let (mut ids, mut asked) = (BTreeSet::new(), BTreeSet::new());
    for path in paths {
        // Most are there twice: in the folder, and as the runtime tells them, below /var/run.
        let is_new = path
            .metadata()
            .is_ok_and(|file| asked.insert((file.dev(), file.ino())));
        if is_new && let Ok(namespace) = File::open(path) {
            ids.extend(id(handle, &namespace).await);
        }
    }
    ids
}

async fn id(handle: &Handle, namespace: &File) -> Option<i32> {
    let mut asked = NsidMessage::default();
    let fd = u32::try_from(namespace.as_raw_fd()).ok()?;
    asked.attributes.push(NsidAttribute::Fd(fd));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(asked));
    request.header.flags = NLM_F_REQUEST;
    let mut answers = handle.clone().request(request).ok()?;
    let answer = answers.next().await?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(answer)) = answer.payload else {
        return None;
    };
    answer
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NsidAttribute::Id(id) => Some(*id).filter(|id| *id >= 0),
            _ => None,
        })
}
