//! The whole comparison of policy engines, in one run.

use tokio::task::block_in_place;

use super::ground::Ground;
use super::guardrails::{self, Direct};
use super::process::{GENERATOR, pin_process};
use super::rows::Row;
use super::{native, peers};

/// Runs it. Without `with_peers`, only ours and the API server's own policies are measured.
///
/// # Errors
/// If ours cannot be measured. A peer that cannot is named in a row.
pub async fn run(with_peers: bool, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Row>> {
    anyhow::ensure!(!cfg!(debug_assertions), "figures of a debug build mean nothing; build with --release, as `make bench-policy` does");
    // What must be built is built on all cores, and before anything runs.
    block_in_place(assent_cluster::binary)?;
    let peers = if with_peers { block_in_place(|| peers::build(say, "")) } else { Vec::new() };
    pin_process(std::process::id(), GENERATOR)?;
    say("control plane");
    let ground = Ground::start().await?;
    say("our guardrails, asked directly");
    let (direct, mut rest) = guardrails::measure(&ground, say).await?;
    let mut rows = ours(&direct);
    rows.append(&mut rest);
    say("through the API server");
    rows.append(&mut native::measure(&ground, &direct, say).await?);
    for peer in peers {
        say(peer.name);
        rows.append(&mut peers::measure(&ground, peer, &direct, say).await);
    }
    Ok(rows)
}

fn ours(direct: &Direct) -> Vec<Row> {
    vec![
        Row::ours("p50_ms", "ms", &direct.p50).at_most(0.5),
        Row::ours("p99_ms", "ms", &direct.p99).at_most(2.0),
        Row::ours("most_per_s", "1/s", &direct.most).noting("more is better; eight connections without a pause, one core"),
        Row::ours("rss_idle_mb", "MB", &direct.idle).at_most(40.0),
        Row::ours("rss_load_mb", "MB", &direct.loaded).at_most(80.0),
        Row::ours("ready_ms", "ms", &direct.ready.0.iter().map(|seconds| seconds * 1e3).collect()).at_most(1000.0),
    ]
}
