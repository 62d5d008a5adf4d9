//! The checkpoint that a person is about to vouch for, and what they give up by it. Computed from what was read; it changes
//! nothing.

use anyhow::{Context as _, bail, ensure};
use assent_core::canonical::Digest;
use assent_core::ledger::{self, Checkpoint, Entry, Head};

use super::{Named, Standing, describe};
use crate::describe::time;
use crate::output::{bold, warn};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) checkpoint: Checkpoint,
    /// When the first and the newest entry of the ledger that goes on were appended.
    span: Option<String>,
    /// The newest plan of the era whose ledger is the beginning of this one.
    agrees: Option<Named>,
    /// Plans of the era that this ledger does not have on record.
    without: Vec<Named>,
}

// === impl Offer ===

impl Offer {
    /// The checkpoint for a ledger of these entries, if one is needed.
    pub(super) fn make(standing: &Standing, entries: &[Entry], announced: Option<&Head>) -> anyhow::Result<Self> {
        let head = ledger::verify(entries).map_err(anyhow::Error::msg).context("the director's ledger does not hold")?;
        let leaves = entries.iter().map(ledger::leaf).collect::<Result<Vec<Digest>, _>>().context("hash the entries")?;
        let holds = |head: &Head| Head::at(head.sequence, |subtree| ledger::of_leaves(&leaves, subtree)).as_ref() == Some(head);
        ensure!(announced.is_none_or(holds), "the director announces another head than its entries have");
        if holds(&standing.next.head) {
            bail!("the ledger extends what the next plan must extend: there is nothing to accept");
        }
        let checkpoint = Checkpoint::new(&standing.newest, head).context("there is no era after this one")?;
        let mut of_era: Vec<Named> = standing.plans.iter().filter(|named| named.position.era == standing.newest.era).cloned().collect();
        of_era.sort_by_key(|named| named.position.order());
        let (with, without): (Vec<Named>, Vec<Named>) = of_era.into_iter().partition(|named| holds(&named.position.head));
        let span = entries.first().zip(entries.last()).map(|(first, last)| format!("{} to {}", time(first.at), time(last.at)));
        Ok(Self { checkpoint, span, agrees: with.last().cloned(), without })
    }

    /// For people.
    pub(super) fn lines(&self, standing: &Standing) -> Vec<String> {
        let Checkpoint { begins, supersedes } = &self.checkpoint;
        let mut lines = vec![
            format!("{} {}: {}", bold("supersedes"), describe(supersedes), standing.newest_plan()),
            format!("{} {}, {}", bold("vouches for"), describe(&begins.head), self.span.as_deref().unwrap_or("the beginning of a new ledger")),
            match &self.agrees {
                Some(named) => format!("The two are the same up to entry {} at least (plan {:.16}…).", named.position.head.sequence, named.plan),
                None => "No plan that is kept speaks of this ledger.".into(),
            },
        ];
        lines.extend(self.without.iter().map(|named| format!("  {} plan {} of {} will not be on record", warn("–"), named.plan, time(named.at))));
        lines.push("Open votes become void, and what was planned and not yet applied is not applied; reverts that are owed are carried out.".into());
        lines
    }
}

#[cfg(test)]
mod tests {
    use assent_core::ids::{IncidentUid, UnixMillis};
    use assent_core::ledger::Position;
    use serde_json::json;

    use super::*;

    fn entries(n: u64, say: &str) -> Vec<Entry> {
        let incident = IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap();
        let entry = |sequence| Entry {
            sequence,
            at: UnixMillis(1_790_000_000_000),
            incident: incident.clone(),
            author: "director".into(),
            kind: "test".into(),
            body: json!({"detail": say}),
        };
        (1..=n).map(entry).collect()
    }

    fn named(plan: &str, era: u32, entries: &[Entry]) -> Named {
        Named { plan: plan.into(), at: UnixMillis(1_790_000_000_000), position: Position { era, head: ledger::verify(entries).unwrap() } }
    }

    fn standing(plans: Vec<Named>, checkpoint: Option<Checkpoint>) -> Standing {
        let newest = plans.iter().map(|named| named.position.clone()).max_by_key(Position::order).unwrap_or_else(Position::start);
        let next = newest.next(checkpoint.as_ref());
        Standing { plans, newest, checkpoint, next, roster: None }
    }

    #[test]
    fn a_ledger_that_plans_speak_of_needs_no_checkpoint() {
        let kept = entries(9, "kept");
        for plans in [vec![], vec![named("rem-1", 0, &kept[..4]), named("rem-2", 0, &kept[..9])]] {
            let refused = Offer::make(&standing(plans, None), &kept, None).unwrap_err();
            assert!(refused.to_string().contains("nothing to accept"), "{refused}");
        }
    }

    #[test]
    fn a_restored_backup_is_offered_with_what_it_lacks() {
        let kept = entries(9, "kept");
        let standing = standing(vec![named("rem-old-era", 0, &entries(99, "before")), named("rem-1", 1, &kept[..4]), named("rem-2", 1, &kept)], None);
        let backup = &kept[..6];
        let offer = Offer::make(&standing, backup, Some(&ledger::verify(&backup[..5]).unwrap())).unwrap();
        assert_eq!(offer.checkpoint, Checkpoint::new(&standing.newest, ledger::verify(backup).unwrap()).unwrap());
        assert_eq!((offer.checkpoint.begins.era, offer.checkpoint.supersedes.sequence), (2, 9));
        assert!(offer.checkpoint.follows(&standing.newest));
        let text = offer.lines(&standing).join("\n");
        for line in ["entry 9,", "entry 6,", "up to entry 4 at least (plan rem-1", "plan rem-2 of", "will not be on record"] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("rem-old-era"), "{text}");
    }

    #[test]
    fn an_empty_ledger_is_offered_as_a_beginning_and_a_false_head_is_not() {
        let standing = standing(vec![named("rem-1", 0, &entries(9, "lost"))], None);
        let offer = Offer::make(&standing, &[], Some(&Head::empty())).unwrap();
        assert_eq!(offer.checkpoint.begins, Position { era: 1, head: Head::empty() });
        assert!(offer.lines(&standing).join("\n").contains("the beginning of a new ledger"));
        let other = ledger::verify(&entries(2, "other")).unwrap();
        assert!(Offer::make(&standing, &entries(3, "new"), Some(&other)).unwrap_err().to_string().contains("announces another head"));
        assert!(Offer::make(&standing, &entries(3, "new")[1..], None).unwrap_err().to_string().contains("does not hold"));
    }
}
