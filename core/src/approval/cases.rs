//! Whose word counts, for what, and for how long.

use super::*;
use crate::action::{Restart, Scale};
use crate::target::Target;

const ASKED_AT: UnixMillis = UnixMillis(1_000_000);
const NOW: UnixMillis = UnixMillis(1_060_000);

fn proposal(action: Action) -> Proposal {
    let text = str::to_owned;
    let spec = Digest::of_bytes(b"spec");
    let target =
        Target { api_version: text("apps/v1"), kind: text("Deployment"), namespace: text("shop"), name: text("orders"), uid: text("u"), generation: 4, spec };
    Proposal { action, target }
}

fn scale() -> Proposal {
    proposal(Action::ScaleWorkload(Scale { replicas: 9 }))
}

fn asked() -> Asked {
    Asked { name: "apr-1".into(), change: change(&scale()).unwrap(), at: ASKED_AT, expires_after_ms: 3_600_000, requester: None }
}

fn answer(user: &str, groups: &[&str], word: Word) -> Answer {
    Answer {
        user: user.into(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        change: asked().change,
        word,
        at: NOW,
        chat: false,
        may: true,
        comment: String::new(),
    }
}

fn rule(approvers: &[&str], count: u32) -> Approval {
    Approval { approvers: approvers.iter().map(|text| Approver::parse(text).unwrap()).collect(), count, chat: false }
}

fn said(answers: &[Answer], rules: &[Approval]) -> Standing {
    standing(&asked(), answers, &rules.iter().cloned().collect(), true, NOW)
}

fn granted(standing: &Standing) -> bool {
    matches!(standing, Standing::Granted(_))
}

#[test]
fn those_who_are_named_agree_and_nobody_else() {
    let oncall = rule(&["group:oncall", "user:alice"], 1);
    assert!(granted(&said(&[answer("bob", &["oncall"], Word::Approve)], std::slice::from_ref(&oncall))));
    assert!(granted(&said(&[answer("alice", &[], Word::Approve)], std::slice::from_ref(&oncall))));
    for stranger in [answer("mallory", &["other"], Word::Approve), answer("oncall", &[], Word::Approve), answer("bob", &["alice"], Word::Approve)] {
        assert!(matches!(said(&[stranger], std::slice::from_ref(&oncall)), Standing::Pending(_)));
    }
    assert!(matches!(said(&[answer("bob", &["oncall"], Word::Comment)], std::slice::from_ref(&oncall)), Standing::Pending(_)));
    let taken = Answer { may: false, ..answer("bob", &["oncall"], Word::Approve) };
    assert!(matches!(said(&[taken], &[oncall]), Standing::Pending(_)));
}

#[test]
fn two_people_are_two_and_every_rule_must_be_given() {
    let two = rule(&["oncall"], 2);
    let (bob, eve) = (answer("bob", &["oncall"], Word::Approve), answer("eve", &["oncall"], Word::Approve));
    let Standing::Pending(missing) = said(&[bob.clone(), bob.clone()], std::slice::from_ref(&two)) else { panic!() };
    assert_eq!(missing, ["approval by 2 of group:oncall (1 so far)"]);
    assert!(granted(&said(&[bob.clone(), eve.clone()], std::slice::from_ref(&two))));
    let security = rule(&["security"], 1);
    assert!(matches!(said(&[bob.clone(), eve.clone()], &[two.clone(), security.clone()]), Standing::Pending(_)));
    assert!(granted(&said(&[bob, eve, answer("sam", &["security"], Word::Approve)], &[two, security])));
}

#[test]
fn one_no_of_somebody_named_ends_it_and_a_strangers_does_not() {
    let oncall = rule(&["oncall"], 1);
    let yes = answer("bob", &["oncall"], Word::Approve);
    let no = Answer { comment: "not on a Friday".into(), ..answer("eve", &["oncall"], Word::Deny) };
    assert_eq!(said(&[yes.clone(), no], std::slice::from_ref(&oncall)), Standing::Denied("eve: not on a Friday".into()));
    assert!(granted(&said(&[yes, answer("mallory", &[], Word::Deny)], &[oncall])));
}

#[test]
fn it_is_for_that_change_in_time_and_not_by_who_wants_it() {
    let oncall: BTreeSet<Approval> = [rule(&["oncall"], 1)].into();
    let yes = answer("bob", &["oncall"], Word::Approve);
    let of = |asked: &Asked, answer: Answer, now| standing(asked, &[answer], &oncall, true, now);
    let other = Answer { change: Digest::of_bytes(b"other"), ..yes.clone() };
    assert!(!granted(&of(&asked(), other, NOW)));
    assert_eq!(of(&asked(), yes.clone(), ASKED_AT.plus(3_600_001)), Standing::Expired);
    let late = Answer { at: ASKED_AT.plus(3_600_001), ..yes.clone() };
    assert!(!granted(&of(&asked(), late, NOW)));
    let own = Asked { requester: Some("bob".into()), ..asked() };
    assert!(!granted(&of(&own, yes, NOW)));
    assert!(matches!(standing(&asked(), &[], &BTreeSet::new(), true, NOW), Standing::Pending(_)), "nobody asked is nobody agreed");
}

#[test]
fn chat_counts_only_where_it_is_named_one_suffices_and_it_can_be_undone() {
    let by_chat = Answer { chat: true, ..answer("slack:T1/U1", &[], Word::Approve) };
    let other = Answer { chat: true, ..answer("slack:T1/U2", &[], Word::Approve) };
    let of = |chat, count, undoable| {
        let rules: BTreeSet<Approval> = [Approval { chat, ..rule(&["oncall", "slack:T1/U1", "slack:T1/U2"], count) }].into();
        granted(&standing(&asked(), &[by_chat.clone(), other.clone()], &rules, undoable, NOW))
    };
    assert!(of(true, 1, true));
    assert!(!of(false, 1, true) && !of(true, 2, true) && !of(true, 1, false));
}

#[test]
fn whoever_came_by_chat_is_nobody_of_the_api_servers_and_the_other_way_round() {
    let chat: BTreeSet<Approval> = [Approval { chat: true, ..rule(&["slack:T1/U1", "user:slack:T1/U3", "group:slack:T1/U4"], 1) }].into();
    let of = |answer: &Answer| granted(&standing(&asked(), std::slice::from_ref(answer), &chat, true, NOW));
    let by_chat = |user: &str| Answer { chat: true, ..answer(user, &[], Word::Approve) };
    assert!(of(&by_chat("slack:T1/U1")));
    assert!(!of(&by_chat("slack:T1/U2")) && !of(&by_chat("slack:T2/U1")), "somebody else of Slack");
    assert!(!of(&answer("slack:T1/U1", &[], Word::Approve)), "whoever the API server calls so is not Slack's");
    assert!(!of(&by_chat("slack:T1/U3")) && !of(&Answer { groups: ["slack:T1/U4".into()].into(), ..by_chat("x") }));
    assert!(!of(&Answer { may: false, ..by_chat("slack:T1/U1") }), "a word that is no longer Slack's, or of whom nobody may hear");
    // What stands above asks as well, and a word in chat says nothing to it.
    let both: BTreeSet<Approval> = chat.into_iter().chain([rule(&["security"], 1)]).collect();
    assert!(!granted(&standing(&asked(), &[by_chat("slack:T1/U1")], &both, true, NOW)));
}

#[test]
fn another_change_is_another_request_and_another_epoch_is_not() {
    let incident = IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap();
    let name = |proposal: &Proposal| request_name("cluster", &incident, &change(proposal).unwrap()).unwrap();
    let restart = |marker: &str| proposal(Action::RestartWorkload(Restart { marker: marker.into() }));
    assert_eq!(name(&restart("i.1")), name(&restart("i.2")));
    let mut others = [scale(), proposal(Action::ScaleWorkload(Scale { replicas: 8 })), restart("i.1"), scale(), scale()];
    others[3].target.uid = "v".into();
    others[4].target.spec = Digest::of_bytes(b"other");
    let names: BTreeSet<String> = others.iter().map(name).collect();
    assert_eq!(names.len(), others.len());
    let mut later = scale();
    later.target.generation = 9;
    assert_eq!(name(&later), name(&scale()), "a generation whose specification is the same is the same thing to look at");
    let words: BTreeSet<String> = [Word::Approve, Word::Deny].iter().map(|word| answer_name("apr-1", "bob", *word, "x").unwrap()).collect();
    assert_eq!((words.len(), answer_name("apr-1", "bob", Word::Approve, "y").unwrap()), (2, answer_name("apr-1", "bob", Word::Approve, "x").unwrap()));
}
