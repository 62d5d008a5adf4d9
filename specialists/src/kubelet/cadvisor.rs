//! Throttling from the kubelet's cAdvisor page, read line by line: of a page of megabytes, two counters per container.

use std::collections::HashMap;

use assent_core::seats::compute::Throttling;

use crate::pods::SIDECAR;

const PERIODS: &str = "container_cpu_cfs_periods_total{";
const THROTTLED: &str = "container_cpu_cfs_throttled_periods_total{";
/// Longer lines are skipped.
const MAX_LINE: usize = 64 << 10;
/// Pods of a node that are told apart.
const MAX_PODS: usize = 1_024;

/// A page as it comes in.
#[derive(Debug, Default)]
pub(super) struct Page {
    line: Vec<u8>,
    skipping: bool,
    pods: HashMap<(String, String), Throttling>,
}

// === impl Page ===

impl Page {
    /// Takes the next bytes, cut anywhere.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (rest, next) = bytes.split_at(end);
            self.extend(rest);
            self.end_of_line();
            bytes = next.get(1..).unwrap_or_default();
        }
        self.extend(bytes);
    }

    /// Throttling by namespace and name of the pod.
    pub(super) fn finish(mut self) -> HashMap<(String, String), Throttling> {
        self.end_of_line();
        self.pods
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > MAX_LINE {
            self.skipping = true;
            self.line.clear();
        }
        if !self.skipping {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !std::mem::take(&mut self.skipping)
            && let Ok(line) = std::str::from_utf8(&line)
        {
            self.take(line);
        }
        // Keeps its room for the next line.
        self.line = line;
        self.line.clear();
    }

    fn take(&mut self, line: &str) {
        let (rest, throttled) = match (line.strip_prefix(PERIODS), line.strip_prefix(THROTTLED)) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => return,
        };
        let Some((labels, value)) = rest.rsplit_once('}') else { return };
        let label = |name: &str| labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'));
        let (Some(container), Some(namespace), Some(pod)) = (label("container"), label("namespace"), label("pod")) else { return };
        // Without a container it is the pod's own group, which counts everything again.
        if container.is_empty() || container == "POD" || container == SIDECAR || pod.is_empty() {
            return;
        }
        let Some(count) = value.split_whitespace().next().and_then(count) else { return };
        let key = (namespace.to_owned(), pod.to_owned());
        if self.pods.len() >= MAX_PODS && !self.pods.contains_key(&key) {
            return;
        }
        let figures = self.pods.entry(key).or_default();
        let slot = if throttled { &mut figures.throttled } else { &mut figures.periods };
        *slot = slot.saturating_add(count);
    }
}

/// A whole number as Prometheus writes one, which may be `1.23e+06`.
fn count(text: &str) -> Option<u64> {
    if let Ok(count) = text.parse() {
        return Some(count);
    }
    let value: f64 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are whole, and casts saturate")]
    (value.is_finite() && value >= 0.0).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"# HELP container_cpu_cfs_periods_total Number of elapsed enforcement period intervals.
container_cpu_cfs_periods_total{container="",id="/kubepods/pod1",image="",name="",namespace="shop",pod="orders-1"} 999 1704067261000
container_cpu_cfs_periods_total{container="orders",id="/k",image="x",name="n",namespace="shop",pod="orders-1"} 1.234e+03 1704067261000
container_cpu_cfs_throttled_periods_total{container="orders",id="/k",image="x",name="n",namespace="shop",pod="orders-1"} 17 1704067261000
container_cpu_cfs_throttled_periods_total{container="assent-sidecar",id="/k",image="x",name="n",namespace="shop",pod="orders-1"} 500 1704067261000
container_cpu_cfs_throttled_periods_total{container="orders",namespace="shop",pod="orders-2"} NaN
container_cpu_usage_seconds_total{container="orders",namespace="shop",pod="orders-1"} 5
container_cpu_cfs_periods_total{nonsense
"#;

    #[test]
    fn two_counters_per_container_however_the_bytes_are_cut() {
        let expected = HashMap::from([(("shop".to_owned(), "orders-1".to_owned()), Throttling { periods: 1_234, throttled: 17 })]);
        for size in [1, 7, 64, 10_000] {
            let mut page = Page::default();
            PAGE.as_bytes().chunks(size).for_each(|chunk| page.feed(chunk));
            assert_eq!(page.finish(), expected, "{size}");
        }
    }

    #[test]
    fn endless_lines_are_skipped() {
        let mut page = Page::default();
        for _ in 0..100 {
            page.feed(&[b'x'; 4_096]);
        }
        assert!(page.line.capacity() <= 2 * MAX_LINE);
        page.feed(b"\n");
        page.feed(PAGE.as_bytes());
        assert_eq!(page.finish().len(), 1);
    }
}
