//! An image of one file as an OCI archive: bytes in, bytes out.
//!
//! The same input gives the same bytes. Formats: OCI image specification 1.1, image-layout.md,
//! manifest.md, config.md and layer.md.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
};

use flate2::{Compression, GzBuilder};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// What the image is called where it is loaded without a registry.
pub(super) struct Name {
    pub(super) repository: String,
    pub(super) tag: String,
}

/// What goes into an image.
pub(super) struct Image<'a> {
    pub(super) name: Name,
    /// In Go's words, such as amd64.
    pub(super) architecture: &'a str,
    /// RFC 3339.
    pub(super) created: &'a str,
    /// `org.opencontainers.image.…`
    pub(super) labels: BTreeMap<String, String>,
    /// The program, which the image starts.
    pub(super) program: &'a str,
    pub(super) binary: &'a [u8],
}

/// The archive, and the digest by which registries know the image.
pub(crate) struct Archive {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: String,
}

/// A part of an image, named by what is in it.
struct Blob {
    digest: String,
    bytes: Vec<u8>,
}

impl Image<'_> {
    /// Packs it.
    pub(super) fn pack(&self) -> io::Result<Archive> {
        let files = self.files()?;
        let content = Blob::new(files);
        let layer = Blob::new(compress(&content.bytes)?);
        let config = Blob::new(self.config(&content).into_bytes());
        let manifest = Blob::new(self.manifest(&config, &layer).into_bytes());
        let mut archive = Builder::new(Vec::new());
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
        add(&mut archive, "oci-layout", layout, 0o644)?;
        let index = self.index(&manifest);
        add(&mut archive, "index.json", index.as_bytes(), 0o644)?;
        for blob in [&manifest, &config, &layer] {
            let path = format!("blobs/sha256/{}", blob.digest);
            add(&mut archive, &path, &blob.bytes, 0o644)?;
        }
        Ok(Archive {
            bytes: archive.into_inner()?,
            digest: format!("sha256:{}", manifest.digest),
        })
    }

    fn files(&self) -> io::Result<Vec<u8>> {
        let mut files = Builder::new(Vec::new());
        add(&mut files, self.program, self.binary, 0o755)?;
        files.into_inner()
    }

    fn config(&self, content: &Blob) -> String {
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": self.created,
            "config": {
                "Entrypoint": [format!("/{}", self.program)],
                "Labels": self.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", content.digest)]},
            "history": [{"created": self.created, "created_by": "cargo xtask image"}],
        })
        .to_string()
    }

    fn manifest(&self, config: &Blob, layer: &Blob) -> String {
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", config),
            "layers": [descriptor("layer.v1.tar+gzip", layer)],
            "annotations": self.labels,
        })
        .to_string()
    }

    fn index(&self, manifest: &Blob) -> String {
        let Name { repository, tag } = &self.name;
        let mut entry = descriptor("manifest.v1+json", manifest);
        entry["platform"] = json!({"architecture": self.architecture, "os": "linux"});
        entry["annotations"] = json!({
            "io.containerd.image.name": format!("{repository}:{tag}"),
            "org.opencontainers.image.ref.name": tag,
        });
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        })
        .to_string()
    }
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        let hash = digest(&SHA256, &bytes);
        let digest = hash.as_ref().iter().fold(String::new(), |mut hex, byte| {
            _ = write!(hex, "{byte:02x}");
            hex
        });
        Self { digest, bytes }
    }
}

fn descriptor(kind: &str, blob: &Blob) -> Value {
    json!({
        "mediaType": format!("application/vnd.oci.image.{kind}"),
        "digest": format!("sha256:{}", blob.digest),
        "size": blob.bytes.len(),
    })
}

/// Without a name and a time in the header, which would make each archive another.
fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut layer = GzBuilder::new().write(Vec::new(), Compression::best());
    layer.write_all(bytes)?;
    layer.finish()
}

/// Owned by root, and as old as the epoch: the same content is the same layer.
fn add<W: Write>(archive: &mut Builder<W>, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    archive.append_data(&mut header, name, bytes)
}

#[cfg(test)]
mod tests;
