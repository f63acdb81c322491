//! The node that the driver runs on: CNI plugins, namespaces, and probes in its kernel.
//!
//! Owns the joining of the three, and nothing else: each verb is one call of a neighbour.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use netclaim_core::{
    attachment::{Attachment, ProbeState, Slot},
    cni::{AddResult, CachedAttachment, Invocation},
    counters::Counters,
    diagnosis::node::UnusablePlugin,
    drops,
    failure::{Cause, Failure, Step},
    flows::Sampled,
    reconcile::{Found, Lease},
};

use super::{
    Host, Last, Tried, blocking,
    cni::{ChainFailure, Plugins},
    links,
    probe::{Interface, Place, ProbeError, Probes},
};

/// This node.
#[derive(Clone)]
pub struct Linux {
    plugins: Plugins,
    /// Why there are none, where the kernel or the permissions do not give them: interfaces then
    /// work uncounted.
    probes: Result<Arc<Probes>, Failure>,
    max_interfaces: u32,
}

/// Every slot is in use.
#[derive(Debug, thiserror::Error)]
#[error(
    "all {max} slots for counters are in use, so this interface works uncounted; raise \
     --max-interfaces"
)]
struct NoSlot {
    max: u32,
}

/// Somebody took the programs off.
#[derive(Debug, thiserror::Error)]
#[error(
    "another program detached the counters of {if_name}; they are attached again, and what passed \
     meanwhile is taken from the kernel's own counters; find out which agent detaches eBPF \
     programs it does not own"
)]
struct DetachedByOther {
    if_name: String,
}

impl Linux {
    /// A node with these plugins, and with probes if its kernel gives them.
    pub fn new(plugins: Plugins, probes: Result<Probes, ProbeError>, max_interfaces: u32) -> Self {
        Self {
            plugins,
            probes: probes
                .map(Arc::new)
                .map_err(|error| Failure::new(Step::Probe, &error)),
            max_interfaces,
        }
    }

    /// Why no interface is counted, if none is.
    pub fn uncounted(&self) -> Option<&Failure> {
        self.probes.as_ref().err()
    }

    /// What the interfaces dropped, as it was read last, or why that is not counted: reads memory.
    pub fn drops(&self) -> drops::Known {
        let probes = self.probes.as_ref().map_err(Failure::clone)?;
        match probes.drops_missing() {
            Some(error) => Err(Failure::new(Step::Probe, error)),
            None => Ok(probes.dropped()),
        }
    }

    /// Reads what the interfaces dropped: a system call for some hundred interfaces.
    pub fn sample_drops(&self) {
        if let Ok(Err(error)) = self.probes.as_ref().map(|probes| probes.sample_drops()) {
            tracing::warn!(%error, "drops cannot be read");
        }
    }

    /// What passes between the pods of these slots and others, as far as it is recorded.
    pub fn flows(&self, slots: &BTreeSet<Slot>) -> Sampled {
        match &self.probes {
            Ok(probes) => probes.flows(slots),
            Err(failure) => Sampled {
                by_slot: slots
                    .iter()
                    .map(|slot| (*slot, Err(failure.clone())))
                    .collect(),
                table: None,
            },
        }
    }

    /// Those of `plugins` that cannot run here; each gets `patience`.
    pub async fn unusable<'a>(
        &self,
        plugins: impl IntoIterator<Item = &'a str>,
        patience: Duration,
    ) -> Vec<UnusablePlugin> {
        let ask = async |plugin: &'a str| {
            let asked = self
                .plugins
                .versions(plugin, tokio::time::Instant::now() + patience);
            let failure = asked.await.err()?;
            Some(UnusablePlugin {
                plugin: plugin.to_owned(),
                code: failure.code(),
                message: failure.to_string(),
            })
        };
        let asked = futures::future::join_all(plugins.into_iter().map(ask)).await;
        asked.into_iter().flatten().collect()
    }

    /// Runs a call that blocks, with what it needs of an attachment.
    async fn on_probe<T: Send + 'static>(
        &self,
        probes: &Arc<Probes>,
        at: &Attachment,
        call: impl FnOnce(&Probes, Interface<'_>) -> T + Send + 'static,
    ) -> T {
        let probes = Arc::clone(probes);
        let (netns, if_name) = (at.netns.clone(), at.key.if_name.clone());
        blocking(move || {
            let interface = Interface {
                netns: Path::new(&netns),
                if_name: if_name.as_str(),
            };
            call(&probes, interface)
        })
        .await
    }

    fn missing(cause: &impl Cause) -> ProbeState {
        ProbeState::Missing {
            failure: Failure::new(Step::Probe, cause),
            base: None,
        }
    }
}

impl Host for Linux {
    async fn cni_add(&self, at: &Attachment, until: Instant) -> Tried<AddResult> {
        match self.plugins.add(&Invocation::from(at), until.into()).await {
            Ok(mut added) => {
                let if_name = at.key.if_name.as_str();
                if let Some(silent) = added.result.without_mtu(&at.netns, if_name) {
                    silent.mtu = links::mtu(Path::new(&at.netns), if_name).await;
                }
                Tried {
                    outcome: Ok(added.result),
                    timings: added.timings,
                }
            }
            Err(failed) => tried(Step::CniAdd, failed).of(at),
        }
    }

    async fn cni_del(&self, at: &Attachment, until: Instant) -> Tried<()> {
        match self.plugins.del(&Invocation::from(at), until.into()).await {
            Ok(timings) => Tried {
                outcome: Ok(()),
                timings,
            },
            Err(failed) => tried(Step::CniDel, failed).of(at),
        }
    }

    async fn probe_attach(&self, at: &Attachment) -> ProbeState {
        let Some(slot) = at.slot else {
            return Self::missing(&NoSlot {
                max: self.max_interfaces,
            });
        };
        let probes = match &self.probes {
            Ok(probes) => probes,
            Err(failure) => {
                return ProbeState::Missing {
                    failure: failure.clone(),
                    base: None,
                };
            }
        };
        let attach = move |probes: &Probes, at: Interface<'_>| probes.attach(slot, at);
        match self.on_probe(probes, at, attach).await {
            Ok(counting) => ProbeState::Counting {
                mode: counting.mode,
                base: counting.base.counters,
                uncertain_packets: counting.base.uncertain_packets,
            },
            Err(error) => Self::missing(&error),
        }
    }

    async fn flows_attach(&self, at: &Attachment) {
        let (Some(slot), Ok(probes)) = (at.slot, &self.probes) else {
            return;
        };
        let record = move |probes: &Probes, at: Interface<'_>| probes.record_flows(slot, at);
        self.on_probe(probes, at, record).await;
    }

    async fn probe_detach(&self, at: &Attachment) -> Option<Last> {
        let (slot, probes) = (at.slot?, self.probes.as_ref().ok()?);
        let detach = move |probes: &Probes, at: Interface<'_>| {
            let counters = probes.detach(slot, at)?;
            let drops = probes.drops(slot);
            Ok::<_, ProbeError>(Last { counters, drops })
        };
        self.on_probe(probes, at, detach)
            .await
            .inspect_err(|error| tracing::warn!(key = %at.key, %error, "probe not taken off"))
            .ok()
    }

    async fn probe_lost(&self, at: &Attachment) -> Option<Failure> {
        let (slot, probes) = (at.slot?, self.probes.as_ref().ok()?);
        let verify = move |probes: &Probes, at: Interface<'_>| probes.verify(slot, at);
        match self.on_probe(probes, at, verify).await {
            Ok(places) if places.rx == Place::Gone || places.tx == Place::Gone => {
                let if_name = at.key.if_name.to_string();
                Some(Failure::new(Step::Probe, &DetachedByOther { if_name }))
            }
            // Where the interface is gone the pod is going: its end is reported by its Stop.
            Ok(_) | Err(ProbeError::Netns(_) | ProbeError::NoInterface { .. }) => None,
            Err(error) => Some(Failure::new(Step::Probe, &error)),
        }
    }

    async fn found(&self) -> Found {
        let cached = self.plugins.attachments().await;
        let slots = self.probes.as_ref().map(|probes| probes.slots());
        Found {
            cached: cached
                .inspect_err(|error| tracing::warn!(%error, "results of CNI cannot be read"))
                .unwrap_or_default(),
            slots: match slots {
                Ok(Ok(slots)) => slots,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "pinned probes cannot be listed");
                    BTreeSet::new()
                }
                Err(_) => BTreeSet::new(),
            },
            leases: self.plugins.leases().await,
        }
    }

    async fn cni_del_cached(&self, at: &CachedAttachment, until: Instant) -> Tried<()> {
        match self.plugins.del(&at.invocation(), until.into()).await {
            Ok(timings) => Tried {
                outcome: Ok(()),
                timings,
            },
            Err(failed) => tried(Step::CniDel, failed),
        }
    }

    async fn probe_slot(&self, at: &Attachment, slots: &BTreeSet<Slot>) -> Option<Slot> {
        let (probes, slots) = (self.probes.as_ref().ok()?, slots.clone());
        let find = move |probes: &Probes, at: Interface<'_>| {
            let is_on = |slot: &Slot| {
                let places = probes.verify(*slot, at);
                places.is_ok_and(|places| places.rx != Place::Gone && places.tx != Place::Gone)
            };
            slots.into_iter().find(is_on)
        };
        self.on_probe(probes, at, find).await
    }

    async fn probe_release(&self, slot: Slot) {
        let Ok(probes) = &self.probes else { return };
        let probes = Arc::clone(probes);
        // Links know their interface by themselves; filters went with a namespace that is gone.
        let nowhere = Interface {
            netns: Path::new(""),
            if_name: "",
        };
        match blocking(move || probes.detach(slot, nowhere)).await {
            Ok(counted) => tracing::warn!(slot = slot.0, ?counted, "a slot of nobody is freed"),
            Err(error) => tracing::warn!(slot = slot.0, %error, "a slot of nobody is not freed"),
        }
    }

    async fn lease_free(&self, lease: &Lease) -> Result<bool, Failure> {
        let freed = self.plugins.free(lease).await;
        freed.map_err(|error| Failure::new(Step::CniDel, &error))
    }

    fn counters(&self, slots: &BTreeSet<Slot>) -> BTreeMap<Slot, Counters> {
        let Ok(probes) = &self.probes else {
            return BTreeMap::new();
        };
        let counted = slots.iter().filter(|slot| slot.0 < self.max_interfaces);
        counted
            .map(|slot| (*slot, probes.counters(*slot)))
            .collect()
    }

    fn has_netns(&self, path: &str) -> bool {
        self.plugins.reaches(path)
    }
}

impl Cause for NoSlot {
    fn reason(&self) -> &'static str {
        "NoSlot"
    }

    fn code(&self) -> &'static str {
        "no_slot"
    }
}

impl Cause for DetachedByOther {
    fn reason(&self) -> &'static str {
        "DetachedByOther"
    }

    fn code(&self) -> &'static str {
        "detached_by_other"
    }
}

fn tried<T>(step: Step, failed: ChainFailure) -> Tried<T> {
    Tried {
        outcome: Err(Failure::new(step, &failed.cause)),
        timings: failed.timings,
    }
}
