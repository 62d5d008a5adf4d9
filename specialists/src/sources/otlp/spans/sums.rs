//! Counts and times of operations, in whiles of twenty seconds, the newest forty minutes of them.

use std::collections::{BTreeMap, HashMap};

use super::words::Word;

const WHILE_MS: i64 = 20_000;
const KEPT_MS: i64 = 40 * 60 * 1_000;
/// Different operations in one while, and in all.
const MAX_IN_WHILE: usize = 4_096;
const MAX_IN_ALL: usize = 60_000;

/// Who did what for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) caller: Word,
    pub(super) service: Word,
    pub(super) operation: Word,
    pub(super) peer: Word,
}

/// How often and how long.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) count: f64,
    pub(super) total_ms: f64,
    pub(super) self_ms: f64,
}

/// All whiles, by their beginning in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    whiles: BTreeMap<i64, HashMap<Key, Sum>>,
    held: usize,
}

// === impl Sums ===

impl Sums {
    pub(super) fn add(&mut self, time_ms: i64, key: Key, total_ms: f64, self_ms: f64) {
        let begin = time_ms.div_euclid(WHILE_MS).saturating_mul(WHILE_MS);
        let sums = self.whiles.entry(begin).or_default();
        if sums.len() >= MAX_IN_WHILE && !sums.contains_key(&key) {
            return;
        }
        let known = sums.len();
        let sum = sums.entry(key).or_default();
        sum.count += 1.0;
        sum.total_ms += total_ms;
        sum.self_ms += self_ms;
        self.held += sums.len() - known;
        while self.held > MAX_IN_ALL && self.whiles.len() > 1 {
            self.forget_oldest();
        }
    }

    pub(super) fn forget(&mut self, now_ms: i64) {
        while self.whiles.first_key_value().is_some_and(|(begin, _)| now_ms.saturating_sub(*begin) > KEPT_MS) {
            self.forget_oldest();
        }
    }

    /// The second at which each while began, the operation, and its sum.
    pub(super) fn each(&self) -> impl Iterator<Item = (i64, Key, Sum)> {
        self.whiles.iter().flat_map(|(begin, sums)| sums.iter().map(|(key, sum)| (begin.div_euclid(1_000), *key, *sum)))
    }

    fn forget_oldest(&mut self) {
        if let Some((_, sums)) = self.whiles.pop_first() {
            self.held = self.held.saturating_sub(sums.len());
        }
    }
}
