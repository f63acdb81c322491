//! CEL expressions over a device.

use anyhow::{Context as _, Result, bail};
use cel::{Context, Program, Value as Cel};
use serde_json::{Map, Value, json};

use super::Offer;

/// Whether a device meets all of `expressions`; as in the real scheduler, one that cannot be
/// evaluated is an error for the pod, not a "no".
pub(super) fn all_match(expressions: &[&str], offer: &Offer) -> Result<bool> {
    let device = json!({
        "driver": offer.driver,
        "attributes": by_domain(&offer.device["attributes"], &offer.driver, attribute),
        "capacity": by_domain(&offer.device["capacity"], &offer.driver, |capacity| {
            capacity["value"].clone()
        }),
        "allowMultipleAllocations": offer.device["allowMultipleAllocations"] == true,
    });
    let mut context = Context::default();
    context
        .add_variable("device", device)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    for expression in expressions {
        let program = Program::compile(expression).context("the expression does not compile")?;
        match program.execute(&context) {
            Ok(Cel::Bool(true)) => {}
            Ok(Cel::Bool(false)) => return Ok(false),
            Ok(_) => bail!("{expression} is no condition"),
            Err(error) => bail!("CEL runtime error in {expression}: {error}"),
        }
    }
    Ok(true)
}

/// `domain/name: value` as `domain: {name: value}`; a name alone is of the driver's domain.
fn by_domain(named: &Value, driver: &str, value: impl Fn(&Value) -> Value) -> Value {
    let mut domains = Map::new();
    for (name, entry) in named.as_object().into_iter().flatten() {
        let (domain, name) = name.split_once('/').unwrap_or((driver, name));
        let domain = domains.entry(domain).or_insert_with(|| json!({}));
        domain[name] = value(entry);
    }
    domains.into()
}

fn attribute(attribute: &Value) -> Value {
    let values = attribute.as_object();
    let first = values.and_then(|values| values.values().next());
    first.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
