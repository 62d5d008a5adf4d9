//! The trust root is replaced by the operator's commands while customers come.

use std::process::Output;
use std::time::{Duration, Instant};

use assent_tests::images;
use assent_tests::place::Place;

use crate::customers::{Customers, serve_for};

/// Both roots must have reached everybody (two minutes), and every workload have renewed (up to a minute after its kubelet has
/// told it, which takes up to a minute and a half).
const RENEWED: Duration = Duration::from_secs(150);
const PATIENCE: Duration = Duration::from_secs(240);

/// A → A and B → B issues → B, with every certificate renewed on the way.
pub(crate) async fn rotated(place: &Place) {
    let before = Customers::of(place).await;
    let started = Instant::now();
    trust(place, &["begin"]).unwrap();
    trust(place, &["pin", "--apply"]).unwrap();
    let early = trust(place, &["issue"]).unwrap_err();
    assert!(early.contains("refused"), "{early}");
    while let Err(refusal) = trust(place, &["issue"]) {
        assert!(started.elapsed() < PATIENCE, "{refusal}");
        serve_for(Duration::from_secs(5)).await;
    }
    let in_use = trust(place, &["drop"]).unwrap_err();
    assert!(in_use.contains("refused"), "{in_use}");
    serve_for(RENEWED).await;
    trust(place, &["drop", "--compromised", "a test of the rotation"]).unwrap();
    trust(place, &["pin", "--apply"]).unwrap();
    // The old root leaves everybody's bundle as it came.
    serve_for(Duration::from_secs(95)).await;
    before.all_served(place, &format!("the trust root replaced in {:.0} s", started.elapsed().as_secs_f64())).await;
}

fn trust(place: &Place, arguments: &[&str]) -> Result<(), String> {
    let mut command = std::process::Command::new(images::program("kubectl-assent"));
    let Output { status, stdout, stderr } = command.env("KUBECONFIG", place.kubeconfig_path()).arg("trust").args(arguments).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if status.success() { Ok(()) } else { Err(said) }
}
