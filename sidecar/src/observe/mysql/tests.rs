//! The MySQL decoder against tables of conversations, every split of them, noise, and a real server.

mod real;

use std::time::Duration;

use proptest::prelude::*;

use super::super::watched::balanced;
use super::*;

use Side::{Client as C, Server as S};

const CLIENT_DEPRECATES: u32 = 1 << 24;
const BASIC: u32 = 1 << 9 | 1 << 15;

/// One packet.
fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    [&length.to_le_bytes()[..3], &[sequence], payload].concat()
}

fn packets(mut sequence: u8, payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in payloads {
        bytes.extend(packet(sequence, payload));
        sequence = sequence.wrapping_add(1);
    }
    bytes
}

fn command(number: u8, body: &[u8]) -> Vec<u8> {
    packet(0, &[&[number], body].concat())
}

fn ok(rows: u8, status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0, rows, 0, low, high, 0, 0]
}

fn eof(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0xfe, 0, 0, low, high]
}

fn error(number: u16) -> Vec<u8> {
    [&[0xff], &number.to_le_bytes()[..], b"#HY000secret"].concat()
}

fn greeting(more: u32) -> Vec<u8> {
    // All of MySQL's capabilities but the first, and MariaDB's in `more`.
    [b"\x0a5.5.5-10.11.19-MariaDB\0".as_slice(), &[1; 12], &[0], &[0xfe, 0xff], &[8, 2, 0], &[0xff, 0xff], &[21], &[0; 6], &more.to_le_bytes(), &[1; 13]]
        .concat()
}

fn response(capabilities: u32, more: u32) -> Vec<u8> {
    [&capabilities.to_le_bytes()[..], &[0; 4], &[8], &[0; 19], &more.to_le_bytes(), b"user\0\0"].concat()
}

/// A login with these capabilities, and then `turns`.
fn session(capabilities: u32, more: u32, turns: &[(Side, Vec<u8>)]) -> Vec<(Side, Vec<u8>)> {
    let login = [(S, packet(0, &greeting(more))), (C, packet(1, &response(capabilities, more))), (S, packet(2, &ok(0, 2)))];
    login.into_iter().chain(turns.iter().cloned()).collect()
}

/// A conversation as turns, and what it must tell.
fn tell(turns: &[(Side, Vec<u8>)], split: impl Fn(usize) -> usize) -> Vec<String> {
    let at = Instant::now();
    let (mut told, mut events) = (Vec::new(), Vec::new());
    let mut mysql = Mysql::default();
    let mut each = |event: Event| {
        events.push(event.clone());
        told.push(match event {
            Event::Asked(_) => return,
            Event::Done(done) => match done.error {
                Some((code, trouble)) => format!("{} {} {trouble:?}", name(&done.class), code.as_str()),
                None => format!("{} {}", name(&done.class), done.rows),
            },
            Event::Forgotten(_) => "forgotten".to_owned(),
            Event::Transaction { committed, .. } => format!("transaction {committed}"),
            Event::Ready { .. } => "ready".to_owned(),
            Event::Refused(code, trouble) => format!("refused {} {trouble:?}", code.as_str()),
            Event::Encrypted => "encrypted".to_owned(),
            Event::Opaque => "opaque".to_owned(),
        });
    };
    let mut pieces = 0;
    for (side, bytes) in turns {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(split(pieces).clamp(1, rest.len()));
            mysql.bytes(*side, now, at, &mut each);
            rest = later;
            pieces += 1;
        }
    }
    mysql.end(End::Closed, at, &mut each);
    balanced(&events);
    told
}

/// How a class is written here: `sql` where only the text's own reading could tell.
fn name(class: &Class) -> &str {
    if [b"SELECT 1".as_slice(), b"COMMIT", b"ROLLBACK", b"BEGIN", b"LOAD DATA LOCAL INFILE 'f' INTO TABLE t"]
        .iter()
        .any(|text| crate::observe::sql::classify(text) == *class)
    {
        return "sql";
    }
    &class.operation
}

fn check(turns: &[(Side, Vec<u8>)], expected: &[&str]) {
    assert_eq!(tell(turns, |_| usize::MAX), expected, "whole");
    for size in 1..40 {
        assert_eq!(tell(turns, |_| size), expected, "in pieces of {size}");
    }
}

fn select() -> Vec<u8> {
    command(3, b"SELECT 1")
}

#[test]
fn counts_rows_with_and_without_eof_packets() {
    let old = packets(1, &[&[2], b"\x03def..", b"\x03def..", &eof(2), b"\x011\xfb", b"\xfb\xfb", &eof(2)]);
    check(&session(BASIC, 0, &[(C, select()), (S, old)]), &["ready", "sql 2"]);
    let new = packets(1, &[&[1], b"\x03def..", b"\x011", b"\x012", b"\x013", &[0xfe, 0, 0, 2, 0, 0, 0]]);
    check(&session(BASIC | CLIENT_DEPRECATES, 0, &[(C, select()), (S, new)]), &["ready", "sql 3"]);
    let cached = packets(1, &[&[1, 0], b"\x011", &[0xfe, 0, 0, 2, 0, 0, 0]]);
    check(&session(BASIC | CLIENT_DEPRECATES, 1 << 4, &[(C, select()), (S, cached)]), &["ready", "sql 1"]);
    let several = packets(1, &[&ok(3, 8), &[1], b"\x03def", &eof(2), b"\x011", &eof(10), &error(1064)]);
    check(&session(BASIC, 0, &[(C, select()), (S, several)]), &["ready", "sql 1064 Other"]);
    let several = packets(1, &[&ok(3, 8), &[1], b"\x03def", &eof(2), b"\x011", &eof(10), &ok(2, 2)]);
    check(&session(BASIC, 0, &[(C, select()), (S, several)]), &["ready", "sql 6"]);
}

#[test]
fn follows_prepared_statements() {
    let prepared = packets(1, &[&[0, 7, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0], b"\x03def", b"\x03def", &eof(2), b"\x03def", &eof(2)]);
    let rows = packets(1, &[&[1], b"\x03def", &eof(2), b"\x00\x00\x01", &eof(2)]);
    let cursor = packets(1, &[&[1], b"\x03def", &eof(2 | 1 << 6)]);
    let fetched = packets(1, &[b"\x00\x00\x01", b"\x00\x00\x02", &eof(2 | 1 << 7)]);
    check(
        &session(
            BASIC,
            0,
            &[
                (C, command(0x16, b"SELECT 1")),
                (S, prepared),
                (C, [command(0x18, &[7, 0, 0, 0, 0, 0, 1, 2, 3]), command(0x17, &[7, 0, 0, 0, 0, 1, 0, 0, 0])].concat()),
                (S, rows.clone()),
                (C, command(0x17, &[7, 0, 0, 0, 1, 1, 0, 0, 0])),
                (S, cursor),
                (C, command(0x1c, &[7, 0, 0, 0, 2, 0, 0, 0])),
                (S, fetched),
                (C, command(0x1a, &[7, 0, 0, 0])),
                (S, packet(1, &ok(0, 2))),
                (C, [command(0x19, &[7, 0, 0, 0]), command(0x17, &[7, 0, 0, 0, 0, 1, 0, 0, 0]), command(0x16, b"SELECT 1"), command(0x17, &[255; 9])].concat()),
                (S, [packet(1, &error(1243)), packet(1, &[0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), rows].concat()),
                (C, command(1, b"")),
            ],
        ),
        &["ready", "PREPARE 0", "sql 1", "sql 0", "FETCH 2", "RESET STATEMENT 0", "EXECUTE 1243 Other", "PREPARE 0", "sql 1"],
    );
}

#[test]
fn follows_transactions() {
    let step = |text: &str, answer: Vec<u8>| [(C, command(3, text.as_bytes())), (S, packet(1, &answer))];
    let turns = [
        step("/* a */ BEGIN", ok(0, 3)),
        step("SELECT 1", ok(1, 3)),
        step("COMMIT", ok(0, 2)),
        step("BEGIN", ok(0, 3)),
        step("ROLLBACK", ok(0, 2)),
        step("BEGIN", ok(0, 3)),
        step("SELECT 1", error(1213)),
        step("ROLLBACK", ok(0, 2)),
        step("BEGIN", ok(0, 3)),
        step("BEGIN", ok(0, 3)),
    ];
    check(
        &session(BASIC, 0, &turns.concat()),
        &[
            "ready",
            "sql 0",
            "sql 1",
            "sql 0",
            "transaction true",
            "sql 0",
            "sql 0",
            "transaction false",
            "sql 0",
            "sql 1213 Deadlock",
            "transaction false",
            "sql 0",
            "sql 0",
            "sql 0",
            "transaction true",
            "transaction false",
        ],
    );
}

#[test]
fn follows_files_progress_and_other_commands() {
    let progress = [&[0xff, 0xff, 0xff][..], &[1, 1, 1, 0, 0, 0, 0]].concat();
    check(
        &session(
            BASIC,
            1,
            &[
                (C, command(3, b"LOAD DATA LOCAL INFILE 'f' INTO TABLE t")),
                (S, packet(1, b"\xfbf")),
                (C, packets(2, &[b"\x03a,b", b"c,d", b""])),
                (S, packets(5, &[&progress, &ok(2, 2)])),
                (C, command(0x0e, b"")),
                (S, packet(1, &ok(0, 2))),
                (C, command(2, b"db")),
                (S, packet(1, &error(1049))),
                (C, command(9, b"")),
                (S, packet(1, b"Uptime: 3")),
                (C, command(0x1b, &[0, 0])),
                (S, packet(1, &eof(2))),
                (C, command(4, b"t\0")),
                (S, packets(1, &[b"\x03def", b"\x03def", &eof(2)])),
                (C, command(0x11, b"other\0")),
                (S, packet(1, b"\xfemysql_native_password\0")),
                (C, packet(2, b"12345")),
                (S, packet(3, &error(1045))),
            ],
        ),
        &["ready", "sql 2", "PING 0", "USE 1049 Other", "STATISTICS 0", "SET OPTION 0", "FIELD LIST 2", "CHANGE USER 1045 Authentication"],
    );
}

#[test]
fn tells_refusals() {
    check(&[(S, packet(0, &error(1040)))], &["refused 1040 TooManyConnections"]);
    let greeted = [(S, packet(0, &greeting(0))), (C, packet(1, &response(BASIC, 0)))];
    let refused = [
        &greeted[..],
        &[
            (S, packet(2, b"\xfecaching_sha2_password\0xx")),
            (C, packet(3, b"hash")),
            (S, packet(4, b"\x01\x04")),
            (C, packet(5, b"x")),
            (S, packet(6, &error(1045))),
        ],
    ]
    .concat();
    check(&refused, &["refused 1045 Authentication"]);
    let fast = [&greeted[..], &[(S, packets(2, &[b"\x01\x03", &ok(0, 2)]))]].concat();
    check(&fast, &["ready"]);
    check(&session(BASIC, 0, &[(S, packet(0, &error(4031)))]), &["ready", "refused 4031 Cancelled"]);
}

#[test]
fn gives_up_on_what_it_cannot_follow() {
    let request = response(BASIC | 1 << 11, 0)[..32].to_vec();
    check(&[(S, packet(0, &greeting(0))), (C, packet(1, &request)), (C, vec![0x16, 3, 1])], &["encrypted"]);
    for capabilities in [1 << 15, BASIC | 1 << 5, BASIC | 1 << 25, BASIC | 1 << 26] {
        check(&[(S, packet(0, &greeting(0))), (C, packet(1, &response(capabilities, 0)))], &["opaque"]);
    }
    for odd in [command(0x12, b""), command(0x15, b""), command(0x1e, b""), command(0x77, b""), packet(1, b"\x03SELECT 1"), packet(0, b"")] {
        check(&session(BASIC, 0, &[(C, select()), (C, odd), (C, select())]), &["ready", "forgotten", "opaque"]);
    }
    for odd in
        [packet(2, &ok(0, 2)), packet(1, b""), packet(1, b"\x00"), packet(1, b"\xfe"), packet(1, b"\x01\x02"), packets(1, &[&[1], b"\x03def", b"\x03def"])]
    {
        check(&session(BASIC, 0, &[(C, select()), (S, odd), (C, select())]), &["ready", "forgotten", "opaque"]);
    }
    check(&[(C, select())], &["opaque"]);
    check(&[(S, packet(0, b"\x09old"))], &["opaque"]);
    check(&session(BASIC, 0, &[(S, packet(0, &ok(0, 2)))]), &["ready", "opaque"]);
}

#[test]
fn joins_packets_that_were_split() {
    let mut long = [b"\xff\xff\xff\x00\x03SELECT 1 -- ".to_vec(), vec![b'x'; 0xff_ffff - 13], packet(1, b"yz")].concat();
    let turns = |long: &[u8]| session(BASIC, 0, &[(C, long.to_vec()), (S, packet(2, &ok(0, 2)))]);
    assert_eq!(tell(&turns(&long), |_| usize::MAX).len(), 2);
    assert_eq!(tell(&turns(&long), |_| 65_537).len(), 2);
    long.truncate(long.len() - 6);
    long.extend(packet(2, b"yz"));
    assert_eq!(tell(&turns(&long), |_| usize::MAX), ["ready", "opaque"]);
}

#[test]
fn bounds_what_it_remembers() {
    let pings = command(0x0e, b"").repeat(MAX_PENDING + 1);
    assert_eq!(tell(&session(BASIC, 0, &[(C, pings)]), |_| usize::MAX).last().unwrap(), "opaque");
    let mut mysql = Mysql::default();
    let mut turns = session(BASIC, 0, &[]);
    for statement in 0..2 * MAX_PREPARED as u32 {
        turns.push((C, command(0x16, b"SELECT 1")));
        turns.push((S, packet(1, &[&[0], &statement.to_le_bytes()[..], &[0; 7]].concat())));
    }
    turns.iter().for_each(|(side, bytes)| mysql.bytes(*side, bytes, Instant::now(), &mut |event| assert_ne!(event, Event::Opaque)));
    assert_eq!(mysql.prepared.len(), MAX_PREPARED);
    mysql.bytes(C, &command(3, &vec![b'a'; 1024 * 1024]), Instant::now(), &mut |_| {});
    assert!(mysql.client.kept().len() <= CLIENT_ROOM);
}

#[test]
fn measures_statements_transactions_and_readiness() {
    let start = Instant::now();
    let ms = Duration::from_millis;
    let mut mysql = Mysql::default();
    let mut events = Vec::new();
    let begin = command(3, b"BEGIN");
    let answer = packet(1, &ok(0, 3));
    let more = [
        (C, begin[..3].to_vec()),
        (C, begin[3..].to_vec()),
        (S, answer[..1].to_vec()),
        (S, answer[1..].to_vec()),
        (C, command(3, b"COMMIT")),
        (S, packet(1, &ok(0, 2))),
    ];
    for (at, (side, bytes)) in (0..).step_by(10).zip(session(BASIC, 0, &more)) {
        mysql.bytes(side, &bytes, start + ms(at), &mut |event| events.push(event));
    }
    assert_eq!(events[0], Event::Ready { after: ms(20) });
    let Event::Done(done) = &events[2] else { panic!("{events:?}") };
    assert_eq!((done.asked, done.answered, done.ended), (start + ms(30), start + ms(50), start + ms(60)));
    assert_eq!(events.last(), Some(&Event::Transaction { length: ms(50), idle: ms(10), committed: true }));
}

/// Pieces that are likely to get far into the machine.
fn piece() -> impl Strategy<Value = (Side, Vec<u8>)> {
    let client = vec![
        select(),
        command(3, b"BEGIN"),
        command(0x16, b"SELECT ?"),
        command(0x17, &[1, 0, 0, 0, 0, 1, 0, 0, 0]),
        command(0x0e, b""),
        command(0x19, &[1, 0, 0, 0]),
    ];
    let server = vec![
        packet(1, &ok(1, 2)),
        packet(1, &ok(1, 3)),
        packet(1, &error(1213)),
        packets(1, &[&[1], b"\x03def", &eof(2), b"\x011", &eof(2)]),
        packet(1, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        packet(1, b"\xfbf"),
    ];
    let noise = (any::<bool>(), proptest::collection::vec(any::<u8>(), 1..24));
    prop_oneof![
        4 => proptest::sample::select(client).prop_map(|bytes| (C, bytes)),
        4 => proptest::sample::select(server).prop_map(|bytes| (S, bytes)),
        1 => noise.prop_map(|(client, bytes)| (if client { C } else { S }, bytes)),
    ]
}

proptest! {
    #[test]
    fn any_split_tells_the_same(
        turns in proptest::collection::vec(piece(), 0..12),
        sizes in proptest::collection::vec(1usize..12, 1..8),
        login in any::<bool>(),
    ) {
        let turns = if login { session(BASIC, 0, &turns) } else { turns };
        let whole = tell(&turns, |_| usize::MAX);
        let split = tell(&turns, |piece| sizes[piece % sizes.len()]);
        prop_assert_eq!(whole, split);
    }
}
