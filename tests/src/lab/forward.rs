//! A pod's loopback port, through the API server, as `kubectl port-forward` brings it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Stdio,
};

use anyhow::{Context as _, bail};
use hyper_util::rt::TokioIo;
use netclaim_proto::observe::Snapshot;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use tonic::transport::{Channel, Endpoint};

use super::{
    Lab,
    install::{READER, RELAY_NAMESPACE, RELAY_PORT},
};
use crate::world::{driver, place};

/// A port that is forwarded until this is dropped.
#[derive(Debug)]
pub struct Forward {
    _kubectl: Child,
    /// It would die of saying something to nobody.
    _words: Lines<BufReader<ChildStdout>>,
    /// Where kubectl listens.
    network: PathBuf,
    address: SocketAddr,
}

impl Forward {
    /// Forwards the relay's port on a node, as somebody who may use dra-top and nothing else.
    pub async fn to_relay(lab: &Lab, node: &str) -> anyhow::Result<Self> {
        let pod = lab.pod_of(RELAY_NAMESPACE, "relay", node).await?;
        let (user, port) = (format!("--as={READER}"), format!(":{RELAY_PORT}"));
        let args = [
            &user,
            "--namespace",
            RELAY_NAMESPACE,
            "port-forward",
            &pod,
            &port,
        ];
        let mut command = Command::from(lab.kubectl(&args)?);
        command
            .args(["--address", "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut kubectl = command.spawn()?;
        let stdout = kubectl.stdout.take().context("kubectl has no output")?;
        let mut words = BufReader::new(stdout).lines();
        let said = words.next_line().await?;
        let said = said.with_context(|| format!("no port of {pod} was forwarded"))?;
        // "Forwarding from 127.0.0.1:41234 -> 10477"
        let port = said
            .split(" -> ")
            .next()
            .and_then(|from| from.rsplit(':').next())
            .and_then(|port| port.parse().ok());
        let Some(port) = port else {
            bail!("kubectl forwards no port: {said}");
        };
        Ok(Self {
            _kubectl: kubectl,
            _words: words,
            network: lab.administration()?,
            address: (Ipv4Addr::LOCALHOST, port).into(),
        })
    }

    /// A snapshot of the driver behind the port.
    pub async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        driver::snapshot_by(self.channel()).await
    }

    fn channel(&self) -> Channel {
        let (network, address) = (self.network.clone(), self.address);
        let connect = move |_| {
            let network = network.clone();
            async move {
                let stream = place::visit(network, move || Ok(TcpStream::connect(address)?));
                let stream = stream.map_err(io::Error::other)?;
                stream.set_nonblocking(true)?;
                tokio::net::TcpStream::from_std(stream).map(TokioIo::new)
            }
        };
        // The address is only the request's authority.
        let endpoint = Endpoint::from_static("http://localhost");
        endpoint.connect_with_connector_lazy(tower::service_fn(connect))
    }
}
