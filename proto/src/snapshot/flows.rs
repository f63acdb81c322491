//! Flows: who talks with a pod, and how much.

use std::{net::IpAddr, time::Duration};

use netclaim_core::flows::{
    Flow, FlowId, Flows, InterfaceFlows, Line, Passed, Ports, Recorded, Speed, Table,
};

use super::time;
use crate::{
    field::{InvalidField, Problem, all, required},
    observe as pb,
};

/// Ethertypes, protocols and ports, which the wire has no small enough numbers for.
fn small<N: TryFrom<u32>>(field: &str, found: u32) -> Result<N, InvalidField> {
    N::try_from(found).map_err(|_| InvalidField::new(field, Problem::TooLarge { found }))
}

impl From<&Flows> for pb::WatchFlowsResponse {
    fn from(flows: &Flows) -> Self {
        let interval = flows.interval.map(|interval| {
            let micros = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
            time::written_micros(micros)
        });
        Self {
            taken_at: Some(time::written(flows.taken)),
            interval,
            interfaces: flows.interfaces.iter().map(Into::into).collect(),
            table: flows.table.map(Into::into),
        }
    }
}

impl TryFrom<pb::WatchFlowsResponse> for Flows {
    type Error = InvalidField;

    fn try_from(message: pb::WatchFlowsResponse) -> Result<Self, InvalidField> {
        let interval = message.interval;
        let interval = interval.map(|interval| time::read_micros("interval", Some(interval)));
        Ok(Self {
            taken: time::read("taken_at", message.taken_at)?,
            interval: interval.transpose()?.map(Duration::from_micros),
            interfaces: all("interfaces", message.interfaces)?,
            table: message.table.map(Into::into),
        })
    }
}

impl From<&InterfaceFlows> for pb::InterfaceFlows {
    fn from(row: &InterfaceFlows) -> Self {
        use pb::interface_flows::State;
        let state = row.recorded.as_ref().map(|recorded| match recorded {
            Recorded::Observed { flows, more } => State::Observed(pb::FlowsObserved {
                flows: flows.iter().map(Into::into).collect(),
                more: *more,
            }),
            Recorded::Unavailable { failure } => State::Unavailable(failure.into()),
        });
        Self {
            key: Some((&row.key).into()),
            claim: Some((&row.claim).into()),
            pod: Some((&row.pod).into()),
            state,
        }
    }
}

impl TryFrom<pb::InterfaceFlows> for InterfaceFlows {
    type Error = InvalidField;

    fn try_from(message: pb::InterfaceFlows) -> Result<Self, InvalidField> {
        use pb::interface_flows::State;
        let recorded = match message.state {
            Some(State::Observed(observed)) => Some(Recorded::Observed {
                flows: all("observed.flows", observed.flows)?,
                more: observed.more,
            }),
            Some(State::Unavailable(failure)) => Some(Recorded::Unavailable {
                failure: required("unavailable", Some(failure))?,
            }),
            None => None,
        };
        Ok(Self {
            key: required("key", message.key)?,
            claim: required("claim", message.claim)?,
            pod: required("pod", message.pod)?,
            recorded,
        })
    }
}

impl From<&Line> for pb::Flow {
    fn from(line: &Line) -> Self {
        let Line { id, flow, speed } = line;
        let (ethertype, ends) = match id {
            FlowId::Link { ethertype } => (*ethertype, None),
            FlowId::Ip {
                protocol,
                local,
                remote,
                ports,
            } => {
                let ends = pb::FlowEnds {
                    protocol: (*protocol).into(),
                    local: local.to_string(),
                    remote: remote.to_string(),
                    ports: ports.map(|ports| pb::FlowPorts {
                        local: ports.local.into(),
                        remote: ports.remote.into(),
                    }),
                };
                (id.ethertype(), Some(ends))
            }
        };
        let traffic = |passed: Passed, bytes_per_second| pb::FlowTraffic {
            packets: passed.packets,
            bytes: passed.bytes,
            bytes_per_second,
        };
        Self {
            ethertype: ethertype.into(),
            ends,
            rx: Some(traffic(flow.rx, speed.map(|speed| speed.rx))),
            tx: Some(traffic(flow.tx, speed.map(|speed| speed.tx))),
            first_seen_at: Some(time::written(flow.first)),
            last_seen_at: Some(time::written(flow.last)),
        }
    }
}

impl TryFrom<pb::Flow> for Line {
    type Error = InvalidField;

    fn try_from(message: pb::Flow) -> Result<Self, InvalidField> {
        let id = match message.ends {
            Some(ends) => FlowId::try_from(ends).map_err(|error| error.within("ends"))?,
            None => FlowId::Link {
                ethertype: small("ethertype", message.ethertype)?,
            },
        };
        let absent = |field| InvalidField::new(field, Problem::Absent);
        let rx = message.rx.ok_or_else(|| absent("rx"))?;
        let tx = message.tx.ok_or_else(|| absent("tx"))?;
        let speed = rx.bytes_per_second.zip(tx.bytes_per_second);
        let passed = |traffic: pb::FlowTraffic| Passed {
            packets: traffic.packets,
            bytes: traffic.bytes,
        };
        Ok(Self {
            id,
            flow: Flow {
                rx: passed(rx),
                tx: passed(tx),
                first: time::read("first_seen_at", message.first_seen_at)?,
                last: time::read("last_seen_at", message.last_seen_at)?,
            },
            speed: speed.map(|(rx, tx)| Speed { rx, tx }),
        })
    }
}

impl TryFrom<pb::FlowEnds> for FlowId {
    type Error = InvalidField;

    fn try_from(message: pb::FlowEnds) -> Result<Self, InvalidField> {
        let address = |field: &str, text: String| {
            let address = text.parse::<IpAddr>();
            address.map_err(|_| InvalidField::new(field, Problem::Address { found: text }))
        };
        let ports = message.ports.map(|ports| {
            Ok::<_, InvalidField>(Ports {
                local: small("ports.local", ports.local)?,
                remote: small("ports.remote", ports.remote)?,
            })
        });
        Ok(Self::Ip {
            protocol: small("protocol", message.protocol)?,
            local: address("local", message.local)?,
            remote: address("remote", message.remote)?,
            ports: ports.transpose()?,
        })
    }
}

impl From<Table> for pb::FlowTable {
    fn from(table: Table) -> Self {
        Self {
            room: table.room,
            used: table.used,
            forgotten: table.forgotten,
            lost: table.lost,
        }
    }
}

impl From<pb::FlowTable> for Table {
    fn from(message: pb::FlowTable) -> Self {
        Self {
            room: message.room,
            used: message.used,
            forgotten: message.forgotten,
            lost: message.lost,
        }
    }
}
