//! The control plane and the receivers of telemetry are away. Applications notice only what they must: that certificates
//! end.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use assent_tests::install::SHOP;
use assent_tests::place::Place;
use assent_tests::{pods, privileges};
use nix::sys::signal::Signal;

use crate::certificates::{self, Ends};
use crate::customers::{Customers, serve_for};

const SYSTEM: &str = "assent-system";
/// Longest that a killed sidecar may take until it listens again.
const RESTART: Duration = Duration::from_secs(2);

/// The seats read nothing more, with their connections open.
pub(crate) async fn stalled_receivers(place: &Place, life: Duration) {
    let before = Customers::of(place).await;
    let seats = pods::names(place, SYSTEM, "app.kubernetes.io/component=seat").await.unwrap();
    for (to, time) in [(Signal::SIGSTOP, life / 4), (Signal::SIGCONT, life / 8)] {
        for seat in &seats {
            pods::signal(place, SYSTEM, seat, "seat", to).await.unwrap();
        }
        serve_for(time).await;
    }
    before.all_served(place, &format!("every seat stalled for {:.0} s", (life / 4).as_secs_f64())).await;
}

/// Everything of ours but the sidecars is gone, from fresh certificates on.
pub(crate) async fn without_control_plane(place: &Place, life: Duration) {
    // New pods have fresh certificates; all at once, so that theirs end together.
    place.kubectl(&["-n", SHOP, "delete", "pod", "--all"]).await.unwrap();
    for workload in ["statefulset/postgres", "deployment/redis", "deployment/orders", "deployment/storefront", "deployment/load"] {
        place.kubectl(&["-n", SHOP, "rollout", "status", workload, "--timeout=180s"]).await.unwrap();
    }
    assent_tests::shop::rate(place, crate::RATE).await.unwrap();
    let replicas = away(place).await;
    let Ends { first, last } = certificates::ends(place).await.expect("a sidecar without a certificate");
    let old = || (SystemTime::now() + life).duration_since(last).unwrap_or_default();
    // Three quarters of the newest one's life, within which the oldest must not end.
    let limit = last - life / 4;
    assert!(first > limit, "certificates were made {:.0} s apart", last.duration_since(first).unwrap_or_default().as_secs_f64());
    assert!(old() < life / 2, "certificates were {:.0} s old when the control plane was away", old().as_secs_f64());
    let before = Customers::of(place).await;
    serve_for(left(limit) / 2).await;
    before.all_served(place, &format!("the control plane away until {:.0} s of certificates of {} s", old().as_secs_f64(), life.as_secs())).await;

    killed_sidecar(place, life).await;

    let before = Customers::of(place).await;
    serve_for(left(limit)).await;
    before.all_served(place, &format!("the control plane away until {:.0} s of certificates of {} s", old().as_secs_f64(), life.as_secs())).await;

    // Past the end of every certificate, and a moment for connections that began before.
    serve_for(left(last + Duration::from_secs(15))).await;
    let expired = Customers::of(place).await;
    serve_for(Duration::from_secs(10)).await;
    let (failed, sent) = expired.failed_since(place).await;
    assert!(failed > 0 && failed + 5 >= sent, "with expired certificates {failed} of {sent} requests failed");
    let failures = ["-n", SHOP, "exec", "deployment/load", "-c", "load", "--", "/assent-shop", "call", "GET", "127.0.0.1:4191", "/failures"];
    let failures = place.kubectl(&failures).await.unwrap();
    assert!(failures.to_lowercase().contains("expired"), "no failure names the cause:\n{failures}");
    eprintln!("with expired certificates: {failed} of {sent} requests failed, {}", failures.trim_end().lines().last().unwrap_or_default());

    back(place, &replicas).await;
    let recovered = recovers(place).await;
    eprintln!("with the control plane back, customers are served after {:.0} s", recovered.as_secs_f64());
}

/// `kill -9` of one sidecar: its pod fails until it listens again, with the certificate that it had, and nobody else does.
async fn killed_sidecar(place: &Place, life: Duration) {
    let pod = pods::names(place, SHOP, "app=orders").await.unwrap().remove(0);
    let address = place.kubectl(&["-n", SHOP, "get", "pod", &pod, "-o", "jsonpath={.status.podIP}"]).await.unwrap();
    let inbound: SocketAddr = format!("{address}:4143").parse().unwrap();
    let restarts = restarts(place, &pod).await;
    let before = Customers::of(place).await;
    pods::signal(place, SHOP, &pod, "assent-sidecar", Signal::SIGKILL).await.unwrap();
    let killed = Instant::now();
    let mut gone = None;
    // A port answers no event but a connection; the kernel takes a moment to close those of a killed process.
    loop {
        let listens = TcpStream::connect_timeout(&inbound, Duration::from_millis(100)).is_ok();
        match gone {
            None if !listens => gone = Some(Instant::now()),
            Some(_) if listens => break,
            _ => {}
        }
        assert!(killed.elapsed() < Duration::from_secs(30), "the sidecar of {pod} was not killed, or does not come back");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let gap = killed.elapsed();
    // Requests of that time have had their answers.
    serve_for(Duration::from_secs(6)).await;
    let (failed, sent) = before.failed_since(place).await;
    eprintln!("killed sidecar of {pod}: listens again after {:.2} s; {failed} of {sent} requests failed meanwhile", gap.as_secs_f64());
    assert!(gap <= RESTART, "the sidecar listened again only after {gap:?}");
    assert_eq!(self::restarts(place, &pod).await, restarts + 1, "restarts of the sidecar of {pod}");
    let before = Customers::of(place).await;
    serve_for(life / 16).await;
    before.all_served(place, "after a sidecar was restarted inside the partition").await;
}

fn left(until: SystemTime) -> Duration {
    until.duration_since(SystemTime::now()).unwrap_or_default()
}

async fn restarts(place: &Place, pod: &str) -> u32 {
    let path = "jsonpath={.status.initContainerStatuses[?(@.name==\"assent-sidecar\")].restartCount}";
    place.kubectl(&["-n", SHOP, "get", "pod", pod, "-o", path]).await.unwrap().trim().parse().unwrap()
}

type Replicas = Vec<(String, u32)>;

/// Takes every Deployment of ours away; how many replicas each had.
async fn away(place: &Place) -> Replicas {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.spec.replicas}{\"\\n\"}{end}";
    let listed = place.kubectl(&["-n", SYSTEM, "get", "deployments", "-o", path]).await.unwrap();
    let replicas: Replicas = listed.lines().filter_map(|line| line.split_once(' ')).map(|(name, number)| (name.to_owned(), number.parse().unwrap())).collect();
    place.kubectl(&["-n", SYSTEM, "scale", "deployment", "--all", "--replicas=0"]).await.unwrap();
    place.kubectl(&["-n", SYSTEM, "wait", "pod", "--all", "--for=delete", "--timeout=90s"]).await.unwrap();
    assert_eq!(privileges::memory(place.node().unwrap()).await.iter().filter(|figure| figure.process == "assent-identity").count(), 0, "the authority runs");
    replicas
}

async fn back(place: &Place, replicas: &Replicas) {
    for (name, number) in replicas {
        place.kubectl(&["-n", SYSTEM, "scale", &format!("deployment/{name}"), &format!("--replicas={number}")]).await.unwrap();
    }
    // All at once: they wait for each other.
    for (name, _) in replicas {
        place.kubectl(&["-n", SYSTEM, "rollout", "status", &format!("deployment/{name}"), "--timeout=120s"]).await.unwrap();
    }
}

/// Until ten seconds without a failure.
async fn recovers(place: &Place) -> Duration {
    let started = Instant::now();
    loop {
        let before = Customers::of(place).await;
        serve_for(Duration::from_secs(5)).await;
        if before.failed_since(place).await.0 == 0 {
            return started.elapsed();
        }
        assert!(started.elapsed() < Duration::from_secs(120), "customers are not served again");
    }
}
