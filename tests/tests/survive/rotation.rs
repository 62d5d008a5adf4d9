//! The trust root is replaced by the operator's commands while customers come.

use std::process::Output;
use std::time::{Duration, Instant, SystemTime};

use assent_tests::images;
use assent_tests::place::Place;

use crate::certificates;
use crate::customers::{Customers, serve_for};

/// Longest that a step may take beside its fraction of a life.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what the kubelet and the sidecars do in their own time.
const LOOK: Duration = Duration::from_secs(2);

/// A → A and B → B issues → B, with every certificate renewed on the way.
pub(crate) async fn rotated(place: &Place, life: Duration) {
    let before = Customers::of(place).await;
    let started = Instant::now();
    trust(place, &["begin"]).await.unwrap();
    trust(place, &["pin", "--apply"]).await.unwrap();
    let early = trust(place, &["issue"]).await.unwrap_err();
    assert!(early.contains("refused"), "{early}");
    while let Err(refusal) = trust(place, &["issue"]).await {
        assert!(started.elapsed() < life + PATIENCE, "{refusal}");
        serve_for(LOOK).await;
    }
    let issued = SystemTime::now();
    let in_use = trust(place, &["drop"]).await.unwrap_err();
    assert!(in_use.contains("refused"), "{in_use}");
    // What was certified since then comes from the new issuer.
    while certificates::ends(place).await.is_none_or(|ends| ends.first < issued + life) {
        assert!(started.elapsed() < life * 2 + PATIENCE, "not every sidecar has renewed");
        serve_for(LOOK).await;
    }
    // Our own components do the same in the same time; a moment for the last of them.
    serve_for(life / 9).await;
    trust(place, &["drop", "--compromised", "a test of the rotation"]).await.unwrap();
    trust(place, &["pin", "--apply"]).await.unwrap();
    // The old root leaves everybody's bundle as it came.
    serve_for(life / 3).await;
    before.all_served(place, &format!("the trust root replaced in {:.0} s", started.elapsed().as_secs_f64())).await;
}

async fn trust(place: &Place, arguments: &[&str]) -> Result<(), String> {
    let mut command = tokio::process::Command::new(images::program("kubectl-assent"));
    let Output { status, stdout, stderr } = command.env("KUBECONFIG", place.kubeconfig_path()).arg("trust").args(arguments).output().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if status.success() { Ok(()) } else { Err(said) }
}
