//! Datagrams that flow between pods as long as somebody looks, each stream in a rhythm of its own.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::world::node::Node;

/// Often enough that no burst stands out.
const TICK: Duration = Duration::from_millis(10);

/// Payload of a datagram: with its headers it fits an Ethernet frame.
const PAYLOAD: [u8; 1_200] = [0; 1_200];

/// Most datagrams of one stream in a tick: 40 · 1,242 bytes · 100 Hz are 5 MB/s.
const MOST: f64 = 40.0;

/// Streams between pods; they end when this is dropped.
#[derive(Debug)]
pub struct Flow {
    streams: Arc<Mutex<BTreeMap<(String, String), Stream>>>,
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
}

/// From one pod to another.
#[derive(Debug)]
struct Stream {
    sender: UdpSocket,
    /// Keeps the port open, so that nothing is answered by ICMP.
    receiver: UdpSocket,
    /// Seconds from one peak to the next.
    period: f64,
    /// Datagrams in a tick at the peak.
    peak: f64,
    /// Datagrams that were not sent yet.
    due: f64,
}

impl Flow {
    /// A flow without streams.
    pub fn start() -> Self {
        let streams: Arc<Mutex<BTreeMap<_, Stream>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (sent, until) = (Arc::clone(&streams), Arc::clone(&stop));
        let sender = thread::spawn(move || {
            let begun = Instant::now();
            while !until.load(Ordering::Relaxed) {
                let seconds = begun.elapsed().as_secs_f64();
                locked(&sent)
                    .values_mut()
                    .for_each(|stream| stream.send(seconds));
                thread::park_timeout(TICK);
            }
        });
        Self {
            streams,
            stop,
            sender: Some(sender),
        }
    }

    /// Begins a stream; the `index` gives it its rhythm and its size.
    pub fn add(
        &self,
        node: &Node,
        (from, from_netns): (&str, PathBuf),
        (to, to_netns): (&str, PathBuf),
        address: IpAddr,
        index: u32,
    ) -> Result<()> {
        let receiver = node.place.within(to_netns, move || {
            let socket = UdpSocket::bind((address, 0)).context("the receiver cannot bind")?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        let target = receiver.local_addr()?;
        let sender = node.place.within(from_netns, move || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(target)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        let stream = Stream {
            sender,
            receiver,
            // No two next to each other are in step: 7 and 5 have no factor with 15.
            period: 8.0 + f64::from(index * 7 % 15) * 2.0,
            peak: MOST / f64::from(1_u32 << (index * 5 % 8)),
            due: 0.0,
        };
        locked(&self.streams).insert((from.to_owned(), to.to_owned()), stream);
        Ok(())
    }

    /// Ends the streams from and to a pod: their sockets would keep its namespace.
    pub fn remove(&self, pod: &str) {
        locked(&self.streams).retain(|(from, to), _| from != pod && to != pod);
    }
}

impl Stream {
    /// Sends what is due, and reads what came, as an unread datagram would end as a drop; what is
    /// less than a datagram is kept for the next tick.
    fn send(&mut self, seconds: f64) {
        let wave = f64::midpoint(1.0, (seconds / self.period * TAU).sin());
        self.due += wave * self.peak;
        while self.due >= 1.0 {
            // A full queue or a pod that goes: the next tick comes.
            let _lost = self.sender.send(&PAYLOAD);
            while self.receiver.recv(&mut []).is_ok() {}
            self.due -= 1.0;
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            // It panics nowhere, and there is nobody to tell.
            let _ended = sender.join();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
