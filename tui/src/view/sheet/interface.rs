//! All that is known of an interface.

use netclaim_core::{
    attachment::{Moment, ProbeState},
    cluster::InterfaceLine,
    counters::Traffic,
    drops::DropsState,
    rate::Rate,
    snapshot::Interface,
    time::Timestamp,
};
use ratatui::text::Span;

use super::{flows, page::Page};
use crate::{
    format,
    table::Scene,
    theme::{Mark, Part},
    view::{bars::bars, interfaces, slices},
};

/// Writes it.
pub(super) fn write(page: &mut Page, line: InterfaceLine<'_>, scene: Scene<'_>) {
    let pod = line.pod.map_or("–", |pod| pod.name.as_str());
    let name = format!("{}/{pod} {}", line.claim.namespace, line.if_name);
    page.title(
        "interface",
        &page.theme.spell(&name),
        &interfaces::state(line, scene.now),
    );
    page.field("claim", Some(line.claim.name.as_str()));
    page.field("pod", line.pod.map(|pod| pod.name.as_str()));
    page.field(
        "node",
        line.node().map(netclaim_core::name::NodeName::as_str),
    );
    page.field("device", Some(line.allocated.device.as_str()));
    page.as_of(line.node(), scene);
    if let Some(failure) = line.seen.and_then(|seen| seen.interface.failure.as_ref()) {
        page.section("Failure");
        page.failure(failure);
    }
    body(page, line, scene);
    flows::write(page, line, scene);
    history(page, line);
    let subject = format!("interface/{}/{pod}/{}", line.claim.namespace, line.if_name);
    let findings = line
        .seen
        .map_or(&[][..], |seen| &seen.node.snapshot.findings);
    page.findings(findings.iter().filter(|finding| finding.subject == subject));
}

/// The part that a claim's page shows as well.
pub(super) fn body(page: &mut Page, line: InterfaceLine<'_>, scene: Scene<'_>) {
    page.section(&format!("Interface {}", line.if_name));
    let ips = line.ips().join(", ");
    page.field("addresses", (!ips.is_empty()).then_some(ips));
    page.field("mac", line.mac());
    if let Some(seen) = line.seen {
        link(page, seen.interface, seen.node.snapshot.taken);
    }
    traffic(page, line, scene);
}

/// What happened to it, which a claim's page shows as well.
pub(super) fn history(page: &mut Page, line: InterfaceLine<'_>) {
    if let Some(seen) = line.seen {
        timeline(page, &seen.interface.timeline);
    }
}

fn link(page: &mut Page, interface: &Interface, taken: Timestamp) {
    page.field("mtu", interface.mtu.map(|mtu| mtu.to_string()));
    page.field("over", Some(&interface.link));
    page.known(
        "network",
        Some(&interface.network).filter(|name| !name.is_empty()),
    );
    if let Some(state) = interface.link_state {
        let (mark, word) = slices::link(state);
        page.state("link", mark, word);
    }
    let since = format::age(taken.since(interface.since));
    page.field(
        "since",
        Some(format!(
            "{since} ({} UTC)",
            format::clock(interface.since.0)
        )),
    );
    if interface.late {
        page.state("late", Mark::Warning, interfaces::LATE);
    }
}

fn traffic(page: &mut Page, line: InterfaceLine<'_>, scene: Scene<'_>) {
    page.section("Traffic");
    match line.probe() {
        Some(ProbeState::Missing { failure, .. }) => {
            page.state("not counted", Mark::Warning, &failure.message);
        }
        Some(
            probe @ ProbeState::Counting {
                uncertain_packets, ..
            },
        ) => {
            page.state("counted by", Mark::Good, interfaces::probe(probe));
            let uncertain = (*uncertain_packets > 0)
                .then(|| format!("up to {uncertain_packets} packets missed before counting began"));
            page.known("uncertain", uncertain);
        }
        None => page.field("counted by", None::<&str>),
    }
    let rates = line.rates(scene.now);
    let counters = line.counters();
    direction(
        page,
        "received",
        rates.map(|r| r.rx),
        counters.map(|c| &c.rx),
    );
    trend(page, line, |rates| rates.rx.bytes);
    direction(page, "sent", rates.map(|r| r.tx), counters.map(|c| &c.tx));
    trend(page, line, |rates| rates.tx.bytes);
    drops(page, line);
}

/// What got nowhere, the commonest reason first.
fn drops(page: &mut Page, line: InterfaceLine<'_>) {
    let Some(drops) = line.drops() else {
        page.field("dropped", None::<&str>);
        let state = line.seen.and_then(|seen| seen.node.snapshot.drops.as_ref());
        if let Some(DropsState::Missing { failure }) = state {
            page.state("", Mark::Waiting, &failure.message);
        }
        return;
    };
    page.traffic("dropped", &format!("{} packets", drops.total()));
    for (reason, packets) in drops.most_first() {
        page.field("", Some(format!("{packets} {reason}")));
    }
}

fn direction(page: &mut Page, label: &str, rate: Option<Rate>, total: Option<&Traffic>) {
    let rate = rate.map_or("–".to_owned(), |rate| {
        format!(
            "{}/s  {} packets/s",
            format::bytes(rate.bytes),
            format::count(rate.packets)
        )
    });
    page.traffic(label, &rate);
    let Some(total) = total else { return };
    page.field(
        "",
        Some(format!(
            "in all {}, {} packets, {} segments; peak {}/s",
            format::bytes(total.bytes),
            total.packets,
            total.segments,
            format::bytes(total.peak_bytes_per_second),
        )),
    );
}

fn trend(page: &mut Page, line: InterfaceLine<'_>, pick: fn(&netclaim_core::rate::Rates) -> u64) {
    let Some(flow) = line.seen.and_then(|seen| seen.flow) else {
        return;
    };
    let values = flow.history.iter().map(pick).collect::<Vec<_>>();
    if values.len() > 1 {
        let width = values.len().min(page.room().saturating_sub(8));
        let bars = bars(page.theme, &values, width);
        let style = page.theme.part(Part::Traffic);
        let span = format!("  {}s", values.len());
        page.push(
            "",
            vec![
                Span::styled(bars, style),
                Span::styled(span, page.theme.part(Part::Quiet)),
            ],
        );
    }
}

/// Each moment with how long it took, and a bar of its share of the longest.
fn timeline(page: &mut Page, moments: &[Moment]) {
    if moments.is_empty() {
        return;
    }
    page.section("Timeline");
    let longest = moments
        .iter()
        .filter_map(|m| m.timing.as_ref())
        .map(|t| t.micros)
        .max()
        .unwrap_or(0);
    for moment in moments {
        let failed = moment.failure.is_some() || moment.timing.as_ref().is_some_and(|t| !t.ok);
        let mark = if failed { Mark::Bad } else { Mark::Good };
        let took = moment.timing.as_ref().map(|t| t.micros);
        let mut spans = vec![
            Span::styled(page.theme.symbol(mark), page.theme.mark(mark)),
            Span::raw(format!(" {:<22}", moment.what)),
        ];
        if let Some(micros) = took {
            let share = usize::try_from(micros * 16 / longest.max(1)).unwrap_or(16);
            let bar = page.theme.pick("█", "=").repeat(share.max(1));
            spans.push(Span::raw(format!(
                "{:>9}  ",
                page.theme.spell(&format::took(micros))
            )));
            spans.push(Span::styled(bar, page.theme.part(Part::Quiet)));
        }
        page.push(&format::clock(moment.at.0), spans);
        if let Some(failure) = &moment.failure {
            page.field("", Some(&failure.message));
        }
    }
}
