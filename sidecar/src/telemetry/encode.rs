//! Gauges with a value that is known when they are asked for.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Unit,
};

pub(super) fn gauge<N>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: N,
) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(encoder)
}

pub(super) fn gauge_with_unit<N>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Unit,
    value: N,
) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    let encoder = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
    ConstGauge::new(value).encode(encoder)
}

/// A gauge for each value of a closed set, 1 for the one that holds.
pub(super) fn one_of(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: &[(&str, bool)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (value, holds) in values {
        let labels = [(label, *value)];
        ConstGauge::new(u64::from(*holds)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
