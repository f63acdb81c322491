use std::io;

use super::*;

#[derive(Debug, thiserror::Error)]
enum Sample {
    #[error("cannot bind: {source}")]
    Quotes { source: io::Error },
    #[error("cannot start")]
    IsSilent { source: Box<Sample> },
}

#[test]
fn each_cause_is_told_once() {
    let quotes = Sample::Quotes {
        source: io::Error::other("address in use"),
    };
    assert_eq!(Chain(&quotes).to_string(), "cannot bind: address in use");
    let silent = Sample::IsSilent {
        source: Box::new(quotes),
    };
    let told = "cannot start: cannot bind: address in use";
    assert_eq!(Chain(&silent).to_string(), told);
    let above = anyhow::Error::from(silent).context("no node");
    assert_eq!(
        Chain(above.as_ref()).to_string(),
        format!("no node: {told}")
    );
}
