//! Flows on their way.

use std::{net::IpAddr, time::Duration};

use netclaim_core::flows::{
    Flow, FlowId, Flows, InterfaceFlows, Line, Passed, Ports, Raw, Recorded, Speed, Table,
};

use super::*;

proptest! {
    #[test]
    fn flows_survive_the_way_there_and_back(flows in flows()) {
        let message = pb::WatchFlowsResponse::from(&flows);
        prop_assert_eq!(Flows::try_from(message).unwrap(), flows);
    }
}

#[test]
fn a_flow_that_cannot_be_is_refused_with_its_field() {
    let line = |id| Line {
        id,
        flow: Flow {
            rx: Passed::default(),
            tx: Passed::default(),
            first: Timestamp(1),
            last: Timestamp(1),
        },
        speed: None,
    };
    let address = IpAddr::from([10, 0, 0, 1]);
    let id = FlowId::Ip {
        protocol: 6,
        local: address,
        remote: address,
        ports: Some(Ports {
            local: 1,
            remote: 2,
        }),
    };
    let refused = |damage: fn(&mut pb::FlowEnds)| {
        let mut message = pb::Flow::from(&line(id));
        damage(message.ends.as_mut().unwrap());
        Line::try_from(message).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|ends| ends.protocol = 256),
        "ends.protocol: 256 is too large"
    );
    assert_eq!(
        refused(|ends| ends.remote = "10.0.0".to_owned()),
        "ends.remote: `10.0.0` is no IP address"
    );
    assert_eq!(
        refused(|ends| ends.ports.as_mut().unwrap().local = 65_536),
        "ends.ports.local: 65536 is too large"
    );
}

fn flows() -> impl Strategy<Value = Flows> {
    let interval = option::of((1_u64..100_000).prop_map(Duration::from_millis));
    let table = option::of(any::<(u32, u32, u64, u64)>());
    let interfaces = collection::vec(interface_flows(), 0..3);
    (at(), interval, interfaces, table).prop_map(|(taken, interval, interfaces, table)| Flows {
        taken,
        interval,
        interfaces,
        table: table.map(|(room, used, forgotten, lost)| Table {
            room,
            used,
            forgotten,
            lost,
        }),
    })
}

fn interface_flows() -> impl Strategy<Value = InterfaceFlows> {
    let observed = (collection::vec(line(), 0..4), any::<u64>());
    let recorded = prop_oneof![
        observed.prop_map(|(flows, more)| Recorded::Observed { flows, more }),
        failure().prop_map(|failure| Recorded::Unavailable { failure }),
    ];
    (key(), claim(), pod(), option::of(recorded)).prop_map(|(key, claim, pod, recorded)| {
        InterfaceFlows {
            key,
            claim,
            pod,
            recorded,
        }
    })
}

fn line() -> impl Strategy<Value = Line> {
    let ethertype = select(vec![0x0800_u16, 0x86dd, 0x0806]);
    let ends = any::<(u8, [u8; 16], [u8; 16], u16, u16)>();
    let id = (ethertype, ends).prop_map(|(ethertype, ends)| {
        let (protocol, local, remote, local_port, remote_port) = ends;
        FlowId::from(Raw {
            ethertype,
            protocol,
            local,
            remote,
            local_port,
            remote_port,
        })
    });
    let passed = || any::<(u64, u64)>().prop_map(|(packets, bytes)| Passed { packets, bytes });
    let flow = (passed(), passed(), at(), at()).prop_map(|(rx, tx, first, last)| Flow {
        rx,
        tx,
        first,
        last,
    });
    let speed = option::of(any::<(u64, u64)>().prop_map(|(rx, tx)| Speed { rx, tx }));
    (id, flow, speed).prop_map(|(id, flow, speed)| Line { id, flow, speed })
}
