//! What each pair of words comes to, and what holds whatever is seen.

use proptest::prelude::*;

use super::*;

const SIDES: [Side; 5] = [Side::Unknown, Side::WasIll, Side::Well, Side::Turning, Side::Broken];
const DEADLINE: UnixMillis = UnixMillis(100_000);
/// When the change was through.
const LONG_AGO: UnixMillis = UnixMillis(-60_000);

fn neighbour(name: &str, own: Side, callers: Side) -> Neighbour {
    Neighbour { service: Service { namespace: "shop".into(), name: name.into() }, calls: true, own, callers, summary: format!("figures of {name}") }
}

/// A look each second, from the first one on.
fn looks(each: &[Option<Vec<Neighbour>>]) -> Vec<Look> {
    let look = |(n, neighbours): (usize, &Option<Vec<Neighbour>>)| Look { at: UnixMillis(i64::try_from(n).unwrap() * 1000), neighbours: neighbours.clone() };
    each.iter().enumerate().map(look).collect()
}

fn lasting(neighbours: &[Neighbour]) -> Vec<Look> {
    looks(&vec![Some(neighbours.to_vec()); 6])
}

fn judged(looks: &[Look]) -> Progress {
    with_neighbours(Progress::Verified, looks, Some(LONG_AGO), DEADLINE, UnixMillis(5_000))
}

fn harmed(looks: &[Look]) -> bool {
    matches!(judged(looks), Progress::Harmed(_))
}

#[test]
fn one_neighbour_is_ill_when_both_sides_say_so_and_looms_when_both_may() {
    use Side::{Broken, Turning, Unknown, WasIll, Well};
    for own in SIDES {
        for callers in SIDES {
            let progress = judged(&lasting(&[neighbour("front", own, callers)]));
            match (own, callers) {
                (Broken, Broken) => assert!(
                    matches!(&progress, Progress::Harmed(why) if why.contains("shop/front, which calls it") && why.contains("figures of front")),
                    "{progress:?}"
                ),
                (Turning, Turning | Broken) | (Broken, Turning) => assert_eq!(progress, Progress::Watching, "{own:?} {callers:?}"),
                (Unknown | WasIll | Well, _) | (_, Unknown | WasIll | Well) => assert_eq!(progress, Progress::Verified, "{own:?} {callers:?}"),
            }
        }
    }
}

#[test]
fn by_their_own_words_alone_it_takes_two() {
    let alone = |name: &str| neighbour(name, Side::Broken, Side::Unknown);
    assert_eq!(judged(&lasting(&[alone("one")])), Progress::Verified);
    assert_eq!(judged(&lasting(&[alone("one"), alone("one")])), Progress::Verified, "that is one");
    assert!(harmed(&lasting(&[alone("one"), alone("two")])));
    assert_eq!(judged(&lasting(&[alone("one"), neighbour("two", Side::Broken, Side::Well)])), Progress::Verified, "who is contradicted is no second");
    // What only callers say, one of them can say of many.
    let said = |name: &str| neighbour(name, Side::Unknown, Side::Broken);
    assert_eq!(judged(&lasting(&[said("one"), said("two"), said("three")])), Progress::Verified);
}

#[test]
fn one_look_or_one_of_many_proves_nothing() {
    let ill = || Some(vec![neighbour("front", Side::Broken, Side::Broken)]);
    let well = || Some(vec![]);
    assert_eq!(judged(&looks(&[ill()])), Progress::Watching);
    assert_eq!(judged(&looks(&[well(), ill(), ill(), ill(), ill(), ill()])), Progress::Watching, "it lasts for four seconds");
    assert!(harmed(&looks(&[well(), ill(), ill(), ill(), ill(), ill(), ill()])));
    assert_eq!(judged(&looks(&[ill(), ill(), ill(), well(), ill(), ill(), ill()])), Progress::Watching);
    assert_eq!(judged(&looks(&[ill(), ill(), ill(), ill(), ill(), ill(), well()])), Progress::Verified, "it is well again");
    // A look that saw nothing says nothing.
    assert!(harmed(&looks(&[ill(), None, ill(), None, None, ill()])));
    assert_eq!(judged(&looks(&[None, None, None, None, None, None])), Progress::Verified);
    let others = |name: &str| Some(vec![neighbour(name, Side::Broken, Side::Broken)]);
    assert_eq!(judged(&looks(&[others("a"), others("a"), others("a"), others("b"), others("b"), others("b")])), Progress::Watching, "not the same");
}

#[test]
fn a_change_on_its_way_harms_nobody_yet_and_what_looms_ends_with_the_deadline() {
    let ill = lasting(&[neighbour("front", Side::Broken, Side::Broken)]);
    let judge = |progress: Progress, settled, now| with_neighbours(progress, &ill, settled, DEADLINE, UnixMillis(now));
    assert_eq!(judge(Progress::Verified, None, 5_000), Progress::Watching);
    assert_eq!(judge(Progress::Watching, None, 5_000), Progress::Watching);
    assert!(matches!(judge(Progress::Watching, Some(LONG_AGO), 5_000), Progress::Harmed(_)));
    // Through just now: what was seen so far was the change on its way.
    for through in [UnixMillis(5_000), UnixMillis(-3_001), UnixMillis(-7_999)] {
        assert_eq!(judge(Progress::Watching, Some(through), 5_000), Progress::Watching, "{through:?}");
    }
    assert!(matches!(judge(Progress::Watching, Some(UnixMillis(-8_000)), 5_000), Progress::Harmed(_)));
    // The seat fell silent.
    assert_eq!(judge(Progress::Verified, Some(LONG_AGO), 10_001), Progress::Verified);
    let looming = lasting(&[neighbour("front", Side::Turning, Side::Broken)]);
    assert_eq!(with_neighbours(Progress::Verified, &looming, Some(LONG_AGO), UnixMillis(4_999), UnixMillis(5_000)), Progress::Verified);
    let failed = Progress::Failed("not well".into());
    assert_eq!(judge(failed.clone(), Some(LONG_AGO), 5_000), failed);
}

#[test]
fn many_are_named_by_the_first_and_counted() {
    let ill: Vec<Neighbour> = (0..8).map(|n| neighbour(&format!("front-{n}"), Side::Broken, Side::Broken)).collect();
    let Progress::Harmed(why) = judged(&lasting(&ill)) else { panic!() };
    assert!(why.contains("shop/front-0") && why.contains("shop/front-2") && !why.contains("shop/front-3") && why.ends_with("and 5 more"), "{why}");
}

#[test]
fn what_is_not_proven_is_told_by_whose_word() {
    let told = |own, callers| unproven(&looks(&[Some(vec![]), Some(vec![neighbour("front", own, callers)]), None]));
    assert_eq!(told(Side::Broken, Side::Well).unwrap(), "beside it and not proven: shop/front is ill since, by its own word alone");
    assert_eq!(told(Side::Unknown, Side::Broken).unwrap(), "beside it and not proven: shop/front is ill since, by its callers' word alone");
    for (own, callers) in [(Side::Broken, Side::Broken), (Side::Turning, Side::Well), (Side::WasIll, Side::Well)] {
        assert_eq!(told(own, callers), None);
    }
    assert_eq!(unproven(&[]), None);
}

fn some_looks() -> impl Strategy<Value = Vec<Look>> {
    let side = || prop::sample::select(SIDES.to_vec());
    let one = ("[a-c]", side(), side()).prop_map(|(name, own, callers)| neighbour(&name, own, callers));
    let neighbours = prop::option::weighted(0.9, prop::collection::vec(one, 0..4));
    prop::collection::vec((0_i64..12_000, neighbours).prop_map(|(at, neighbours)| Look { at: UnixMillis(at), neighbours }), 0..12)
}

proptest! {
    #[test]
    fn the_order_of_looks_does_not_matter((looks, shuffled) in some_looks().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())), settled: bool) {
        let of = |looks: &[Look]| with_neighbours(Progress::Verified, looks, settled.then_some(LONG_AGO), DEADLINE, UnixMillis(1));
        prop_assert_eq!(of(&looks), of(&shuffled));
    }

    #[test]
    fn neighbours_make_nothing_well(looks in some_looks(), settled: bool, now: i64) {
        let progress = with_neighbours(Progress::Watching, &looks, settled.then_some(LONG_AGO), DEADLINE, UnixMillis(now));
        prop_assert!(matches!(progress, Progress::Watching | Progress::Harmed(_)));
    }

    /// One hostile workload says of itself whatever it likes, and as a caller of all others whatever it likes of them.
    #[test]
    fn one_workload_alone_harms_nothing(mut looks in some_looks()) {
        for neighbour in looks.iter_mut().filter_map(|look| look.neighbours.as_mut()).flatten() {
            if neighbour.service.name == "a" {
                neighbour.callers = if neighbour.callers == Side::Unknown { Side::Unknown } else { Side::Well };
            } else {
                neighbour.own = if neighbour.own == Side::Unknown { Side::Unknown } else { Side::Well };
            }
        }
        prop_assert_eq!(with_neighbours(Progress::Verified, &looks, Some(LONG_AGO), DEADLINE, UnixMillis(1)), Progress::Verified);
    }
}
