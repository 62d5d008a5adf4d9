//! Three faults of the catalogue on a real node, of which the other node tests have none: each is found, at the right service,
//! and nothing wrong is written. One node for all three, since a node is minutes of work; a binary of its own, so that nothing
//! else runs beside it on a small machine.

use assent_tests::bench::live::{Ground, faults};

/// Of the database, of a release, and of a setting.
const CHOSEN: [&str; 3] = ["long-lock", "crash-loop", "bad-config"];

#[tokio::test(flavor = "multi_thread")]
async fn three_faults_are_found_where_they_are_and_nothing_wrong_is_written() {
    if !assent_tests::nodes_can_run() {
        return;
    }
    let say = |line: &str| eprintln!("  {line}");
    let ground = Ground::start("found", &say).await.unwrap();
    for fault in faults::named(&CHOSEN.map(str::to_owned)).unwrap() {
        let record = ground.suffer(fault, 1, &say).await.unwrap();
        assert!(record.to_incident.is_some() && record.right_service, "{record:#?}");
        assert_eq!(record.wrong_writes, 0, "{record:#?}");
    }
}
