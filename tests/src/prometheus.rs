//! A Prometheus that knows what we tell it: samples are written into its storage, however old, and then it is started.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::addresses;

/// Longest until it is ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Distance of the samples that are written, in seconds.
pub const EVERY_S: i64 = 15;

/// A running Prometheus; it ends when dropped.
#[derive(Debug)]
pub struct Prometheus {
    /// Its address.
    pub url: String,
    _process: Child,
    _dir: tempfile::TempDir,
}

/// A counter or gauge with its labels and samples.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The metric.
    pub name: &'static str,
    /// Between the braces.
    pub labels: String,
    /// Seconds and values.
    pub points: Vec<(i64, f64)>,
}

// === impl Prometheus ===

impl Prometheus {
    /// `None` where there is no Prometheus, which no build server may say.
    pub async fn start(samples: &[Samples]) -> Option<Self> {
        let found = Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        if found.is_err() {
            assert!(std::env::var_os("CI").is_none(), "prometheus and promtool are needed");
            eprintln!("SKIPPED: prometheus and promtool are not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("samples"), text(samples)).unwrap();
        std::fs::write(path("prometheus.yml"), "scrape_configs: []\n").unwrap();
        let written =
            Command::new("promtool").args(["tsdb", "create-blocks-from", "openmetrics"]).args([path("samples"), path("data")]).output().await.unwrap();
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let address = addresses::free();
        let url = format!("http://{address}");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", path("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--storage.tsdb.retention.time=30d")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let ready = format!("{url}/-/ready");
        assent_runtime::kube::install_crypto_provider();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap();
        let asking = async {
            while client.get(&ready).send().await.and_then(reqwest::Response::error_for_status).is_err() {
                // A bounded poll: the other side is another process.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.expect("Prometheus is ready");
        Some(Self { url, _process: process, _dir: dir })
    }
}

fn text(samples: &[Samples]) -> String {
    let mut text = String::new();
    let mut last = "";
    for Samples { name, labels, points } in samples {
        if *name != last {
            // A family is named without the suffix of its counter.
            let (family, kind) = name.strip_suffix("_total").map_or((*name, "gauge"), |family| (family, "counter"));
            writeln!(text, "# TYPE {family} {kind}").unwrap();
            last = name;
        }
        for (time, value) in points {
            writeln!(text, "{name}{{{labels}}} {value} {time}").unwrap();
        }
    }
    text + "# EOF\n"
}
