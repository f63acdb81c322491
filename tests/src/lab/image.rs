//! Container images of a static busybox, as one OCI archive: what the lab's pods run, without a
//! registry.
//!
//! The same busybox gives the same bytes.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// What a sandbox runs.
pub const PAUSE: &str = "localhost/pause:1";

/// What tests run: a shell and network tools.
pub const BUSYBOX: &str = "localhost/busybox:1";

/// What the talk's manifests run; here it is the same busybox.
pub const ALPINE: &str = "docker.io/library/alpine:latest";

/// Where distributions put a busybox; it must be a static one.
const FOUND_AT: &[&str] = &["/usr/bin/busybox", "/bin/busybox", "/usr/sbin/busybox"];

const APPLETS: &[&str] = &[
    "arp", "arping", "cat", "cp", "echo", "env", "grep", "head", "hostname", "httpd", "ifconfig",
    "ip", "kill", "ls", "mkdir", "mount", "nc", "nslookup", "ping", "ping6", "ps", "rm", "route",
    "sed", "seq", "sh", "sleep", "sort", "stat", "tail", "test", "timeout", "top", "touch", "tr",
    "true", "udhcpc", "uname", "wc", "wget",
];

const FOLDERS: &[&str] = &["bin", "dev", "etc", "proc", "root", "sys", "tmp"];

/// A part of an image, named by what is in it.
struct Blob {
    digest: String,
    bytes: Vec<u8>,
}

/// Writes the archive.
pub fn write(archive: &Path) -> anyhow::Result<()> {
    let busybox = find_busybox()?;
    let bytes = archive_of(&fs::read(&busybox)?)?;
    fs::write(archive, bytes).with_context(|| archive.display().to_string())
}

/// A static busybox of this machine.
pub fn find_busybox() -> anyhow::Result<PathBuf> {
    let candidates = FOUND_AT.iter().map(PathBuf::from);
    for busybox in candidates.filter(|path| path.is_file()) {
        if is_static(&fs::read(&busybox)?) {
            return Ok(busybox);
        }
    }
    bail!(
        "no static busybox in {FOUND_AT:?}; the lab's pods run it. On Debian and Ubuntu: `sudo \
         apt-get install busybox-static`; on Fedora: `sudo dnf install busybox`"
    );
}

fn archive_of(busybox: &[u8]) -> anyhow::Result<Vec<u8>> {
    let layer = Blob::new(root_filesystem(busybox)?);
    let mut manifests = Vec::new();
    // By path: images that run the same share their parts.
    let mut blobs = BTreeMap::new();
    let images = [
        (PAUSE, json!(["/bin/sleep", "2147483647"])),
        (BUSYBOX, json!(["/bin/sh"])),
        (ALPINE, json!(["/bin/sh"])),
    ];
    for (name, command) in images {
        let config = Blob::new(config(&layer, &command).into_bytes());
        let manifest = Blob::new(manifest(&config, &layer).into_bytes());
        let mut entry = descriptor("manifest.v1+json", &manifest);
        entry["annotations"] = json!({"io.containerd.image.name": name});
        manifests.push(entry);
        blobs.extend([config, manifest].map(|blob| (blob.path(), blob.bytes)));
    }
    blobs.insert(layer.path(), layer.bytes);
    let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
    let mut archive = Builder::new(Vec::new());
    add(
        &mut archive,
        "oci-layout",
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    add(&mut archive, "index.json", index.as_bytes())?;
    for (path, bytes) in &blobs {
        add(&mut archive, path, bytes)?;
    }
    Ok(archive.into_inner()?)
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        use std::fmt::Write as _;
        let hash = digest(&SHA256, &bytes);
        let digest = hash.as_ref().iter().fold(String::new(), |mut hex, byte| {
            _ = write!(hex, "{byte:02x}");
            hex
        });
        Self { digest, bytes }
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }
}

fn config(layer: &Blob, command: &Value) -> String {
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Cmd": command, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)]},
    })
    .to_string()
}

fn manifest(config: &Blob, layer: &Blob) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", config),
        "layers": [descriptor("layer.v1.tar", layer)],
    })
    .to_string()
}

fn descriptor(kind: &str, blob: &Blob) -> Value {
    json!({
        "mediaType": format!("application/vnd.oci.image.{kind}"),
        "digest": format!("sha256:{}", blob.digest),
        "size": blob.bytes.len(),
    })
}

/// In Go's words, which images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn root_filesystem(busybox: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for folder in FOLDERS {
        let mut header = header(EntryType::Directory, 0o755, 0);
        layer.append_data(&mut header, folder, &[][..])?;
    }
    let mut binary = header(EntryType::Regular, 0o755, busybox.len() as u64);
    layer.append_data(&mut binary, "bin/busybox", busybox)?;
    for applet in APPLETS {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    Ok(layer.into_inner()?)
}

fn add<W: Write>(archive: &mut Builder<W>, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let mut header = header(EntryType::Regular, 0o644, bytes.len() as u64);
    Ok(archive.append_data(&mut header, name, bytes)?)
}

/// Without times and owners, which would make each archive another.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header
}

/// Whether a 64-bit ELF file asks for no interpreter (program header type 3, elf(5)).
fn is_static(elf: &[u8]) -> bool {
    let number = |at: usize, bytes: usize| {
        let field = elf.get(at..at + bytes)?;
        let value = field
            .iter()
            .rev()
            .fold(0, |sum, b| sum << 8 | u64::from(*b));
        usize::try_from(value).ok()
    };
    let headers = || Some((number(32, 8)?, number(54, 2)?, number(56, 2)?));
    let Some((table, size, count)) = headers().filter(|_| elf.starts_with(b"\x7fELF\x02")) else {
        return false;
    };
    !(0..count).any(|index| number(table + index * size, 4) == Some(3))
}

#[cfg(test)]
mod tests;
