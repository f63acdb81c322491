//! The lab's keys, certificates and kubeconfigs: fresh for each lab, worthless outside it.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;

use super::{
    install::READER,
    topology::{API_SERVICE, Node, Topology},
};

/// Where the lab's credentials are.
#[derive(Clone, Debug)]
pub struct Pki {
    folder: PathBuf,
}

/// Who a certificate speaks for.
struct Subject<'a> {
    file: String,
    name: &'a str,
    group: Option<&'a str>,
    hosts: Vec<SanType>,
}

impl Pki {
    /// The credentials in this folder.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// A file by its name, such as `ca.crt`.
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The kubeconfig of `admin`, [`READER`], `scheduler`, `controller-manager` or a node.
    pub fn kubeconfig(&self, of: &str) -> String {
        self.file(&format!("{of}.kubeconfig"))
    }

    /// Writes all that a lab needs.
    pub fn create(&self, topology: &Topology) -> anyhow::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let server = topology
            .control_plane()
            .context("a lab without nodes has no API server")?;
        let authority = self.create_authority()?;
        let tokens = KeyPair::generate()?;
        self.write("sa.key", &tokens.serialize_pem())?;
        self.write("sa.pub", &tokens.public_key_pem())?;

        self.sign(&authority, &api_server(server)?)?;
        self.sign(&authority, &person("kubelet-client", "kubelet-client"))?;
        let people = [
            person("admin", "admin"),
            component(READER, READER),
            component("scheduler", "system:kube-scheduler"),
            component("controller-manager", "system:kube-controller-manager"),
        ];
        for subject in people {
            self.sign(&authority, &subject)?;
            self.write_kubeconfig(&subject.file, server)?;
        }
        for node in &topology.nodes {
            let name = format!("system:node:{}", node.name);
            self.sign(&authority, &kubelet(node, &name)?)?;
            self.write_kubeconfig(&node.name, server)?;
        }
        Ok(())
    }

    fn create_authority(&self) -> anyhow::Result<Issuer<'static, KeyPair>> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "lab");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        self.write("ca.crt", &params.self_signed(&key)?.pem())?;
        Ok(Issuer::new(params, key))
    }

    fn sign(&self, authority: &Issuer<'_, KeyPair>, subject: &Subject<'_>) -> anyhow::Result<()> {
        let mut params = CertificateParams::new(Vec::new())?;
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, subject.name);
        if let Some(group) = subject.group {
            name.push(DnType::OrganizationName, group);
        }
        params.subject_alt_names.clone_from(&subject.hosts);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, authority)?;
        let file = &subject.file;
        self.write(&format!("{file}.crt"), &certificate.pem())?;
        self.write(&format!("{file}.key"), &key.serialize_pem())
    }

    /// Holds its credentials itself, so that it works wherever it is carried.
    fn write_kubeconfig(&self, of: &str, server: &Node) -> anyhow::Result<()> {
        let encoded = |file: &str| fs::read(self.file(file)).map(|pem| STANDARD.encode(pem));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": of}}],
            "clusters": [{"name": "lab", "cluster": {
                "server": format!("https://{}", server.address()),
                "certificate-authority-data": encoded("ca.crt")?,
            }}],
            "users": [{"name": of, "user": {
                "client-certificate-data": encoded(&format!("{of}.crt"))?,
                "client-key-data": encoded(&format!("{of}.key"))?,
            }}],
        });
        self.write(&format!("{of}.kubeconfig"), &config.to_string())
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let file = self.folder.join(name);
        write_private(&file, text).with_context(|| file.display().to_string())
    }
}

/// An administrator.
fn person<'a>(file: &str, name: &'a str) -> Subject<'a> {
    Subject {
        group: Some("system:masters"),
        ..component(file, name)
    }
}

fn component<'a>(file: &str, name: &'a str) -> Subject<'a> {
    Subject {
        file: file.to_owned(),
        name,
        group: None,
        hosts: Vec::new(),
    }
}

fn api_server(node: &Node) -> anyhow::Result<Subject<'static>> {
    let addresses = [
        IpAddr::from([127, 0, 0, 1]),
        node.address().into(),
        API_SERVICE.into(),
    ];
    let mut hosts: Vec<_> = addresses.map(SanType::IpAddress).into();
    for name in ["localhost", "kubernetes.default.svc"] {
        hosts.push(SanType::DnsName(name.try_into()?));
    }
    Ok(Subject {
        hosts,
        ..component("apiserver", "kube-apiserver")
    })
}

fn kubelet<'a>(node: &Node, name: &'a str) -> anyhow::Result<Subject<'a>> {
    Ok(Subject {
        group: Some("system:nodes"),
        hosts: vec![
            SanType::DnsName(node.name.as_str().try_into()?),
            SanType::IpAddress(node.address().into()),
        ],
        ..component(&node.name, name)
    })
}

fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file)?.write_all(text.as_bytes())
}
