use std::{future, sync::Mutex};

use super::*;
use crate::{api::ApiCounters, metrics::tests::snapshot};

#[tokio::test]
async fn a_plugin_that_comes_is_found_and_the_others_are_asked_once() {
    let allowed = ["macvlan", "dhcp", "vrf"].map(str::to_owned).to_vec();
    let (metrics, noticed) = (Metrics::new(ApiCounters::new()), watch::Sender::default());
    let asked = Mutex::new(Vec::new());
    let absent = Mutex::new(vec![vec!["dhcp"], vec!["dhcp", "vrf"]]);
    let unusable_of = |plugins: Vec<String>| {
        asked.lock().unwrap().push(plugins.join(" "));
        let absent = absent.lock().unwrap().pop().unwrap_or_default();
        future::ready(absent.into_iter().map(unusable).collect::<Vec<_>>())
    };
    ask(
        allowed,
        Duration::from_millis(1),
        unusable_of,
        &metrics,
        &noticed,
    )
    .await;
    assert_eq!(
        *asked.lock().unwrap(),
        ["macvlan dhcp vrf", "dhcp vrf", "dhcp"]
    );
    assert_eq!(noticed.borrow().unusable, []);
    let scraped = metrics.scrape(snapshot()).unwrap();
    let usable = |line: &&str| line.starts_with("netclaim_cni_plugin_usable{");
    let series: Vec<_> = scraped.lines().filter(usable).collect();
    assert!(
        series.len() == 3 && series.iter().all(|line| line.ends_with(" 1")),
        "{series:?}"
    );
}

fn unusable(plugin: &str) -> UnusablePlugin {
    UnusablePlugin {
        plugin: plugin.to_owned(),
        code: "plugin_not_found",
        message: format!("no {plugin}"),
    }
}
