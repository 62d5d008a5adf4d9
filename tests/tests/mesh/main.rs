//! Injection on a real node: Jobs end, init containers have network, probes tell the truth, whatever cannot be meshed is left
//! alone and reported, and a sidecar is exchanged in a living pod. One node for all of it, since a node is minutes of work; a
//! binary of its own, so that nothing else runs beside it on a small machine.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod around;
mod field;
mod lives;
mod upgrade;

use field::{Field, SHOP};

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_every_kind_live_with_their_sidecar_on_a_real_node() {
    if !assent_tests::nodes_can_run() {
        return;
    }
    let field = Field::start().await;
    around::a_pod_from_before_the_label_is_reported(&field).await;
    // Takes up to a minute by itself.
    lives::cron_job(&field).await;
    lives::the_web_server_serves(&field).await;
    lives::init_containers_reach_services_through_the_mesh(&field).await;
    lives::jobs_end(&field).await;
    lives::a_stateful_set_rolls_out(&field).await;
    lives::probes_tell_the_truth(&field).await;
    lives::the_sidecar_outlives_the_application(&field).await;
    lives::a_debug_container_joins_a_meshed_pod(&field).await;

    around::what_cannot_be_meshed_is_left_alone_with_an_event(&field).await;
    around::a_restricted_namespace_is_meshed_without_any_capability(&field).await;
    around::limits_of_a_namespace_are_met_by_annotations(&field).await;
    lives::the_cron_jobs_job_ends(&field).await;

    upgrade::living_pods_get_the_installed_sidecar(&field).await;

    around::without_the_control_plane_jobs_end_unmeshed(&field).await;
    around::without_the_injector_pods_start_and_are_found(&field).await;
    eprintln!("all of it in namespace {SHOP} and beside");
}
