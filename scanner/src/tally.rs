//! Counts over one scan, by guardrail, by binding and by verdict: what status and metrics say.

use std::collections::BTreeMap;

use crate::judge::Spoken;
use crate::row::{Row, Verdict};

/// How many objects one guardrail or binding speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects that it speaks of.
    pub matched: u64,
    /// Those that it objects to, or cannot judge.
    pub failing: u64,
}

/// All counts of one scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// By guardrail.
    pub guardrails: BTreeMap<String, Tally>,
    /// By binding.
    pub bindings: BTreeMap<String, Tally>,
    /// Rows by verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Objects by plural.
    pub objects: BTreeMap<&'static str, u64>,
}

// === impl Tallies ===

impl Tallies {
    /// Counts one object, with what was said of it.
    pub fn add(&mut self, resource: &'static str, rows: &[Row], spoken: &[Spoken]) {
        *self.objects.entry(resource).or_default() += 1;
        for row in rows {
            *self.verdicts.entry(row.verdict).or_default() += 1;
            count(&mut self.guardrails, &row.policy, row.verdict);
        }
        for one in spoken {
            if let Some(binding) = &one.binding {
                count(&mut self.bindings, binding, one.verdict);
            }
        }
    }
}

fn count(tallies: &mut BTreeMap<String, Tally>, name: &str, verdict: Verdict) {
    if !tallies.contains_key(name) {
        tallies.insert(name.to_owned(), Tally::default());
    }
    if let Some(tally) = tallies.get_mut(name) {
        tally.matched += 1;
        tally.failing += u64::from(verdict.is_failing());
    }
}
