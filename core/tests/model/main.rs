//! Every order of the steps from ballots to a written and reverted change, with one hostile seat, director or executor: what
//! the gate judges by `core` is asked in every state that can be reached.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests stop at the first surprise")]

mod fixture;
mod replay;

use assent_core::proof::{Admitted, judge_plan, judge_write};
use stateright::{Checker, Model, Property};

use fixture::{Hand, facts, plan, write};

/// Who is hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hostile {
    Nobody,
    /// The network seat.
    Seat,
    /// Withholds cause ballots from seats, and asks again.
    Director,
    /// Writes whenever and whatever it likes.
    Executor,
}

/// What the liar has said in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Word {
    Nothing,
    /// What honest seats say.
    Truth,
    /// For an innocent service, and whatever is proposed there.
    Lie,
    /// Against everything.
    Veto,
}

/// The target since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stand {
    Judged,
    Written,
    Restored,
    Edited,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Which of the honest seats judged the cause.
    pub(crate) causes: u8,
    pub(crate) lie: Word,
    /// Which cause ballots the seats are shown, once they are.
    pub(crate) shown: Option<u8>,
    pub(crate) remedies: u8,
    pub(crate) stance: Word,
    /// Whether a seat voted in the next epoch.
    pub(crate) later: bool,
    /// What had been said of the remedies when the plan was stored, if it is.
    pub(crate) planned: Option<(u8, Word)>,
    pub(crate) stand: Stand,
    pub(crate) paused: bool,
    pub(crate) expired: bool,
    applied: u8,
    reverted: u8,
    /// A write that must not have been.
    wrong: bool,
}

// === impl State ===

impl State {
    /// Nobody has said anything.
    pub(crate) fn start() -> Self {
        Self {
            causes: 0,
            lie: Word::Nothing,
            shown: None,
            remedies: 0,
            stance: Word::Nothing,
            later: false,
            planned: None,
            stand: Stand::Judged,
            paused: false,
            expired: false,
            applied: 0,
            reverted: 0,
            wrong: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Cause(u8),
    LieCause(Word),
    Show(u8),
    Remedy(u8),
    LieRemedy(Word),
    VoteAgain,
    Plan(Hand),
    Apply(Hand),
    Revert(Hand),
    Pause,
    Expire,
    Edit,
}

#[derive(Clone, Debug)]
struct Path {
    hostile: Hostile,
    /// Whether a second honest seat sees the trouble, so that the liar is not needed.
    sure: bool,
}

pub(crate) const ALL: u8 = 0b111;
pub(crate) const LIAR: u8 = 0b1000;

impl Model for Path {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        vec![State::start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Act>) {
        let there = state.causes | if state.lie == Word::Nothing { 0 } else { LIAR };
        let words: &[Word] = if self.hostile == Hostile::Seat { &[Word::Truth, Word::Lie, Word::Veto] } else { &[Word::Truth] };
        if state.shown.is_none() {
            actions.extend((0..3).filter(|n| state.causes & (1 << n) == 0).map(Act::Cause));
            actions.extend(words.iter().filter(|_| state.lie == Word::Nothing).map(|word| Act::LieCause(*word)));
            if there.count_ones() >= 3 {
                actions.push(Act::Show(there));
            }
            if self.hostile == Hostile::Director {
                actions.extend((0..4).map(|n| there & !(1 << n)).filter(|some| *some != there).map(Act::Show));
            }
            return;
        }
        actions.extend((0..3).filter(|n| state.remedies & (1 << n) == 0).map(Act::Remedy));
        actions.extend(words.iter().filter(|_| state.stance == Word::Nothing).map(|word| Act::LieRemedy(*word)));
        if !state.later && matches!(self.hostile, Hostile::Seat | Hostile::Director) {
            actions.push(Act::VoteAgain);
        }
        let hands: &[Hand] = if self.hostile == Hostile::Executor { &[Hand::Steady, Hand::Other, Hand::Beside] } else { &[Hand::Steady] };
        actions.extend(hands.iter().filter(|_| state.planned.is_none()).map(|hand| Act::Plan(*hand)));
        if state.planned.is_some() {
            actions.extend(hands.iter().map(|hand| Act::Apply(*hand)));
            actions.extend(hands.iter().filter(|_| state.stand != Stand::Judged).map(|hand| Act::Revert(*hand)));
            actions.extend([Act::Pause, Act::Expire, Act::Edit].into_iter().filter(|act| match act {
                Act::Pause => !state.paused,
                Act::Expire => !state.expired,
                _ => state.stand != Stand::Edited,
            }));
        }
    }

    fn next_state(&self, state: &State, act: Act) -> Option<State> {
        let mut next = state.clone();
        match act {
            Act::Cause(n) => next.causes |= 1 << n,
            Act::LieCause(word) => next.lie = word,
            Act::Show(shown) => next.shown = Some(shown),
            Act::Remedy(n) => next.remedies |= 1 << n,
            Act::LieRemedy(word) => next.stance = word,
            Act::VoteAgain => next.later = true,
            Act::Pause => next.paused = true,
            Act::Expire => next.expired = true,
            Act::Edit => next.stand = Stand::Edited,
            Act::Plan(hand) => {
                judge_plan(&facts(state, self.sure), &plan(state, self.sure, hand)).ok()?;
                next.planned = Some((state.remedies, state.stance));
                next.wrong |= hand != Hand::Steady || !self.is_carried(state);
            }
            Act::Apply(hand) | Act::Revert(hand) => {
                let back = matches!(act, Act::Revert(_));
                match judge_write(&facts(state, self.sure), &write(state, hand, back)).ok()? {
                    Admitted::Revert => {
                        next.stand = Stand::Restored;
                        next.reverted += 1;
                        next.wrong |= state.stand != Stand::Written || hand != Hand::Steady || !back;
                    }
                    _ => {
                        next.stand = Stand::Written;
                        next.applied += 1;
                        next.wrong |= state.paused || state.expired || state.later || state.stand != Stand::Judged;
                        next.wrong |= hand != Hand::Steady || back || !self.is_carried(state);
                    }
                }
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing but what was voted, as long as it may be", |_: &Self, state: &State| !state.wrong),
            Property::always("once applied, once reverted", |_: &Self, state: &State| state.applied <= 1 && state.reverted <= state.applied),
            Property::sometimes("applied", |_: &Self, state: &State| state.applied == 1),
            Property::sometimes("reverted", |_: &Self, state: &State| state.reverted == 1),
            Property::sometimes("reverted in a pause", |_: &Self, state: &State| state.reverted == 1 && state.paused),
        ]
    }
}

impl Path {
    /// Counted by hand: three seats in each round, nobody against, two for it on full knowledge, one of them honest.
    fn is_carried(&self, state: &State) -> bool {
        let spoke = |word: Word| u32::from(word != Word::Nothing);
        let present = state.causes.count_ones() + spoke(state.lie);
        let judged = state.remedies.count_ones() + spoke(state.stance);
        let for_it = |n: u8| state.causes & state.remedies & state.shown.unwrap_or(0) & (1 << n) != 0;
        let honest = u32::from(for_it(0)) + u32::from(self.sure && for_it(2));
        let liar = u32::from(state.lie == Word::Truth && matches!(state.stance, Word::Truth | Word::Lie));
        present >= 3 && judged >= 3 && state.stance != Word::Veto && honest >= 1 && honest + liar >= 2
    }
}

fn check(hostile: Hostile, sure: bool) {
    let checker = Path { hostile, sure }.checker().spawn_bfs().join();
    checker.assert_properties();
    println!("{hostile:?}, sure: {sure}: {} states", checker.unique_state_count());
}

#[test]
fn with_nobody_hostile_what_was_voted_is_written_once() {
    check(Hostile::Nobody, true);
}

#[test]
fn one_hostile_seat_writes_nothing_that_no_honest_seat_wants() {
    check(Hostile::Seat, true);
    check(Hostile::Seat, false);
}

#[test]
fn one_hostile_director_writes_nothing_that_was_not_voted() {
    check(Hostile::Director, true);
}

#[test]
fn one_hostile_executor_writes_nothing_that_was_not_voted() {
    check(Hostile::Executor, true);
}
