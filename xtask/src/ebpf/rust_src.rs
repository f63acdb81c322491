//! Finds the source of Rust's library, or gets it: from rustup where it can, else from Debian.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::output;
use crate::{
    cache,
    step::{command, found, run, say, timed},
};

/// The Debian suite that has a `rust-src` of this compiler.
const SUITE: &str = "trixie-backports";

/// The keys that suite is signed with, wherever Debian's own package of keys is installed.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The folder `library` of the compiler's source.
pub(crate) fn find(sysroot: &Path, release: &str) -> anyhow::Result<PathBuf> {
    let own = sysroot.join("lib/rustlib/src/rust/library");
    let cached = cache::folder()?.join(format!("rust-src-{release}"));
    let library = cached.join(format!("usr/src/rustc-{release}/library"));
    if let Some(there) = [&own, &library]
        .into_iter()
        .find(|path| path.join("core").is_dir())
    {
        return Ok(there.clone());
    }
    if found("apt-get") && found("dpkg") {
        let got = timed(
            "getting rust-src from Debian into the cache, once (45 MB)",
            || from_debian(&cached, release),
        );
        match got {
            Ok(()) => return Ok(library),
            Err(error) => say(&format!("Debian has none for us: {error:#}")),
        }
    }
    say("adding the component rust-src to this toolchain");
    run(&mut command("rustup", ["component", "add", "rust-src"])).with_context(|| {
        format!(
            "no source of Rust's library; put rustc's `library` folder at {}",
            own.display()
        )
    })?;
    Ok(own)
}

/// Unpacks Debian's package into `folder`. Needs no right but the user's, and installs nothing.
fn from_debian(folder: &Path, release: &str) -> anyhow::Result<()> {
    let apt = cache::folder()?.join("apt");
    for sub in ["lists/partial", "archives/partial", "packages"] {
        fs::create_dir_all(apt.join(sub))?;
    }
    let source = format!("deb [signed-by={KEYS}] {} {SUITE} main\n", mirror()?);
    fs::write(apt.join("sources.list"), source)?;
    run(&mut private(&apt, "apt-get", &["update", "-qq"]))?;
    let offered = output(&mut private(&apt, "apt-cache", &["madison", "rust-src"]))?;
    let version = version(&offered, release)
        .with_context(|| format!("{SUITE} has no rust-src of rustc {release}"))?;
    let package = format!("rust-src={version}");
    let mut download = private(&apt, "apt-get", &["download", "-qq", &package]);
    run(download.current_dir(apt.join("packages")))?;
    unpack(&apt.join("packages"), version, folder)
}

/// An apt program that neither reads nor writes what the machine's own apt keeps.
fn private(apt: &Path, program: &str, arguments: &[&str]) -> std::process::Command {
    let at = |option: &str, path: &str| format!("-o{option}={}", apt.join(path).display());
    let mut options = vec![
        at("Dir::Etc::sourcelist", "sources.list"),
        "-oDir::Etc::sourceparts=-".to_owned(),
        at("Dir::State::lists", "lists"),
        at("Dir::Cache", ""),
        // Its own user could not read a cache in somebody's home.
        "-oAPT::Sandbox::User=root".to_owned(),
    ];
    options.extend(arguments.iter().map(ToString::to_string));
    command(program, options)
}

/// The machine's own mirror of Debian, as its apt is configured.
fn mirror() -> anyhow::Result<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten();
    files.extend(parts.map(|part| part.path()));
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    texts
        .into_iter()
        .find_map(|text| mirror_in(&text))
        .context("apt knows no mirror of Debian")
}

/// The first address of a Debian mirror in a file of apt, of either format.
fn mirror_in(text: &str) -> Option<String> {
    let lines = text.lines().map(str::trim);
    let ours = lines.filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
    let is_mirror =
        |word: &&str| word.contains("://") && word.trim_end_matches('/').ends_with("/debian");
    ours.flat_map(str::split_whitespace)
        .find(is_mirror)
        .map(ToOwned::to_owned)
}

/// The version for `release` in what `apt-cache madison` prints.
fn version<'a>(offered: &'a str, release: &str) -> Option<&'a str> {
    let versions = offered
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim);
    versions.into_iter().find(|version| {
        version
            .strip_prefix(release)
            .is_some_and(|rest| rest.starts_with(['+', '-', '~']))
    })
}

/// The folder appears only when it is whole.
fn unpack(packages: &Path, version: &str, folder: &Path) -> anyhow::Result<()> {
    let Some(package) = fs::read_dir(packages)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            // apt writes a colon of a version as %3a; ours has none.
            path.to_string_lossy().contains(version)
        })
    else {
        bail!("apt-get left no package in {}", packages.display());
    };
    let partial = folder.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    run(command("dpkg", ["-x"]).arg(package).arg(&partial))?;
    fs::rename(&partial, folder)?;
    Ok(())
}

#[cfg(test)]
mod tests;
