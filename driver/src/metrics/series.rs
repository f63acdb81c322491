//! Families of series written straight into a scrape.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

/// A family: its name without prefix and unit, what it means, its unit.
pub(super) struct About {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
}

pub(super) fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    about: &About,
    series: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let unit = about.unit.as_ref();
    let mut family =
        encoder.encode_descriptor(about.name, about.help, unit, MetricType::Counter)?;
    for (labels, value) in series {
        let mut metric = family.encode_family(&labels)?;
        metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
    }
    Ok(())
}

pub(super) fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    about: &About,
    value: u64,
) -> fmt::Result {
    let unit = about.unit.as_ref();
    encoder
        .encode_descriptor(about.name, about.help, unit, MetricType::Counter)?
        .encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

pub(super) fn gauge(encoder: &mut DescriptorEncoder<'_>, about: &About, value: u64) -> fmt::Result {
    let unit = about.unit.as_ref();
    encoder
        .encode_descriptor(about.name, about.help, unit, MetricType::Gauge)?
        .encode_gauge(&value)
}

pub(super) fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    about: &About,
    series: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let unit = about.unit.as_ref();
    let mut family = encoder.encode_descriptor(about.name, about.help, unit, MetricType::Gauge)?;
    for (labels, value) in series {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

pub(super) fn infos<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    about: &About,
    series: impl Iterator<Item = L>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(about.name, about.help, None, MetricType::Info)?;
    for labels in series {
        family.encode_info(&labels)?;
    }
    Ok(())
}
