//! Conversations byte for byte, in any chunks, and what is told of them.

use std::time::Duration;

use proptest::prelude::*;

use super::super::statement::Statement;
use super::*;

const C: Side = Side::Client;
const S: Side = Side::Server;

/// A message of `kind`.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], u32::try_from(body.len() + 4).unwrap().to_be_bytes().as_slice(), body].concat()
}

/// Messages in a row, as `kind body|kind body`, in which `~` is a zero.
fn wire(text: &str) -> Vec<u8> {
    let one = |text: &str| message(text.as_bytes()[0], text[1..].replace('~', "\0").as_bytes());
    text.split('|').flat_map(one).collect()
}

fn start(code: u32, body: &[u8]) -> Vec<u8> {
    [u32::try_from(body.len() + 8).unwrap().to_be_bytes().as_slice(), &code.to_be_bytes(), body].concat()
}

fn login() -> Vec<(Side, Vec<u8>)> {
    let authenticated = message(b'R', &[0, 0, 0, 0]);
    let answer = [authenticated, wire("Sserver_version~15~"), message(b'K', &[0; 8]), wire("ZI")].concat();
    vec![(C, start(3 << 16, b"user\0shop\0\0")), (S, answer)]
}

pub(super) fn describe(event: &Event) -> String {
    match event {
        Event::Asked(_) => "asked".into(),
        Event::Done(statement) => {
            let error = statement.error.map(|(code, trouble)| format!(" {} {trouble:?}", code.as_str())).unwrap_or_default();
            format!("{} {}{error}", statement.class.summary, statement.rows)
        }
        Event::Forgotten(_) => "forgotten".into(),
        Event::Transaction { committed, .. } => format!("transaction {committed}"),
        Event::Ready { .. } => "ready".into(),
        Event::Refused(code, trouble) => format!("refused {} {trouble:?}", code.as_str()),
        Event::Encrypted => "encrypted".into(),
        Event::Opaque => "opaque".into(),
    }
}

/// What is told when each turn comes in pieces of `size`. Every question is ended once, whatever happens.
fn tell(turns: &[(Side, Vec<u8>)], mut size: impl FnMut() -> usize) -> Vec<String> {
    let mut decoder = Postgres::default();
    let mut open = Vec::new();
    let mut told = Vec::new();
    let mut each = |event: Event| {
        match &event {
            Event::Asked(asked) => open.push(*asked),
            Event::Done(Statement { asked, answered, ended, .. }) => {
                assert!(asked <= answered && answered <= ended, "{event:?}");
                open.swap_remove(open.iter().position(|open| open == asked).expect("asked before"));
            }
            Event::Forgotten(asked) => {
                open.swap_remove(open.iter().position(|open| open == asked).expect("asked before"));
            }
            _ => {}
        }
        told.push(describe(&event));
    };
    let at = Instant::now();
    for (turn, (side, bytes)) in turns.iter().enumerate() {
        let at = at + Duration::from_millis(turn as u64);
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(size().clamp(1, bytes.len()));
            decoder.bytes(*side, piece, at, &mut each);
            bytes = rest;
        }
    }
    decoder.end(End::Closed, at + Duration::from_secs(9), &mut each);
    assert!(open.is_empty(), "{open:?} of {told:?}");
    told
}

/// A session that was let in, then `turns`; each is a side and messages.
fn check(turns: &[(Side, &str)], expected: &[&str]) {
    let turns: Vec<_> = login().into_iter().chain(turns.iter().map(|(side, text)| (*side, wire(text)))).collect();
    let told = tell(&turns, || usize::MAX);
    assert_eq!(told[0], "ready");
    assert_eq!(told[1..], *expected, "{turns:?}");
    assert_eq!(tell(&turns, || 1), told, "byte by byte");
}

#[test]
fn follows_simple_queries() {
    check(&[(C, "QSELECT * FROM t~"), (S, "T~~|Done|Dtwo|CSELECT 2~|ZI")], &["asked", "SELECT t 2"]);
    check(&[(C, "QUPDATE t SET a=1; SELECT 1~"), (S, "CUPDATE 5~|T~~|Done|Nnotice|Achannel|CSELECT 1~|ZI")], &["asked", "UPDATE t;SELECT 6"]);
    check(&[(C, "Q ~"), (S, "I|ZI")], &["asked", " 0"]);
    check(&[(C, "QSELECT x~"), (S, "SERROR~|ESERROR~VERROR~C42703~Mno x~~|ZI")], &["asked", "SELECT 0 42703 Other"]);
    check(&[(C, "QINSERT INTO t~|QSELECT 1~"), (S, "CINSERT 0 3~|ZI"), (S, "T|CSELECT 0~|ZI")], &["asked", "asked", "INSERT t 3", "SELECT 0"]);
    check(&[(C, "F~~~~"), (S, "V~~~~|ZI")], &["asked", "CALL 0"]);
    check(&[(C, "QSELECT 1~")], &["asked", "forgotten"]);
    check(&[(C, "QSELECT 1~"), (S, "ESFATAL~C57P01~~")], &["asked", "SELECT 0 57P01 Unavailable"]);
    check(&[(S, "ESFATAL~C57P05~~")], &["refused 57P05 Cancelled"]);
}

#[test]
fn follows_transactions() {
    let begun = [(C, "QBEGIN~"), (S, "CBEGIN~|ZT"), (C, "QUPDATE t SET a=1~"), (S, "CUPDATE 1~|ZT"), (C, "QCOMMIT~")];
    let told = ["asked", "BEGIN 0", "asked", "UPDATE t 1", "asked"];
    let with = |end: &'static str, last: &[&'static str]| {
        check(&[begun.as_slice(), &[(S, end)]].concat(), &[told.as_slice(), last].concat());
    };
    with("CCOMMIT~|ZI", &["transaction true", "COMMIT 0"]);
    with("CROLLBACK~|ZI", &["COMMIT 0", "transaction false"]);
    with("EC40001~~|ZI", &["COMMIT 0 40001 Deadlock", "transaction false"]);
    with("CCOMMIT~|ZT", &["transaction true", "COMMIT 0", "transaction false"]);
    check(&[(C, "QBEGIN;SELECT 1;COMMIT~"), (S, "CBEGIN~|T|CSELECT 1~|CCOMMIT~|ZI")], &["asked", "transaction true", "BEGIN;SELECT;COMMIT 1"]);
    check(&[(C, "QBEGIN~"), (S, "CBEGIN~|ZT")], &["asked", "BEGIN 0", "transaction false"]);
}

#[test]
fn measures_transactions_and_statements() {
    let begun = Instant::now();
    let mut decoder = Postgres::default();
    let mut told = Vec::new();
    for (side, bytes) in login() {
        decoder.bytes(side, &bytes, begun, &mut |_| {});
    }
    let turns =
        [(0, C, "QBEGIN~"), (5, S, "CBEGIN~|ZT"), (25, C, "QSELECT~"), (30, S, "T"), (32, S, "CSELECT 1~|ZT"), (35, C, "QCOMMIT~"), (36, S, "CCOMMIT~|ZI")];
    for (at, side, text) in turns {
        decoder.bytes(side, &wire(text), begun + Duration::from_millis(at), &mut |event| told.push(event));
    }
    let Event::Done(select) = &told[3] else { panic!("{told:?}") };
    let milliseconds = |at: Instant| at.duration_since(begun).as_millis();
    assert_eq!((milliseconds(select.asked), milliseconds(select.answered), milliseconds(select.ended)), (25, 30, 32));
    assert_eq!(told[5], Event::Transaction { length: Duration::from_millis(36), idle: Duration::from_millis(23), committed: true });
}

#[test]
fn follows_the_extended_protocol() {
    let prepare = "Ps1~SELECT * FROM t WHERE a=$1~~~|DSs1~|S";
    let prepared = "1|t~~~~~~|T~~|ZI";
    check(&[(C, prepare), (S, prepared)], &[]);
    check(&[(C, prepare), (S, prepared), (C, "B~s1~~~|E~~~~~|S"), (S, "2|Done|CSELECT 1~|ZI"), (C, "CSs1~|S"), (S, "3|ZI")], &["asked", "SELECT t 1"]);
    check(
        &[(C, "P~SELECT * FROM t~~~|B~~~|DP~|E~~~~~|H"), (S, "1|2|T~~|Done|s"), (C, "E~~~~~|S"), (S, "Dtwo|CSELECT 1~|ZI")],
        &["asked", "SELECT t 1", "asked", "SELECT t 1"],
    );
    check(&[(C, "Bp1~gone~~~|Ep1~~~~~|S"), (S, "EC26000~~|ZI")], &["asked", " 0 26000 Other"]);
    check(&[(C, "Ps1~SELEC~~~|DSs1~|S"), (S, "EC42601~~|ZI")], &["asked", "OTHER 0 42601 Other"]);
    check(&[(C, "P~INSERT INTO t~~~|B~~~|E~~~~~|S"), (S, "1|2|CINSERT 0 1~|EC23503~~|ZI")], &["asked", "INSERT t 1 23503 Other"]);
}

#[test]
fn errors_in_a_pipeline_skip_to_sync() {
    let one = "P~DELETE FROM a~~~|B~~~|E~~~~~";
    let ask = format!("{one}|{}|{}|S|{one}|S", one.replace(" a", " b"), one.replace(" a", " c"));
    check(
        &[(C, &ask), (S, "1|2|CDELETE 1~|1|2|EC55P03~~|ZI|1|2|CDELETE 4~|ZI")],
        &["asked", "asked", "asked", "asked", "DELETE a 1", "forgotten", "DELETE b 0 55P03 LockTimeout", "DELETE a 4"],
    );
    check(
        &[(C, "P~DELETE FROM a~~~"), (S, "EC42P01~~"), (C, "B~~~|E~~~~~|QSELECT 1~|S"), (S, "ZI"), (C, "QSELECT 1~"), (S, "CSELECT 1~|ZI")],
        &["asked", "DELETE a 0 42P01 Other", "asked", "SELECT 1"],
    );
}

#[test]
fn follows_copies() {
    check(&[(C, "QCOPY t FROM STDIN~"), (S, "G~~~"), (C, "dx|dy|c"), (S, "CCOPY 2~|ZI")], &["asked", "COPY t 2"]);
    check(&[(C, "QCOPY t FROM STDIN~"), (S, "G~~~"), (C, "dx|fno~"), (S, "EC57014~~|ZI")], &["asked", "COPY t 0 57014 Cancelled"]);
    check(&[(C, "QCOPY t TO STDOUT~"), (S, "H~~~|dx|dy|c|CCOPY 2~|ZI")], &["asked", "COPY t 2"]);
    let ask = "P~COPY t FROM STDIN~~~|B~~~|E~~~~~|S";
    let select = [(C, "QSELECT 1~"), (S, "CSELECT 1~|ZI")];
    let told = ["asked", "COPY t 2", "asked", "SELECT 1"];
    check(&[[(C, ask), (S, "1|2|G~~~"), (C, "dx|dy|S|c|S"), (S, "CCOPY 2~|ZI")].as_slice(), &select].concat(), &told);
    let eager = format!("{ask}|dx|c|S");
    check(&[[(C, eager.as_str()), (S, "1|2|G~~~|CCOPY 2~|ZI")].as_slice(), &select].concat(), &told);
    let failed = [(C, "QCOPY t FROM STDIN~"), (S, "G~~~"), (C, "dx"), (S, "EC22P02~~|ZI"), (C, "dy|c")];
    let extended = [(C, "P~SELECT 1~~~|B~~~|E~~~~~|S"), (S, "1|2|CSELECT 1~|ZI")];
    check(&[failed.as_slice(), &extended].concat(), &["asked", "COPY t 0 22P02 Other", "asked", "SELECT 1"]);
    check(&[(C, "QSTART_REPLICATION 0/0~"), (S, "W~~~"), (S, "dxx")], &["asked", "START_REPLICATION 0", "opaque"]);
}

#[test]
fn follows_the_start() {
    let tls = || (C, start(TLS, b""));
    let gss = || (C, start(GSS, b""));
    let check = |turns: &[(Side, Vec<u8>)], expected: &[&str]| {
        assert_eq!(tell(turns, || usize::MAX), expected);
        assert_eq!(tell(turns, || 1), expected);
    };
    check(&[tls(), (S, b"S".to_vec()), (C, vec![0x16, 3, 1])], &["encrypted"]);
    check(&[(C, vec![0x16, 3, 1, 0])], &["encrypted"]);
    let plain: Vec<_> = [gss(), (S, b"N".to_vec()), tls(), (S, b"N".to_vec())].into_iter().chain(login()).collect();
    check(&plain, &["ready"]);
    check(&[(C, start(CANCEL, &[0; 8]))], &[]);
    check(
        &[(C, start(3 << 16, b"\0")), (S, message(b'R', &[0, 0, 0, 3])), (C, wire("psecret~")), (S, wire("ESFATAL~C28P01~~"))],
        &["refused 28P01 Authentication"],
    );
    check(&[(C, start(3 << 16 | 2, b"\0")), (S, wire("v~~~~~~~~|ESFATAL~C53300~~"))], &["refused 53300 TooManyConnections"]);
    check(&[(C, start(2 << 16, b"\0"))], &["opaque"]);
    check(&[(C, b"GET / HTTP/1.1\r\n\r\n".to_vec())], &["opaque"]);
    check(&[(S, b"J\0\0\0\x0a5.7".to_vec())], &["opaque"]);
}

#[test]
fn gives_up_on_anything_odd() {
    check(&[(C, "QSELECT 1~"), (S, "1"), (S, "ZI"), (C, "QSELECT 1~")], &["asked", "forgotten", "opaque"]);
    check(&[(S, "Dx")], &["opaque"]);
    check(&[(C, "?x")], &["opaque"]);
    check(&[(C, "QSELECT 1~"), (S, "ZQ")], &["asked", "SELECT 0", "opaque"]);
    let many = ["QSELECT 1~"; session::MAX_PENDING + 1].join("|");
    let turns: Vec<_> = login().into_iter().chain([(C, wire(&many))]).collect();
    assert_eq!(tell(&turns, || usize::MAX).last().unwrap(), "opaque");
}

#[test]
fn bodies_are_skipped_and_statements_bounded() {
    let long = format!("QINSERT INTO t VALUES ('{}')~", "x".repeat(1 << 20));
    check(&[(C, &long), (S, "CINSERT 0 1~|ZI"), (C, "QSELECT 1~"), (S, "CSELECT 1~|ZI")], &["asked", "INSERT t 1", "asked", "SELECT 1"]);
    let mut decoder = Postgres::default();
    let mut done = Vec::new();
    let at = Instant::now();
    let mut see = |side, bytes: &[u8]| {
        decoder.bytes(side, bytes, at, &mut |event| {
            if let Event::Done(statement) = event {
                done.push(statement.class.summary.to_string());
            }
        });
    };
    login().iter().for_each(|(side, bytes)| see(*side, bytes));
    for n in 0..1000 {
        see(C, &wire(&format!("Ps{n}~SELECT * FROM t{n}~~~|S")));
        see(S, &wire("1|ZI"));
    }
    for n in [0, 999] {
        see(C, &wire(&format!("B~s{n}~~~|E~~~~~|S")));
        see(S, &wire("2|CSELECT 1~|ZI"));
    }
    assert_eq!(done, ["", "SELECT t999"], "the oldest is forgotten");
}

/// Pieces that are likely to get far into the machine.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::sample::select(vec![
            "QSELECT 1~", "Ps~SELECT * FROM t~~~", "B~s~~~", "E~~~~~", "S", "H", "DSs~", "CSs~", "dx", "c", "F~~", "X", "QBEGIN~",
        ]).prop_map(wire),
        4 => proptest::sample::select(vec![
            "ZI", "ZT", "ZE", "1", "2", "3", "T~~", "t~~", "n", "Dx", "CSELECT 1~", "CBEGIN~", "CCOMMIT~", "EC40001~~", "I", "s", "G~", "H~", "Nx", "V~",
        ]).prop_map(wire),
        1 => proptest::collection::vec(any::<u8>(), 0..24),
    ]
}

proptest! {
    #[test]
    fn any_split_tells_the_same(
        known in any::<bool>(),
        turns in proptest::collection::vec((any::<bool>(), piece()), 0..24),
        sizes in proptest::collection::vec(1usize..12, 1..8),
    ) {
        let turns = turns.into_iter().map(|(client, bytes)| (if client { C } else { S }, bytes));
        let turns: Vec<_> = login().into_iter().filter(|_| known).chain(turns).collect();
        let mut sizes = sizes.iter().cycle();
        prop_assert_eq!(tell(&turns, || usize::MAX), tell(&turns, || *sizes.next().unwrap()));
    }
}
