//! What keeps this machine out of what is built, so that others get the same bytes.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::cache;

/// Flags for rustc after which no path of this machine reaches the result. `library` is where the
/// standard library's source is, if it is anywhere.
pub(crate) fn remapped(library: &Path) -> anyhow::Result<Vec<String>> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let in_home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let cargo_home = cargo_home
        .or_else(in_home)
        .context("neither CARGO_HOME nor HOME is set")?;
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok(vec![
        remap(cache::root(), "/netclaim"),
        remap(&cargo_home.join("registry/src"), "/cargo"),
        remap(library, "/rust"),
    ])
}

/// Cargo with these flags for rustc and none of the build that started us.
pub(crate) fn cargo(flags: &[String]) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut cargo = Command::new(cargo);
    cargo
        .current_dir(cache::root())
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    cargo
}
