//! The table of a rotation: every step from every state, and what each waits for.

use std::time::Duration;

use super::{LONGEST_LIFE, MARGIN, Refusal, State};
use crate::ca::Material;

const LIFE: u64 = 86_400;
const PROPAGATION: u64 = 120;
/// When the bundle with both roots was out.
const OUT: u64 = 1_000;

fn material(name: &str) -> Material {
    Material { bundle: format!("root {name}\n"), certificate: format!("issuer {name}"), key: format!("key {name}") }
}

fn one() -> State {
    let state = State::stable(material("a"));
    State { life: Some(LIFE), ..state }
}

fn two() -> State {
    one().begin(material("b")).unwrap()
}

fn issue(state: State, now: u64) -> Result<State, Refusal> {
    state.issue(now, Duration::from_secs(PROPAGATION))
}

fn switched() -> State {
    issue(two().published(OUT), OUT + PROPAGATION).unwrap()
}

fn drop(state: State, now: u64, name: &str, compromised: bool) -> Result<State, Refusal> {
    state.drop_other(now, |other| *other == material(name), compromised.then_some("AB"))
}

#[test]
fn a_rotation_from_one_root_to_another() {
    let state = one();
    assert_eq!(state.bundle(), "root a\n");
    let state = state.begin(material("b")).unwrap();
    assert_eq!((state.bundle().as_str(), state.issuing.material.key.as_str()), ("root a\nroot b\n", "key a"));
    let state = issue(state.published(OUT), OUT + PROPAGATION).unwrap();
    assert_eq!((state.bundle().as_str(), state.issuing.material.key.as_str()), ("root b\nroot a\n", "key b"));
    let over = OUT + PROPAGATION + LIFE + MARGIN;
    let state = drop(state, over, "a", false).unwrap();
    assert_eq!(state, State { issuing: super::Party { material: material("b"), used_until: 0 }, ..one() });
}

#[test]
fn every_step_that_would_cut_somebody_off_is_refused() {
    let until = OUT + PROPAGATION + LIFE + MARGIN;
    let cases = [
        ("a second new root", two().begin(material("c")), Refusal::UnderWay),
        ("a new root while the old one goes", switched().begin(material("c")), Refusal::UnderWay),
        ("nothing to issue from", issue(one(), OUT), Refusal::NotUnderWay),
        ("not in every namespace", issue(two(), u64::MAX), Refusal::NotPublished),
        ("just published", issue(two().published(OUT), OUT), Refusal::TooSoon { propagation: PROPAGATION, left: PROPAGATION }),
        ("a second too early", issue(two().published(OUT), OUT + PROPAGATION - 1), Refusal::TooSoon { propagation: PROPAGATION, left: 1 }),
        ("the clock went back", issue(two().published(OUT), 0), Refusal::TooSoon { propagation: PROPAGATION, left: OUT + PROPAGATION }),
        ("the only root", drop(one(), OUT, "a", true), Refusal::NotUnderWay),
        ("the issuing root", drop(switched(), until, "b", true), Refusal::AnotherRoot),
        ("a root nobody knows", drop(switched(), until, "c", true), Refusal::AnotherRoot),
        ("a leaf may live", drop(switched(), until - 1, "a", false), Refusal::InUse { left: 1 }),
        ("the new root as the compromised one", drop(two(), OUT, "b", true), Refusal::NeverUsed),
    ];
    for (what, taken, refusal) in cases {
        assert_eq!(taken.expect_err(what), refusal, "{what}");
    }
}

#[test]
fn a_compromised_root_goes_although_it_is_in_use() {
    let dropped = drop(switched(), OUT + PROPAGATION, "a", true).unwrap();
    assert_eq!(dropped.bundle(), "# compromised: ab\nroot b\n");
    let kept: State = serde_json::from_str(&serde_json::to_string(&dropped).unwrap()).unwrap();
    assert_eq!(kept, dropped, "it is said after a restart too");
    assert_eq!(dropped.begin(material("c")).unwrap().bundle(), "# compromised: ab\nroot b\nroot c\n");
}

#[test]
fn a_rotation_can_be_taken_back() {
    assert_eq!(drop(two(), 0, "b", false).unwrap(), one(), "nobody has a certificate under it");
    let back = issue(switched(), OUT + PROPAGATION + 1).unwrap();
    assert_eq!(back.bundle(), "root a\nroot b\n");
    let until = OUT + PROPAGATION + 1 + LIFE + MARGIN;
    assert_eq!(drop(back.clone(), until - 1, "b", false), Err(Refusal::InUse { left: 1 }));
    assert_eq!(drop(back, until, "b", false).unwrap().bundle(), "root a\n");
}

#[test]
fn publishing_counts_from_the_first_time_and_anew_in_the_next_rotation() {
    assert_eq!(one().published(OUT), one());
    let state = two().published(OUT).published(OUT + 50);
    assert_eq!(state.both_since, Some(OUT));
    let next = drop(state, OUT, "b", false).unwrap().begin(material("c")).unwrap();
    assert_eq!(issue(next, u64::MAX), Err(Refusal::NotPublished));
}

#[test]
fn leafs_of_an_earlier_longer_life_count() {
    let started = |state: State, now, life| state.started(now, Duration::from_secs(life));
    assert_eq!(started(one(), OUT, LIFE), one(), "nothing has changed");
    let shorter = started(one(), 5, 600);
    assert_eq!((shorter.life, shorter.issuing.used_until), (Some(600), 5 + LIFE + MARGIN));
    let shortest = started(shorter, 6, 120);
    assert_eq!(shortest.issuing.used_until, 5 + LIFE + MARGIN, "still those of the first");
    let longer = started(one(), 5, 2 * LIFE).begin(material("b")).unwrap().published(OUT);
    let other = issue(longer, OUT + PROPAGATION).unwrap().other.unwrap();
    assert_eq!(other.used_until, OUT + PROPAGATION + 2 * LIFE + MARGIN);
    assert_eq!(started(State::new(material("a")), 7, LIFE).issuing.used_until, 7 + MARGIN, "nothing was signed");
    let unknown = started(State::stable(material("a")), 7, LIFE);
    assert_eq!(unknown.issuing.used_until, 7 + LONGEST_LIFE + MARGIN);
}

#[test]
fn a_state_is_kept_as_it_is_and_shows_no_key() {
    let state = switched();
    assert_eq!(serde_json::from_str::<State>(&serde_json::to_string(&state).unwrap()).unwrap(), state);
    assert!(!format!("{state:?}").contains("key"), "{state:?}");
}
