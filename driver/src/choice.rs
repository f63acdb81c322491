//! CEL expressions that choose devices by their attributes.
//!
//! Owns the evaluation; which devices exist, and what a choice means for them, is the core's.

use std::{collections::HashMap, sync::Arc};

use cel::{Context, Program, Value};
use netclaim_core::inventory::{Attribute, Attributes};

/// Why an expression cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// It is not CEL.
    #[error(
        "`{expression}` is not a CEL expression: {source}; expected one like \
         `attributes.kind == \"veth\"` or `attributes.ifName.startsWith(\"eth\")`"
    )]
    Syntax {
        /// What was given.
        expression: String,
        /// Where it goes wrong.
        source: cel::ParseErrors,
    },
}

/// An expression over `attributes`, the attributes of one device by name.
///
/// `attributes.mtu >= 9000` and `"pciAddress" in attributes` are such. Where an expression fails,
/// for want of an attribute say, it does not choose the device: so Kubernetes treats selectors.
#[derive(Clone, Debug)]
pub struct Choice {
    expression: String,
    program: Arc<Program>,
}

impl Choice {
    /// Compiles an expression.
    pub fn parse(expression: &str) -> Result<Self, ChoiceError> {
        let program = Program::compile(expression).map_err(|source| ChoiceError::Syntax {
            expression: expression.to_owned(),
            source,
        })?;
        Ok(Self {
            expression: expression.to_owned(),
            program: Arc::new(program),
        })
    }

    /// Whether it chooses a device with these attributes.
    pub fn holds(&self, attributes: &Attributes) -> bool {
        let named = attributes.iter().map(|(name, attribute)| {
            let value = match attribute {
                Attribute::String(text) => Value::from(text.as_str()),
                Attribute::Int(number) => Value::Int(*number),
                Attribute::Bool(truth) => Value::Bool(*truth),
            };
            (name.clone(), value)
        });
        let named: HashMap<String, Value> = named.collect();
        let mut context = Context::default();
        context.add_variable_from_value("attributes", named);
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => holds,
            Ok(other) => {
                let expression = &self.expression;
                tracing::debug!(expression, ?other, "a choice is not a truth value");
                false
            }
            Err(error) => {
                tracing::debug!(expression = self.expression, %error, "a choice fails");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, expected: bool) {
        let text = |text: &str| Attribute::String(text.to_owned());
        let attributes = Attributes::from([
            ("ifName".to_owned(), text("eth1")),
            ("kind".to_owned(), text("veth")),
            ("mtu".to_owned(), Attribute::Int(9000)),
            (
                "resource.kubernetes.io/numaNode".to_owned(),
                Attribute::Int(1),
            ),
        ]);
        let choice = Choice::parse(expression).unwrap();
        assert_eq!(choice.holds(&attributes), expected, "{expression}");
    }

    #[test]
    fn devices_are_chosen_by_their_attributes() {
        check("true", true);
        check("attributes.ifName == 'eth1'", true);
        check("attributes.ifName == 'eth0'", false);
        check(
            "attributes.ifName.startsWith('eth') && attributes.mtu >= 9000",
            true,
        );
        check("attributes['resource.kubernetes.io/numaNode'] == 1", true);
        check("'pciAddress' in attributes", false);
        check("has(attributes.kind)", true);
        check("attributes.kind in ['veth', 'bond']", true);
    }

    #[test]
    fn what_fails_does_not_choose() {
        check("attributes.pciAddress == '0000:00:03.0'", false);
        check("attributes.mtu", false);
        check("nothing.known", false);
    }

    #[test]
    fn what_is_no_expression_is_refused_in_words() {
        let error = Choice::parse("attributes.kind ==").unwrap_err().to_string();
        assert!(
            error.starts_with("`attributes.kind ==` is not a CEL expression: "),
            "{error}"
        );
    }
}
