//! A record that holds, and what becomes of it when one thing in it is changed. The ballots are signed for real.

use assent_api::names;
use assent_api::resources::{DecisionSpec, decision_name};
use assent_api::signed::Signed;
use assent_core::action::{Action, Inverse, Restart};
use assent_core::ballot::{
    self, CauseVote, Evidence, EvidenceClass, Hypothesis, Opinion, PAYLOAD_TYPE, Principal, Proposal, RemedyVote, Stance, StanceVerdict,
};
use assent_core::consensus::{Seat, TallyConfiguration};
use assent_core::ids::{Domain, Millionths};
use assent_core::ledger::{Head, Proof};
use assent_core::plan::{BlueprintPin, LedgerPin};
use assent_core::target::{Service, Target};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SigningKey as _,
};
use serde_json::json;

use super::*;

const SEATS: [(&str, Domain, Principal); 4] = [
    ("network", Domain::Network, Principal::Sidecar),
    ("compute", Domain::Compute, Principal::Kubelet),
    ("database", Domain::Database, Principal::Sidecar),
    ("change", Domain::Application, Principal::ApiServer),
];
const START: i64 = 1_790_000_000_000;

fn uid() -> IncidentUid {
    IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap()
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, key()).unwrap()
}

fn sign(root: &CertifiedIssuer<'static, KeyPair>, seat: &str, vote: &ballot::Ballot) -> Signed {
    let mut params = CertificateParams::new([names::own_identity(&names::accounts::seat(seat))]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = key();
    let leaf = params.signed_by(&key, root).unwrap();
    let payload = assent_core::canonical::text(&vote.clone().statement()).unwrap();
    Signed::new(PAYLOAD_TYPE, payload, &[leaf.der().to_vec()], |message| key.sign(message)).unwrap()
}

fn proposal() -> Proposal {
    let target = Target {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: "orders".into(),
        uid: "u".into(),
        generation: 3,
        spec: Digest::of_bytes(b"spec"),
    };
    Proposal { action: Action::RestartWorkload(Restart { marker: "i.1".into() }), target }
}

fn evidence(principal: Principal) -> Evidence {
    Evidence { class: EvidenceClass::Requests, principal, digest: Digest::of_bytes(b"figures"), from: UnixMillis(1), to: UnixMillis(2), summary: String::new() }
}

fn cause(seat: &str, principal: Principal) -> Opinion {
    let service = Service { namespace: "shop".into(), name: "orders".into() };
    if seat == "database" {
        return Opinion::Cause(CauseVote { healthy: vec![evidence(principal)], ..CauseVote::default() });
    }
    let hypothesis = Hypothesis {
        service: service.clone(),
        domain: Domain::Compute,
        fault: "stalled".into(),
        probability: Millionths::new(900_000),
        evidence: vec![evidence(principal)],
        path: vec![service],
        remedies: vec![proposal()],
    };
    Opinion::Cause(CauseVote { hypotheses: vec![hypothesis], ..CauseVote::default() })
}

fn remedy(principal: Principal, causes: Vec<Digest>) -> Opinion {
    let stance = Stance { proposal: proposal().digest().unwrap(), verdict: StanceVerdict::Support, reason: "so".into(), evidence: vec![evidence(principal)] };
    Opinion::Remedy(RemedyVote { causes, stances: vec![stance] })
}

struct Record {
    entries: Vec<Entry>,
}

impl Record {
    fn append(&mut self, author: &str, kind: &str, body: Value) {
        let sequence = u64::try_from(self.entries.len()).unwrap() + 1;
        let at = UnixMillis(START + i64::try_from(sequence).unwrap() * 1000);
        self.entries.push(Entry { sequence, at, incident: uid(), author: author.into(), kind: kind.into(), body });
    }

    fn head(&self) -> Head {
        ledger::verify(&self.entries).unwrap()
    }
}

fn bundle() -> Bundle {
    let root = authority();
    let seats = SEATS
        .iter()
        .map(|(name, domain, _)| Seat {
            name: (*name).into(),
            domain: *domain,
            account: names::accounts::seat(name),
            principals: assent_core::consensus::shipped_principals(*domain),
        })
        .collect();
    let tally_by = TallyConfiguration::shipped();
    let roster = Roster { seats, quorum: 3, supporters: 2, tally: tally_by, trust_roots: root.pem(), gate: Digest::of_bytes(b"gate"), ledger: None };
    let digest = roster.digest().unwrap();
    let vote = |seat: &str, opinion| ballot::Ballot {
        cluster: "c".into(),
        incident: uid(),
        seat: seat.into(),
        epoch: 1,
        issued_at: UnixMillis(START),
        expires_after_ms: 600_000,
        context: Digest::of_bytes(b"context"),
        roster: digest.clone(),
        rules: "t".into(),
        opinion,
    };
    let mut record = Record { entries: vec![] };
    record.append("assent-director.x", "incident-opened", json!({"detail": "shop/orders"}));
    record.append("assent-director.x", "roster", json!(roster));
    let mut ballots = Vec::new();
    let mut cast_all = |opinion: &dyn Fn(&str, Principal) -> Opinion| -> Vec<Digest> {
        SEATS
            .iter()
            .map(|(seat, _, principal)| {
                let vote = vote(seat, opinion(seat, *principal));
                let signed = sign(&root, seat, &vote);
                record.append(&names::own_identity(&names::accounts::seat(seat)), "ballot", json!({"name": vote.name(), "createdAt": START, "signed": signed}));
                let mut stored = Ballot::of(&vote, String::new(), signed);
                stored.metadata.creation_timestamp = Some(Time(k8s_openapi::jiff::Timestamp::from_millisecond(START).unwrap()));
                let digest = Digest::of_bytes(stored.spec.signed.payload.as_bytes());
                ballots.push(stored);
                digest
            })
            .collect()
    };
    let causes = cast_all(&cause);
    let remedies = cast_all(&|_, principal| remedy(principal, causes.clone()));
    let mut digests: Vec<Digest> = causes.into_iter().chain(remedies).collect();
    record.append("assent-director.x", "tally", json!({"decision": decision_name(uid().as_str(), 1), "roster": digest, "ballots": digests}));
    digests.sort();

    let casts: Vec<CastBallot> = ballots.iter().map(|stored| cast(stored, &roster).unwrap()).collect();
    let outcome = tally(&roster, &casts);
    assert!(matches!(&outcome.verdict, Verdict::Act { proposal: chosen, .. } if **chosen == proposal()), "{:?}", outcome.verdict);
    let text = |what: &str| what.to_owned();
    let decision = Decision::of(DecisionSpec {
        incident: uid().to_string(),
        epoch: 1,
        verdict: text("Act"),
        cause: text(""),
        action: text(""),
        confidence: text(""),
        ballots: vec![],
        reasons: vec![],
        payload: assent_core::canonical::text(&outcome).unwrap(),
    });
    let mut plan = Plan {
        cluster: "c".into(),
        incident: uid(),
        epoch: 1,
        proposal: proposal(),
        inverse: Inverse::Empty,
        canary: None,
        ballots: digests,
        roster: digest.clone(),
        guardrails: Digest::of_bytes(b"guardrails"),
        blueprint: BlueprintPin { name: "orders".into(), uid: "b".into(), generation: 1 },
        ledger: LedgerPin { era: 0, head: Head::empty(), proof: Proof::default() },
        soak_ms: 1000,
        expires_after_ms: 60_000,
        revert_within_ms: 600_000,
    };
    record.append("assent-executor.x", "apply-intended", json!({"plan": plan.name().unwrap(), "action": "restart", "target": proposal().target.to_string()}));
    plan.ledger.head = record.head();
    let head = Some(record.head());
    record.append("assent-executor.x", "applied", json!({"plan": plan.name().unwrap()}));
    Bundle {
        incident: uid(),
        head,
        ledger: record.entries,
        ballots,
        decisions: vec![decision],
        remediations: vec![Remediation::of(&plan).unwrap()],
        live: true,
    }
}

/// The first words of every check that does not hold.
fn failures(bundle: &Bundle) -> Vec<String> {
    verify(bundle).into_iter().filter(|check| check.holds == Some(false)).map(|check| format!("{}: {}", check.what, check.found)).collect()
}

#[test]
fn a_true_record_holds_and_survives_being_saved() {
    let bundle = bundle();
    let checks = verify(&bundle);
    assert_eq!(failures(&bundle), [""; 0]);
    // Ledger, head, 8 ballots, decision, ballots in the cluster, and three for the plan.
    assert_eq!(checks.len(), 15, "{checks:#?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    bundle.save(file.path()).unwrap();
    assert_eq!(verify(&Bundle::open(file.path()).unwrap()), checks);
}

#[test]
fn every_lie_is_found() {
    type Lie = fn(&mut Bundle);
    let lies: [(&str, &str, Lie); 9] = [
        ("an entry is rewritten", "head", |b| b.ledger[0].body = json!({"detail": "another"})),
        ("an entry is cut out", "ledger", |b| drop(b.ledger.remove(0))),
        ("the ledger is shortened", "head", |b| b.ledger.truncate(5)),
        ("a counted ballot is not on record", "ballot", |b| b.ledger[3].kind = "lost".into()),
        ("a ballot is signed by another seat", "ballot", |b| {
            let other = b.ledger[4].body["signed"]["certificates"].clone();
            b.ledger[3].body["signed"]["certificates"] = other;
        }),
        ("the decision says something else", "decision", |b| {
            let text = b.decisions[0].spec.payload.replace("\"i.1\"", "\"i.2\"");
            b.decisions[0].spec.payload = text;
        }),
        ("the plan is for another workload", "plan", |b| b.remediations[0].spec.target = "Deployment shop/storefront".into()),
        ("the plan pins another ledger", "plan", |b| {
            let mut plan = parse_plan(&b.remediations[0]).unwrap();
            plan.ledger.head.sequence -= 1;
            b.remediations[0] = Remediation::of(&plan).unwrap();
        }),
        ("the plan was never intended", "plan", |b| {
            let at = b.ledger.iter().position(|entry| entry.kind == "apply-intended").unwrap();
            b.ledger[at].kind = "something".into();
        }),
    ];
    for (lie, place, tell) in lies {
        let mut bundle = bundle();
        tell(&mut bundle);
        let found = failures(&bundle);
        assert!(found.iter().any(|failure| failure.starts_with(place)), "{lie}: {found:#?}");
    }
}

#[test]
fn a_veto_that_was_left_out_is_found_and_a_late_ballot_is_not_held_against_anybody() {
    let mut withheld = bundle();
    let count = |bundle: &Bundle| bundle.ledger.iter().position(|entry| entry.kind == "tally").unwrap();
    let at = count(&withheld);
    let digest = withheld.ledger[at].body["ballots"].as_array_mut().unwrap().remove(0);
    withheld
        .ledger
        .retain(|entry| !(entry.kind == "ballot" && Digest::of_bytes(entry.body["signed"]["payload"].as_str().unwrap().as_bytes()).as_str() == digest));
    assert!(failures(&withheld).iter().any(|failure| failure.starts_with("ballots in the cluster: were there")), "{:#?}", failures(&withheld));

    for stored in &mut withheld.ballots {
        stored.metadata.creation_timestamp = Some(Time(k8s_openapi::jiff::Timestamp::from_millisecond(START + 3_600_000).unwrap()));
    }
    let late = verify(&withheld).into_iter().find(|check| check.what == "ballots in the cluster").unwrap();
    assert_eq!(late.holds, None, "{late:?}");
}

#[test]
fn an_incident_is_counted_again_from_the_record_and_while_nobody_has_counted() {
    let bundle = bundle();
    let counts = counted(&bundle);
    let decided: Outcome = serde_json::from_str(&bundle.decisions[0].spec.payload).unwrap();
    let newest = counts.last().unwrap();
    assert_eq!((newest.decision.as_str(), &newest.outcome), (bundle.decisions[0].name_any().as_str(), &decided));

    let mut open = bundle;
    open.ledger.retain(|entry| entry.kind != "tally");
    let now = counted(&open);
    assert_eq!((now.len(), &now[0].outcome.causes), (1, &decided.causes), "{now:#?}");

    let mut unknown = open;
    unknown.ballots.clear();
    assert!(counted(&unknown).is_empty());
}
