//! Finds the CNI reference plugins, or fetches them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::{
    cache,
    step::{command, found, run, timed},
};

/// What the demo and the tests cannot do without.
const NEEDED: &[&str] = &["macvlan", "host-local"];

const FOLDERS: &[&str] = &["/opt/cni/bin", "/usr/lib/cni"];

/// A folder with the plugins: `$CNI_PATH`, the usual ones, our cache, or freshly made.
pub fn ensure() -> anyhow::Result<PathBuf> {
    let module = cache::root().join("tests/go/cni");
    let built = built_folder(&module)?;
    let named = env::var_os("CNI_PATH")
        .into_iter()
        .flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let known = FOLDERS.iter().map(PathBuf::from).chain([built.clone()]);
    if let Some(folder) = named.chain(known).find(|folder| has_plugins(folder)) {
        return Ok(folder);
    }
    if found("go") {
        timed(
            "Building the CNI reference plugins with Go (once, about a minute)",
            || build(&module, &built),
        )?;
        return Ok(built);
    }
    install()
}

fn has_plugins(folder: &Path) -> bool {
    NEEDED.iter().all(|plugin| folder.join(plugin).is_file())
}

/// Keyed by the lock file, so that another version of the plugins is built anew.
fn built_folder(module: &Path) -> anyhow::Result<PathBuf> {
    let lock = module.join("go.sum");
    let lock = fs::read(&lock).with_context(|| format!("{} cannot be read", lock.display()))?;
    Ok(cache::folder()?.join("cni").join(cache::key(&lock)))
}

/// Builds all tools of the module; the folder appears only when all of them are there.
fn build(module: &Path, folder: &Path) -> anyhow::Result<()> {
    let unfinished = folder.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    fs::create_dir_all(&unfinished)?;
    let mut go = command("go", ["build", "-trimpath", "-ldflags=-s -w", "-o"]);
    go.arg(&unfinished)
        .arg("tool")
        .current_dir(module)
        .env("CGO_ENABLED", "0");
    run(&mut go)?;
    fs::rename(&unfinished, folder)?;
    Ok(())
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
        run(&mut command(
            "apt-get",
            ["install", "-y", "-q", "containernetworking-plugins"],
        ))
    })?;
    let folder = FOLDERS
        .iter()
        .map(PathBuf::from)
        .find(|folder| has_plugins(folder));
    folder.with_context(|| format!("the package brought no {NEEDED:?}: {how}"))
}
