//! The mesh on a whole real node while parts of it fail: customers of the shop go on being served. One node and one order,
//! since a cluster is minutes of work; a binary of its own, so that nothing else runs beside it on a small machine.
//!
//! Every stage takes its fraction of the life of a certificate: `ASSENT_SURVIVE_LEAF_SECONDS`, 240 with `make survive-long`.
//! What has a time of its own (a rolling restart, a minute of churn, receivers that stall) happens while the root is replaced,
//! which mostly waits.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod certificates;
mod customers;
mod partition;
mod rollouts;
mod rotation;

use assent_tests::place::Place;
use assent_tests::{images, install, shop};

/// Customers a second, each on connections of its own.
const RATE: u32 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn customers_are_served_while_parts_of_the_mesh_fail() {
    if !assent_tests::nodes_can_run() {
        return;
    }
    let say = |line: &str| eprintln!("  {line}");
    let images = tokio::task::spawn_blocking(images::build).await.unwrap().unwrap();
    let mut place = Place::from(assent_cluster::node("survive").await.unwrap());
    place.prepare(&images, &say).await.unwrap();
    let life = certificates::life();
    let variables = [("ASSENT_LEAF_SECONDS", life), ("ASSENT_TRUST_PROPAGATION_SECONDS", life / 3)].map(|(name, time)| (name, time.as_secs().to_string()));
    install::assent_with(&place, &variables, &say).await.unwrap();
    install::shop(&place, &say).await.unwrap();
    // What is broken here is broken by the test, and nobody shall repair it meanwhile.
    rollouts::scale(&place, "assent-system", "assent-executor", 0).await;
    // A restarted pod needs a second one that goes on serving.
    for workload in ["orders", "storefront"] {
        rollouts::scale(&place, install::SHOP, workload, 2).await;
    }
    shop::rate(&place, RATE).await.unwrap();

    let others = async {
        rollouts::restart(&place).await;
        rollouts::churn(&place).await;
        partition::stalled_receivers(&place, life).await;
    };
    tokio::join!(rotation::rotated(&place, life), others);
    partition::without_control_plane(&place, life).await;
}
