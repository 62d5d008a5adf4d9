//! The Redis decoder against tables of conversations, every split of them, noise, and a real server.

mod real;

use std::time::Duration;

use proptest::prelude::*;

use super::super::watched::balanced;
use super::*;

use Side::{Client as C, Server as S};

/// A conversation as turns, and what it must tell.
fn tell(turns: &[(Side, &[u8])], split: impl Fn(usize) -> usize) -> Vec<String> {
    let at = Instant::now();
    let (mut told, mut events) = (Vec::new(), Vec::new());
    let mut redis = Redis::default();
    let mut each = |event: Event| {
        events.push(event.clone());
        told.push(match event {
            Event::Asked(_) => return,
            Event::Done(done) => match done.error {
                Some((code, trouble)) => format!("{} {} {trouble:?}", done.class.operation, code.as_str()),
                None => format!("{} {}", done.class.operation, done.rows),
            },
            Event::Forgotten(_) => "forgotten".to_owned(),
            Event::Transaction { committed, .. } => format!("transaction {committed}"),
            Event::Ready { .. } => return,
            Event::Refused(code, trouble) => format!("refused {} {trouble:?}", code.as_str()),
            Event::Encrypted => "encrypted".to_owned(),
            Event::Opaque => "opaque".to_owned(),
        });
    };
    let mut pieces = 0;
    for (side, bytes) in turns {
        let mut rest = *bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(split(pieces).clamp(1, rest.len()));
            redis.bytes(*side, now, at, &mut each);
            rest = later;
            pieces += 1;
        }
    }
    redis.end(End::Closed, at, &mut each);
    balanced(&events);
    told
}

fn check(turns: &[(Side, &[u8])], expected: &[&str]) {
    assert_eq!(tell(turns, |_| usize::MAX), expected, "whole");
    for size in 1..40 {
        assert_eq!(tell(turns, |_| size), expected, "in pieces of {size}");
    }
}

fn command(words: &str) -> Vec<u8> {
    let words: Vec<&str> = words.split(' ').collect();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|word| bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes()));
    bytes
}

fn commands(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| command(line)).collect()
}

#[test]
fn counts_commands_by_name_and_rows() {
    check(&[(C, &commands(&["get k", "hgetall h", "MGET a b c", "config get maxmemory", "GET none", "INCR n"]))], &["forgotten"; 6]);
    check(
        &[
            (C, &commands(&["get k", "hgetall h", "MGET a b c", "config get maxmemory", "GET none", "LPOP none 2", "INCR n"])),
            (S, b"$3\r\nabc\r\n*4\r\n$1\r\na\r\n$0\r\n\r\n$1\r\nb\r\n:5\r\n*3\r\n$-1\r\n$1\r\n\n\r\n$-1\r\n*0\r\n$-1\r\n*-1\r\n:-7\r\n"),
        ],
        &["GET 1", "HGETALL 4", "MGET 3", "CONFIG GET 0", "GET 0", "LPOP 0", "INCR 1"],
    );
}

#[test]
fn reads_inline_commands_and_ignores_empty_ones() {
    check(
        &[(C, b"PING\r\n\r\n\n*0\r\n*-1\r\n  set  k \"a \\\" b\"\nXGROUP 'HELP'\r\n"), (S, b"+PONG\r\n+OK\r\n*1\r\n+x\r\n")],
        &["PING 1", "SET 1", "XGROUP HELP 1"],
    );
}

#[test]
fn tells_no_name_that_it_does_not_know() {
    check(
        &[(C, &commands(&["hunter2 GET", "CONFIG hunter2"])), (S, b"-ERR unknown command 'hunter2'\r\n-hunter2 x\r\n")],
        &["OTHER ERR Other", "CONFIG ERR Other"],
    );
}

#[test]
fn follows_resp3_types_attributes_and_pushes() {
    check(
        &[
            (C, &commands(&["HELLO 3", "HGETALL h", "SMEMBERS s", "GET a", "GET b", "GET c", "GET d", "GET e", "EVAL x 0", "LRANGE l 0 -1"])),
            (S, b"%1\r\n$5\r\nproto\r\n:3\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n%1\r\n+a\r\n*1\r\n_\r\n"),
            (S, b"|1\r\n+ttl\r\n:3\r\n~2\r\n|1\r\n+x\r\n*0\r\n#t\r\n,1.5\r\n_\r\n(123\r\n=7\r\ntxt:abc\r\n>0\r\n#f\r\n$0\r\n\r\n"),
            (S, b"!9\r\nOOM x\r\n y\r\n*2\r\n$7\r\nmessage\r\n:0\r\n"),
        ],
        &["HELLO 2", "HGETALL 2", "SMEMBERS 2", "GET 0", "GET 1", "GET 1", "GET 1", "GET 1", "EVAL OOM Resources", "LRANGE 2"],
    );
}

#[test]
fn follows_transactions() {
    check(
        &[
            (C, &commands(&["MULTI", "SET k v", "LPUSH k v", "EXEC", "SET k QUEUED"])),
            (S, b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n-WRONGTYPE Operation\r\n+QUEUED\r\n"),
            (C, &commands(&["MULTI", "DISCARD", "WATCH k", "MULTI", "EXEC", "MULTI", "NOSUCH", "EXEC", "MULTI", "RESET", "EXEC", "MULTI"])),
            (S, b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n*-1\r\n+OK\r\n-ERR unknown command\r\n-EXECABORT Transaction discarded\r\n+OK\r\n+RESET\r\n-ERR EXEC without MULTI\r\n+OK\r\n"),
        ],
        &[
            "MULTI 1", "SET 0", "LPUSH 0", "EXEC WRONGTYPE Other", "transaction true", "SET 1",
            "MULTI 1", "DISCARD 1", "transaction false", "WATCH 1", "MULTI 1", "EXEC 0", "transaction false",
            "MULTI 1", "OTHER ERR Other", "EXEC EXECABORT Other", "transaction false",
            "MULTI 1", "RESET 1", "transaction false", "EXEC ERR Other", "MULTI 1", "transaction false",
        ],
    );
}

#[test]
fn messages_are_no_answers() {
    check(
        &[
            (C, &commands(&["SUBSCRIBE a b", "PING"])),
            (S, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"),
            (S, b"*2\r\n$4\r\npong\r\n$0\r\n\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"),
            (C, &commands(&["UNSUBSCRIBE", "LRANGE l 0 -1"])),
            (S, b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n*2\r\n$7\r\nmessage\r\n$1\r\nx\r\n"),
        ],
        &["SUBSCRIBE 0", "PING 2", "UNSUBSCRIBE 0", "LRANGE 2"],
    );
    check(
        &[
            (C, &commands(&["HELLO 3", "SSUBSCRIBE a", "GET k", "SUNSUBSCRIBE a", "PSUBSCRIBE"])),
            (S, b"%0\r\n>3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$2\r\nhi\r\n$1\r\nv\r\n"),
            (S, b">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n-ERR wrong number of arguments\r\n"),
        ],
        &["HELLO 0", "SSUBSCRIBE 0", "GET 1", "SUNSUBSCRIBE 0", "PSUBSCRIBE ERR Other"],
    );
    check(
        &[
            (C, &command("MONITOR")),
            (S, b"+OK\r\n+1700000000.1 [0 127.0.0.1:1] \"get\" \"secret\"\r\n"),
            (C, &commands(&["RESET", "GET k"])),
            (S, b"+1700000000.1 [0 x] \"reset\"\r\n+RESET\r\n+7\r\n"),
        ],
        &["MONITOR 1", "RESET 1", "GET 1"],
    );
}

#[test]
fn tells_refusals_from_errors_of_statements() {
    check(&[(S, b"-ERR max number of clients reached\r\n")], &["refused ERR TooManyConnections"]);
    check(&[(C, &command("PING")), (S, b"-ERR max number of clients reached\r\n")], &["refused ERR TooManyConnections", "forgotten"]);
    check(&[(S, b"-DENIED Redis is running in protected mode\r\n")], &["refused DENIED Authentication"]);
    check(
        &[(C, &commands(&["GET k", "AUTH x"])), (S, b"-NOAUTH Authentication required.\r\n-WRONGPASS x\r\n")],
        &["GET NOAUTH Authentication", "AUTH WRONGPASS Authentication"],
    );
}

#[test]
fn what_began_before_a_question_is_no_answer_to_it() {
    let start = Instant::now();
    let cases: [(&[u8], &[u8], &[&str]); 2] =
        [(b"+", b"OK\r\n", &["asked", "done", "asked", "forgotten", "opaque"]), (b"-", b"ERR late\r\n", &["asked", "done", "asked", "refused", "forgotten"])];
    for (first, rest, expected) in cases {
        let (mut redis, mut told) = (Redis::default(), Vec::new());
        let mut each = |event: Event| match event {
            Event::Asked(_) => told.push("asked"),
            Event::Done(_) => told.push("done"),
            Event::Forgotten(_) => told.push("forgotten"),
            Event::Refused(..) => told.push("refused"),
            Event::Opaque => told.push("opaque"),
            _ => {}
        };
        for (place, (side, bytes)) in [(C, b"PING\r\n".as_slice()), (S, b"+PONG\r\n"), (S, first), (C, b"PING\r\n"), (S, rest)].into_iter().enumerate() {
            redis.bytes(side, bytes, start + Duration::from_millis(place as u64), &mut each);
        }
        assert_eq!(told, expected, "{}", first.escape_ascii());
    }
}

#[test]
fn gives_up_on_what_leaves_questions_open() {
    check(&[(C, b"\x16\x03\x01\x02\x00\x01"), (S, b"\x16\x03\x03")], &["encrypted"]);
    for last in ["PSYNC ? -1", "SYNC", "CLIENT REPLY OFF", "client reply skip"] {
        check(&[(C, &commands(&["GET k", last, "GET k"])), (S, b"$-1\r\n")], &["forgotten", "opaque"]);
    }
    check(&[(C, &command("CLIENT REPLY ON")), (S, b"+OK\r\n")], &["CLIENT REPLY 1"]);
    check(&[(C, &commands(&["MULTI", "SUBSCRIBE a"])), (S, b"+OK\r\n+QUEUED\r\n")], &["MULTI 1", "forgotten", "opaque"]);
    let deep = b"*1\r\n".repeat(33);
    let odd: [&[u8]; 8] = [b"hello\r\n", b"+a\nb\r\n", b"$x\r\n", b"*?\r\n", b"$99999999999\r\n", b"$2\r\nabc\r\n", b"*1\r\n>1\r\n", &deep];
    for odd in odd {
        check(&[(C, &command("GET k")), (S, odd), (C, &command("GET k"))], &["forgotten", "opaque"]);
    }
    let odd: [&[u8]; 6] = [b"*1\r\n:1\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$1\r\nab\r\n", b"set k \"a\n", b"*1 \r\n", b"a\0"];
    for odd in odd {
        check(&[(C, odd)], &["opaque"]);
    }
    check(&[(S, b"+OK\r\n")], &["opaque"]);
}

#[test]
fn bounds_pipelines_and_nesting() {
    let deep = [b"*1\r\n".repeat(32), b":1\r\n".to_vec()].concat();
    check(&[(C, &command("GET k")), (S, &deep)], &["GET 1"]);
    let many = b"PING\r\n".repeat(MAX_PENDING);
    assert_eq!(tell(&[(C, &many)], |_| usize::MAX).len(), MAX_PENDING);
    let many = b"PING\r\n".repeat(MAX_PENDING + 1);
    assert_eq!(tell(&[(C, &many)], |_| usize::MAX).last().unwrap(), "opaque");
}

#[test]
fn measures_statements_transactions_and_readiness() {
    let start = Instant::now();
    let ms = Duration::from_millis;
    let mut redis = Redis::default();
    let mut events = Vec::new();
    let mut each = |event: Event| events.push(event);
    for (side, bytes, at) in [
        (C, b"AUTH x\r\n".as_slice(), 0),
        (S, b"-WRONGPASS x\r\n", 1),
        (C, b"MUL", 2),
        (C, b"TI\r\n", 3),
        (S, b"+O", 4),
        (S, b"K\r\n", 6),
        (C, b"GET k\r\n", 16),
        (S, b"+QUEUED\r\n", 17),
        (C, b"EXEC\r\n", 20),
        (S, b"*0\r\n", 21),
    ] {
        redis.bytes(side, bytes, start + ms(at), &mut each);
    }
    let Event::Done(multi) = &events[4] else { panic!("{events:?}") };
    assert_eq!((multi.asked, multi.answered, multi.ended), (start + ms(2), start + ms(4), start + ms(6)));
    assert_eq!(events[3], Event::Ready { after: ms(6) });
    assert_eq!(events.last(), Some(&Event::Transaction { length: ms(19), idle: ms(13), committed: true }));
}

/// Pieces that are likely to get far into the machine.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let lines = ["GET k", "MULTI", "EXEC", "SUBSCRIBE a b", "UNSUBSCRIBE", "MONITOR", "RESET", "HELLO 3"];
    let replies = [
        "+OK\r\n",
        "+QUEUED\r\n",
        "*2\r\n",
        "$3\r\nabc\r\n",
        ":1\r\n",
        "-ERR x\r\n",
        "%1\r\n",
        "|1\r\n",
        "*-1\r\n",
        "!3\r\nERR\r\n",
        ">1\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    ];
    prop_oneof![
        4 => proptest::sample::select(lines.to_vec()).prop_map(command),
        4 => proptest::sample::select(replies.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => Just(b"PING\r\n".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..24),
    ]
}

proptest! {
    #[test]
    fn any_split_tells_the_same(
        turns in proptest::collection::vec((any::<bool>(), piece()), 0..12),
        sizes in proptest::collection::vec(1usize..12, 1..8),
    ) {
        let turns: Vec<(Side, &[u8])> = turns.iter().map(|(client, bytes)| (if *client { C } else { S }, bytes.as_slice())).collect();
        let whole = tell(&turns, |_| usize::MAX);
        let split = tell(&turns, |piece| sizes[piece % sizes.len()]);
        prop_assert_eq!(whole, split);
    }
}
