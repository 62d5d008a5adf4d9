//! What both rules cost and what users suffered, by the shape of the load.

use std::collections::BTreeMap;

use super::trace::Shape;

/// Of one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) replica_s: u64,
    pub(crate) violated_s: u64,
    pub(crate) ups: u64,
    pub(crate) downs: u64,
    pub(crate) reversals: u64,
    pub(crate) early_reversals: u64,
}

/// Of one shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) traces: u64,
    pub(crate) ours: Sums,
    pub(crate) stock: Sums,
    pub(crate) held_for_want_of_figures: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report(BTreeMap<Shape, Row>);

// === impl Sums ===

impl Sums {
    fn add(&mut self, other: &Self) {
        self.replica_s += other.replica_s;
        self.violated_s += other.violated_s;
        self.ups += other.ups;
        self.downs += other.downs;
        self.reversals += other.reversals;
        self.early_reversals += other.early_reversals;
    }
}

// === impl Row ===

impl Row {
    fn add(&mut self, other: &Self) {
        self.traces += other.traces;
        self.ours.add(&other.ours);
        self.stock.add(&other.stock);
        self.held_for_want_of_figures += other.held_for_want_of_figures;
    }
}

// === impl Report ===

impl Report {
    pub(crate) fn of(shape: Shape, row: Row) -> Self {
        Self([(shape, row)].into())
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (shape, row) in &other.0 {
            self.0.entry(*shape).or_default().add(row);
        }
    }

    pub(crate) fn total(&self) -> Row {
        self.0.values().fold(Row::default(), |mut sum, row| {
            sum.add(row);
            sum
        })
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{:<11}{:>7} {:<6}{:>16}{:>16}{:>8}{:>8}{:>11}{:>9}",
            "load", "traces", "rule", "replica s/trace", "violated s/tr.", "up", "down", "reversals", "early"
        )?;
        let rows = self.0.iter().map(|(shape, row)| (format!("{shape:?}"), *row)).chain([("all".to_owned(), self.total())]);
        for (name, row) in rows {
            for (rule, sums) in [("ours", &row.ours), ("stock", &row.stock)] {
                let each = |sum: u64| format!("{}.{}", sum / row.traces, sum * 10 / row.traces % 10);
                writeln!(
                    f,
                    "{name:<11}{:>7} {rule:<6}{:>16}{:>16}{:>8}{:>8}{:>11}{:>9}",
                    row.traces,
                    each(sums.replica_s),
                    each(sums.violated_s),
                    each(sums.ups),
                    each(sums.downs),
                    each(sums.reversals),
                    sums.early_reversals,
                )?;
            }
        }
        write!(f, "held for want of figures: {} times", self.total().held_for_want_of_figures)
    }
}
