//! What is scraped of the sidecar itself: its build and its certificate, by Linkerd's names.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use assent_runtime::metrics::collector::Collector;
use assent_runtime::metrics::encoding::DescriptorEncoder;
use assent_runtime::metrics::metrics::MetricType;
use assent_runtime::workload::Workload;

/// The certificate of this process, now and as often as it was renewed.
#[derive(Debug)]
pub(crate) struct Identity {
    workload: Workload,
    refreshes: AtomicU64,
}

// === impl Identity ===

impl Identity {
    pub(crate) fn new(workload: Workload) -> Self {
        Self { workload, refreshes: AtomicU64::new(0) }
    }

    /// Counts certificates as they come, for ever.
    pub(crate) async fn follow(&self) {
        let mut certified = self.workload.watch();
        certified.mark_changed();
        while certified.changed().await.is_ok() {
            let some = certified.borrow_and_update().is_some();
            self.refreshes.fetch_add(u64::from(some), Ordering::Relaxed);
        }
        // Nobody renews it any more, which is not for us to judge.
        std::future::pending().await
    }
}

impl Collector for Identity {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Information about the build; always 1";
        let mut family = encoder.encode_descriptor("proxy_build_info", help, None, MetricType::Gauge)?;
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let build = [("version", env!("CARGO_PKG_VERSION")), ("vendor", "assent"), ("profile", profile)];
        family.encode_family(&build)?.encode_gauge(&1i64)?;
        let help = "When the current certificate ends, in seconds of the Unix epoch; 0 before there is one";
        let mut family = encoder.encode_descriptor("control_identity_cert_expiration_timestamp_seconds", help, None, MetricType::Gauge)?;
        let expiry = self.workload.watch().borrow().as_ref().and_then(|certified| certified.not_after().duration_since(UNIX_EPOCH).ok());
        family.encode_gauge(&i64::try_from(expiry.unwrap_or_default().as_secs()).unwrap_or(i64::MAX))?;
        let help = "Certificates that this process has had, one kept from before its start included";
        let mut family = encoder.encode_descriptor("control_identity_cert_refreshes", help, None, MetricType::Counter)?;
        family.encode_counter::<[(&str, &str); 0], u64, u64>(&self.refreshes.load(Ordering::Relaxed), None)
    }
}
