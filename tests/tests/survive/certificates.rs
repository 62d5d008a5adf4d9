//! How long certificates live, which is what the times of every stage are fractions of, and when those in use end.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assent_tests::install::SHOP;
use assent_tests::place::Place;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Shorter ones leave stages no time on a busy machine.
const DEFAULT: u64 = 90;
/// A certificate lives so much longer than it is said to.
const SKEW: Duration = Duration::from_secs(10);
/// The sidecar's admin port.
const ADMIN: u16 = 4191;

/// First and last end of the certificates that a shop's pods have, as the authority counts their life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) first: SystemTime,
    pub(crate) last: SystemTime,
}

/// `ASSENT_SURVIVE_LEAF_SECONDS`, or what makes the whole program short.
pub(crate) fn life() -> Duration {
    let asked = std::env::var("ASSENT_SURVIVE_LEAF_SECONDS").ok();
    let seconds = asked.map_or(DEFAULT, |text| text.parse().expect("ASSENT_SURVIVE_LEAF_SECONDS is a number of seconds"));
    Duration::from_secs(seconds)
}

/// Of every pod that is not on its way out; nothing while one of them has no certificate.
pub(crate) async fn ends(place: &Place) -> Option<Ends> {
    let path = "jsonpath={range .items[*]}{.status.podIP} {.metadata.deletionTimestamp}{\"\\n\"}{end}";
    let listed = place.kubectl(&["-n", SHOP, "get", "pods", "-o", path]).await.unwrap();
    let mut all = Vec::new();
    for line in listed.lines().filter(|line| line.split_whitespace().count() < 2) {
        all.push(end(line.trim()).await?);
    }
    Some(Ends { first: *all.iter().min()?, last: *all.iter().max()? })
}

async fn end(address: &str) -> Option<SystemTime> {
    let admin = SocketAddr::new(address.parse().ok()?, ADMIN);
    let mut stream = TcpStream::connect(admin).await.ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("control_identity_cert_expiration_timestamp_seconds "))?;
    let seconds = seconds.trim().parse().ok().filter(|seconds| *seconds > 0)?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds) - SKEW)
}
