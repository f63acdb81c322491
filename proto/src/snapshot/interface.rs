//! An interface's row, its counters and its timeline.

use std::sync::Arc;

use netclaim_core::{
    attachment::{Key, Moment, ProbeState},
    counters::{Counters, Traffic},
    history::Sample,
    snapshot::Interface,
};

use super::{time, variant};
use crate::{
    field::{InvalidField, Problem, all, name, optional, required},
    observe as pb,
};

impl From<&Interface> for pb::Interface {
    fn from(row: &Interface) -> Self {
        Self {
            key: row.key.as_ref().map(Into::into),
            name: row.if_name.to_string(),
            claim: Some((&row.claim).into()),
            pod: Some((&row.pod).into()),
            allocated: Some((&row.allocated).into()),
            link: row.link.clone(),
            network: row.network.clone(),
            state: pb::InterfaceState::from(row.state).into(),
            since: Some(time::written(row.since)),
            mac: row.mac.clone(),
            ips: row.ips.clone(),
            mtu: row.mtu,
            link_state: row
                .link_state
                .map(|state| pb::LinkState::from(state).into()),
            probe: row.probe.as_ref().map(Into::into),
            counters: row.counters.map(Into::into),
            drops: row.drops.as_ref().map(Into::into),
            late: row.late,
            failure: row.failure.as_ref().map(Into::into),
            timeline: row.timeline.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Interface> for Interface {
    type Error = InvalidField;

    fn try_from(message: pb::Interface) -> Result<Self, InvalidField> {
        let link_state = message
            .link_state
            .map(|state| variant::link_state("link_state", state));
        Ok(Self {
            key: optional("key", message.key)?,
            if_name: name("name", message.name)?,
            claim: required("claim", message.claim)?,
            pod: required("pod", message.pod)?,
            allocated: required("allocated", message.allocated)?,
            link: message.link,
            network: message.network,
            state: variant::interface_state("state", message.state)?,
            since: time::read("since", message.since)?,
            mac: message.mac,
            ips: message.ips,
            mtu: message.mtu,
            link_state: link_state.transpose()?,
            probe: optional("probe", message.probe)?,
            counters: optional("counters", message.counters)?,
            drops: optional("drops", message.drops)?,
            late: message.late,
            failure: optional("failure", message.failure)?,
            timeline: Arc::new(all("timeline", message.timeline)?),
        })
    }
}

impl From<&Key> for pb::InterfaceKey {
    fn from(key: &Key) -> Self {
        Self {
            sandbox: key.sandbox.to_string(),
            interface: key.if_name.to_string(),
        }
    }
}

impl TryFrom<pb::InterfaceKey> for Key {
    type Error = InvalidField;

    fn try_from(message: pb::InterfaceKey) -> Result<Self, InvalidField> {
        Ok(Self {
            sandbox: name("sandbox", message.sandbox)?,
            if_name: name("interface", message.interface)?,
        })
    }
}

impl From<&ProbeState> for pb::Probe {
    fn from(probe: &ProbeState) -> Self {
        use pb::probe::State;
        let state = match probe {
            ProbeState::Counting {
                mode,
                base,
                uncertain_packets,
            } => State::Counting(pb::ProbeCounting {
                mode: pb::ProbeMode::from(*mode).into(),
                base: Some((*base).into()),
                uncertain_packets: *uncertain_packets,
            }),
            // Its sums are in the counters.
            ProbeState::Missing { failure, base: _ } => State::Missing(failure.into()),
        };
        Self { state: Some(state) }
    }
}

impl TryFrom<pb::Probe> for ProbeState {
    type Error = InvalidField;

    fn try_from(message: pb::Probe) -> Result<Self, InvalidField> {
        use pb::probe::State;
        match message.state {
            Some(State::Counting(counting)) => Ok(Self::Counting {
                mode: variant::probe_mode("counting.mode", counting.mode)?,
                base: required("counting.base", counting.base)?,
                uncertain_packets: counting.uncertain_packets,
            }),
            Some(State::Missing(failure)) => Ok(Self::Missing {
                failure: required("missing", Some(failure))?,
                base: None,
            }),
            None => Err(InvalidField::new("state", Problem::Absent)),
        }
    }
}

impl From<&Sample> for pb::Sample {
    fn from(sample: &Sample) -> Self {
        Self {
            taken_at: Some(time::written(sample.at)),
            counters: Some(sample.counters.into()),
        }
    }
}

impl TryFrom<pb::Sample> for Sample {
    type Error = InvalidField;

    fn try_from(message: pb::Sample) -> Result<Self, InvalidField> {
        Ok(Self {
            at: time::read("taken_at", message.taken_at)?,
            counters: required("counters", message.counters)?,
        })
    }
}

impl From<Counters> for pb::Counters {
    fn from(counters: Counters) -> Self {
        Self {
            rx: Some(counters.rx.into()),
            tx: Some(counters.tx.into()),
        }
    }
}

impl TryFrom<pb::Counters> for Counters {
    type Error = InvalidField;

    fn try_from(message: pb::Counters) -> Result<Self, InvalidField> {
        let absent = |field| InvalidField::new(field, Problem::Absent);
        Ok(Self {
            rx: message.rx.ok_or_else(|| absent("rx"))?.into(),
            tx: message.tx.ok_or_else(|| absent("tx"))?.into(),
        })
    }
}

impl From<Traffic> for pb::Traffic {
    fn from(traffic: Traffic) -> Self {
        Self {
            packets: traffic.packets,
            segments: traffic.segments,
            bytes: traffic.bytes,
            peak_bytes_per_second: traffic.peak_bytes_per_second,
        }
    }
}

impl From<pb::Traffic> for Traffic {
    fn from(message: pb::Traffic) -> Self {
        Self {
            packets: message.packets,
            segments: message.segments,
            bytes: message.bytes,
            peak_bytes_per_second: message.peak_bytes_per_second,
        }
    }
}

impl From<&Moment> for pb::Moment {
    fn from(moment: &Moment) -> Self {
        Self {
            at: Some(time::written(moment.at)),
            what: moment.what.clone().into_owned(),
            timing: moment.timing.as_ref().map(Into::into),
            failure: moment.failure.as_deref().map(Into::into),
        }
    }
}

impl TryFrom<pb::Moment> for Moment {
    type Error = InvalidField;

    fn try_from(message: pb::Moment) -> Result<Self, InvalidField> {
        Ok(Self {
            at: time::read("at", message.at)?,
            what: message.what.into(),
            timing: optional("timing", message.timing)?,
            failure: optional("failure", message.failure)?.map(Box::new),
        })
    }
}
