//! Traffic between pods, and what the kernel counted of it.
//!
//! Owns senders and receivers inside the pods' namespaces. It must never count by itself: the
//! kernel's counters are the truth.

pub mod flow;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::node::Node;
use super::place::stdout_of;

/// How long a receiver waits for what was sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port that nobody listens on: discard.
const NOBODY: u16 = 9;

/// What was counted of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent, with those that the link then dropped.
    pub tx_packets: u64,
}

/// An interface as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its MAC address.
    pub mac: String,
    /// Its addresses with their prefix lengths, link-local ones left out.
    pub ips: Vec<String>,
    /// Its counters.
    pub counters: Totals,
    /// How many of the packets received were multicast or broadcast.
    pub multicast: u64,
}

impl Interface {
    /// Its first address.
    pub fn address(&self) -> Result<IpAddr> {
        let address = self.ips.first().context("no address")?;
        let address = address.split('/').next().unwrap_or_default();
        address.parse().with_context(|| self.ips[0].clone())
    }
}

/// The interface `name` in the network namespace `netns` of `node`, as `ip -s` shows it.
pub fn interface(node: &Node, netns: PathBuf, name: &str) -> Result<Interface> {
    let name = name.to_owned();
    node.place.within(netns, move || here(&name))
}

/// The interface `name` in the network namespace of this thread, as `ip -s` shows it.
pub fn here(name: &str) -> Result<Interface> {
    let line = format!("-j -s addr show dev {name}");
    let output = Command::new("ip").args(line.split_whitespace()).output()?;
    let shown: Value = serde_json::from_str(&stdout_of(&line, &output)?)?;
    let shown = &shown[0];
    let number = |direction: &str, field: &str| {
        let number = shown["stats64"][direction][field].as_u64();
        number.with_context(|| format!("ip shows no {direction} {field}"))
    };
    let global = |address: &&Value| address["scope"] == "global";
    let ips = shown["addr_info"].as_array().into_iter().flatten();
    Ok(Interface {
        mac: shown["address"].as_str().unwrap_or_default().to_owned(),
        ips: ips
            .filter(global)
            .filter_map(|ip| Some(format!("{}/{}", ip["local"].as_str()?, ip["prefixlen"])))
            .collect(),
        multicast: number("rx", "multicast")?,
        counters: Totals {
            rx_bytes: number("rx", "bytes")?,
            rx_packets: number("rx", "packets")?,
            tx_bytes: number("tx", "bytes")?,
            // Some kinds of link count only what they did not drop.
            tx_packets: number("tx", "packets")? + number("tx", "dropped")?,
        },
    })
}

/// Sends `count` datagrams of `size` bytes from `from` to `to`, and waits until the last is there.
pub fn send_udp(
    node: &Node,
    from: PathBuf,
    to: PathBuf,
    address: IpAddr,
    count: usize,
    size: usize,
) -> Result<()> {
    let receiver = node.place.within(to, move || {
        UdpSocket::bind((address, 0)).context("the receiver cannot bind")
    })?;
    let sender = node.place.within(from, move || {
        let any = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(receiver.local_addr()?)?;
        Ok((socket, receiver))
    });
    let (sender, receiver) = sender.context("the sender cannot reach the receiver")?;
    pass(&sender, &receiver, count, size)
}

/// Sends `count` datagrams of `size` bytes over a socket that is connected to the other, and waits
/// for each there before the next is sent: none is lost to a full buffer.
pub fn pass(sender: &UdpSocket, receiver: &UdpSocket, count: usize, size: usize) -> Result<()> {
    receiver.set_read_timeout(Some(PATIENCE))?;
    let (payload, mut buffer) = (vec![0_u8; size], vec![0_u8; size]);
    for sent in 0..count {
        sender.send(&payload)?;
        let arrived = receiver.recv(&mut buffer);
        arrived.with_context(|| format!("datagram {sent} did not arrive"))?;
    }
    Ok(())
}

/// Sends `count` datagrams from `from` to a port of `address` that nobody listens on.
pub fn knock(node: &Node, from: PathBuf, address: IpAddr, count: usize) -> Result<()> {
    node.place.within(from, move || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        for _ in 0..count {
            // Not connected: that it is refused does not reach it.
            socket.send_to(&[0; 100], (address, NOBODY))?;
        }
        Ok(())
    })
}

/// Streams `bytes` from `from` to `to` over TCP.
pub fn send_tcp(
    node: &Node,
    from: PathBuf,
    to: PathBuf,
    address: IpAddr,
    bytes: usize,
) -> Result<()> {
    let listener = node
        .place
        .within(to, move || Ok(TcpListener::bind((address, 0))?))?;
    let target = listener.local_addr()?;
    let receiver = thread::spawn(move || -> Result<usize> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut received = Vec::new();
        Ok(stream.read_to_end(&mut received)?)
    });
    let mut stream = node.place.within(from, move || connect(target))?;
    stream.write_all(&vec![0_u8; bytes])?;
    drop(stream);
    let arrived = receiver
        .join()
        .map_err(|_| anyhow::anyhow!("the receiver panicked"))??;
    ensure!(arrived == bytes, "{arrived} of {bytes} bytes arrived");
    Ok(())
}

fn connect(target: SocketAddr) -> Result<TcpStream> {
    let connected = TcpStream::connect_timeout(&target, PATIENCE);
    connected.with_context(|| format!("cannot reach {target}"))
}
