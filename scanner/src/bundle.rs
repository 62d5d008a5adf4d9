//! The rows of one report, bounded: all are counted, and the most harmless ones are left out when there is no more room.

use std::collections::BTreeMap;

use crate::row::{Row, Verdict};

/// Room for the rows of one report, in bytes as they are written; the store takes no object above 1.5 MiB, and readers hold
/// all reports at once.
const MAX_BYTES: usize = 512 * 1024;
/// What a row costs beside its texts, in bytes.
const FRAME: usize = 512;

/// Rows of one namespace, or of what is in none.
#[derive(Clone, Debug)]
pub struct Bundle {
    kept: BTreeMap<Verdict, Vec<Row>>,
    counts: BTreeMap<Verdict, u64>,
    bytes: usize,
    room: usize,
}

impl Default for Bundle {
    fn default() -> Self {
        Self::with_room(MAX_BYTES)
    }
}

// === impl Bundle ===

impl Bundle {
    /// A bundle with room for so many bytes.
    #[must_use]
    pub fn with_room(room: usize) -> Self {
        Self { kept: BTreeMap::new(), counts: BTreeMap::new(), bytes: 0, room }
    }

    /// Counts a row, and keeps it while there is room for it or for what matters less.
    pub fn push(&mut self, row: Row) {
        *self.counts.entry(row.verdict).or_default() += 1;
        self.bytes += size(&row);
        self.kept.entry(row.verdict).or_default().push(row);
        while self.bytes > self.room {
            let Some(mut harmless) = self.kept.last_entry() else { return };
            match harmless.get_mut().pop() {
                Some(left_out) => self.bytes -= size(&left_out),
                None => drop(harmless.remove()),
            }
        }
    }

    /// How many rows of this verdict there were, kept or not.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.counts.get(&verdict).copied().unwrap_or_default()
    }

    /// The rows that were kept, what fails first.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.kept.values().flatten()
    }

    /// How many were not.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        let kept: usize = self.kept.values().map(Vec::len).sum();
        self.counts.values().sum::<u64>().saturating_sub(u64::try_from(kept).unwrap_or(u64::MAX))
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// Bytes of a row as it is written, or a few more. A control character takes six.
fn size(row: &Row) -> usize {
    let escaped = |text: &str| text.len() + text.bytes().map(|byte| if byte < 0x20 { 5 } else { usize::from(byte == b'"' || byte == b'\\') }).sum::<usize>();
    let optional = |text: &Option<String>| text.as_deref().map_or(0, escaped);
    let subject = &row.subject;
    let named = [&row.policy, &row.category, &row.message, &subject.api_version, &subject.namespace, &subject.name, &subject.uid];
    FRAME + named.into_iter().map(|text| escaped(text)).sum::<usize>() + optional(&row.binding) + optional(&row.validation) + optional(&row.would_pass)
}

#[cfg(test)]
mod cases {
    use super::*;
    use crate::report::{Format, report};
    use crate::row::Subject;

    fn row(verdict: Verdict, name: &str) -> Row {
        Row {
            policy: "p".into(),
            verdict,
            severity: None,
            category: "Guardrails".into(),
            message: "\u{1}\"".repeat(100),
            binding: Some("b".into()),
            validation: None,
            would_pass: None,
            subject: Subject { api_version: "v1".into(), kind: "Pod", namespace: "shop".into(), name: name.into(), uid: "u".into() },
        }
    }

    #[test]
    fn what_fails_comes_first_and_stays_when_room_runs_out() {
        let mut bundle = Bundle::with_room(5 * size(&row(Verdict::Pass, "a")));
        for _ in 0..4 {
            bundle.push(row(Verdict::Pass, "a"));
            bundle.push(row(Verdict::Skip, "a"));
            bundle.push(row(Verdict::Fail, "a"));
        }
        let verdicts: Vec<Verdict> = bundle.rows().map(|row| row.verdict).collect();
        assert_eq!(verdicts, [Verdict::Fail, Verdict::Fail, Verdict::Fail, Verdict::Fail, Verdict::Skip]);
        assert_eq!([bundle.count(Verdict::Fail), bundle.count(Verdict::Skip), bundle.count(Verdict::Pass)], [4, 4, 4]);
        assert_eq!(bundle.omitted(), 7);
    }

    #[test]
    fn a_full_report_stays_below_a_mebibyte() {
        let mut bundle = Bundle::default();
        for number in 0..3000 {
            bundle.push(row(Verdict::Fail, &format!("pod-{number}")));
        }
        assert!(bundle.omitted() > 0);
        let report = report(Format::Openreports, Some("shop"), &bundle, 0).unwrap();
        let length = report.object.to_string().len();
        assert!((MAX_BYTES / 3..1024 * 1024).contains(&length), "{length}");
    }
}
