//! Where heavy downloads and builds are kept: outside the checkout, keyed by what they are made of.

use std::{
    env,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// The root of the checkout.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// `$NETCLAIM_CACHE`, or a folder of netclaim's in the user's cache.
pub fn folder() -> anyhow::Result<PathBuf> {
    if let Some(folder) = env::var_os("NETCLAIM_CACHE") {
        return Ok(folder.into());
    }
    let user = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let user = user
        .or_else(home)
        .context("neither NETCLAIM_CACHE nor HOME is set")?;
    Ok(user.join("netclaim"))
}

/// A short name for what something is made of.
pub fn key(of: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
