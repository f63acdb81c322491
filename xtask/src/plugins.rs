//! Finds the CNI reference plugins, or fetches them.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::{
    go::Module,
    step::{command, found, run, timed},
};

/// What the demo and the tests cannot do without.
const NEEDED: &[&str] = &["macvlan", "host-local"];

/// Where they come from otherwise.
pub(crate) const MODULE: Module =
    Module::new("cni", "the CNI reference plugins (once, about a minute)");

const FOLDERS: &[&str] = &["/opt/cni/bin", "/usr/lib/cni"];

/// A folder with the plugins: `$CNI_PATH`, the usual ones, our cache, or freshly made.
pub(crate) fn ensure() -> anyhow::Result<PathBuf> {
    let built = MODULE.folder()?;
    let named = env::var_os("CNI_PATH")
        .into_iter()
        .flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let known = FOLDERS.iter().map(PathBuf::from).chain([built]);
    if let Some(folder) = named.chain(known).find(|folder| has_plugins(folder)) {
        return Ok(folder);
    }
    if found("go") {
        return MODULE.ensure();
    }
    install()
}

fn has_plugins(folder: &Path) -> bool {
    NEEDED.iter().all(|plugin| folder.join(plugin).is_file())
}

/// The distribution's package, where it can be installed without asking anybody.
fn install() -> anyhow::Result<PathBuf> {
    let how = "put the CNI reference plugins into /opt/cni/bin, or install Go, and try again";
    if !nix::unistd::geteuid().is_root() || !found("apt-get") {
        bail!(
            "no CNI plugins: looked for {NEEDED:?} in $CNI_PATH and {FOLDERS:?}. On Debian and \
             Ubuntu: `sudo apt-get install containernetworking-plugins`; on Fedora: `sudo dnf \
             install containernetworking-plugins`; else {how}"
        );
    }
    timed("Installing the CNI reference plugins with apt-get", || {
        // A fresh image has no lists of packages.
        run(&mut command("apt-get", ["update", "-q"]))?;
        run(&mut command(
            "apt-get",
            ["install", "-y", "-q", "containernetworking-plugins"],
        ))
    })
    .with_context(|| format!("no CNI plugins: {how}"))?;
    let folder = FOLDERS
        .iter()
        .map(PathBuf::from)
        .find(|folder| has_plugins(folder));
    folder.with_context(|| format!("the package brought no {NEEDED:?}: {how}"))
}
