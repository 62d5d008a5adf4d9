//! The observer against tables of conversations, every split of them, and noise; and against a real stack.

mod real;

use std::time::Duration;

use proptest::prelude::*;

use super::super::http::Http;
use super::*;
use Side::{Client as C, Server as S};

const CONNECTED: [(Side, &[u8]); 3] = [(C, frames::PREFACE), (C, &[0, 0, 0, 4, 0, 0, 0, 0, 0]), (S, &[0, 0, 0, 4, 0, 0, 0, 0, 0])];
/// `POST`, and a path of two segments.
const ASK: &[u8] = b"\x83\x04\x04/a/b";
const OK: &[u8] = b"\x88";
const END: u8 = 0x05;
const MORE: u8 = 0x04;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(1, flags, stream, block)
}

fn data(stream: u32, end: bool, length: usize) -> Vec<u8> {
    frame(0, u8::from(end), stream, &vec![b'x'; length])
}

fn grpc_status(digits: &str) -> Vec<u8> {
    [b"\x00\x0bgrpc-status", &[digits.len() as u8][..], digits.as_bytes()].concat()
}

/// What a connection tells, as `METHOD/segments status` for an answered request, and so on.
fn tell(turns: &[(Side, Vec<u8>)], split: impl Fn(usize) -> usize, end: bool) -> Vec<String> {
    let at = Instant::now();
    let mut told = Vec::new();
    let mut http = Http::default();
    let mut each = |event: Event| match event {
        Event::Begin { .. } | Event::Traced(_) => {}
        Event::Informational { route } => told.push(format!("{route} interim")),
        Event::Answering { route, .. } => told.push(format!("{route} answering")),
        Event::End { route, status, request_bytes, response_bytes, .. } => told.push(format!("{route} {status} {request_bytes}>{response_bytes}")),
        Event::NoResponse { route, .. } => told.push(format!("{route} none")),
        Event::Forget { route, .. } => told.push(format!("{route} forgotten")),
    };
    let mut pieces = 0;
    for (side, bytes) in turns {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(split(pieces).clamp(1, rest.len()));
            http.bytes(*side, now, at, &mut each);
            rest = later;
            pieces += 1;
        }
    }
    if end {
        http.end(at, &mut each);
    }
    told
}

/// On a connection that has begun well.
fn connected(turns: &[(Side, Vec<u8>)]) -> Vec<(Side, Vec<u8>)> {
    CONNECTED.iter().map(|(side, bytes)| (*side, bytes.to_vec())).chain(turns.iter().cloned()).collect()
}

fn check(turns: &[(Side, Vec<u8>)], expected: &[&str]) {
    let turns = connected(turns);
    assert_eq!(tell(&turns, |_| usize::MAX, true), expected, "whole");
    for size in 1..40 {
        assert_eq!(tell(&turns, |_| size, true), expected, "in pieces of {size}");
    }
}

#[test]
fn counts_interleaved_requests() {
    check(
        &[
            (C, headers(1, MORE, ASK)),
            (C, headers(3, END, b"\x82\x84")),
            (C, data(1, true, 10)),
            (S, headers(3, END, b"\x8d")),
            (S, headers(1, MORE, OK)),
            (S, data(1, false, 7)),
            (S, data(1, true, 0)),
        ],
        &["GET/0 404 2>1", "POST/2 answering", "POST/2 200 17>8"],
    );
}

#[test]
fn reads_the_status_of_grpc_in_trailers_or_alone() {
    for (digits, status) in [("0", 200), ("5", 404), ("14", 503), ("4", 504), ("99", 500), ("x", 500)] {
        let turns = [(C, headers(1, END, ASK)), (S, headers(1, MORE, OK)), (S, data(1, false, 1)), (S, headers(1, END, &grpc_status(digits)))];
        let length = 2 + 14 + digits.len();
        check(&turns, &["POST/2 answering", &format!("POST/2 {status} 7>{length}")]);
        let alone = [OK, &grpc_status(digits)].concat();
        check(&[(C, headers(1, END, ASK)), (S, headers(1, END, &alone))], &[&format!("POST/2 {status} 7>{}", alone.len())]);
    }
}

#[test]
fn follows_padding_priorities_continuations_and_what_it_does_not_know() {
    let padded = [&[3, 0, 0, 0, 0, 9][..], ASK, &[0; 3]].concat();
    check(
        &[
            (C, frame(2, 0, 1, &[0; 5])),
            (C, frame(1, 0x29, 1, &padded)),
            (C, frame(9, 0, 1, b"")),
            (C, frame(9, 0x04, 1, b"\x00\x01a\x01b")),
            (C, frame(0xfe, 0xff, 77, b"whatever")),
            (S, frame(6, 0, 0, &[0; 8])),
            (S, headers(1, MORE, b"\x08\x03103")),
            (S, headers(1, END, OK)),
        ],
        &["POST/2 interim", "POST/2 200 21>6"],
    );
}

#[test]
fn a_cancelled_request_is_no_failure_and_a_reset_one_is() {
    let reset = |stream| frame(3, 0, stream, &[0, 0, 0, 8]);
    let turns = [
        (C, headers(1, END, ASK)),
        (C, headers(3, END, ASK)),
        (C, reset(1)),
        (S, headers(1, END, OK)),
        (S, headers(3, MORE, OK)),
        (S, reset(3)),
        (C, reset(3)),
    ];
    check(&turns, &["POST/2 forgotten", "POST/2 answering", "POST/2 none"]);
    check(&[(C, headers(1, END, ASK))], &["POST/2 none"]);
}

#[test]
fn what_a_goaway_leaves_out_is_forgotten() {
    let goaway = frame(7, 0, 0, b"\0\0\0\x01\0\0\0\0bye");
    let turns = [(C, headers(1, END, ASK)), (C, headers(3, END, ASK)), (S, goaway), (S, headers(1, END, OK))];
    check(&turns, &["POST/2 forgotten", "POST/2 200 7>1"]);
}

#[test]
fn gives_up_on_anything_odd() {
    let ask = || (C, headers(1, END, ASK));
    for (side, odd) in [
        (C, headers(2, END, ASK)),
        (C, headers(0, END, ASK)),
        (C, headers(3, END, b"\x84")),
        (C, headers(3, END, b"\xbe")),
        (C, data(3, true, 0)),
        (C, data(0, true, 0)),
        (C, frame(9, 4, 1, ASK)),
        (C, [headers(3, 0, ASK), data(1, true, 0)].concat()),
        (C, frame(1, 0x0c, 3, b"\x09\x82\x84")),
        (C, frame(1, 0x2c, 3, b"\x00\x00\x00")),
        (C, frame(3, 0, 1, b"\0\0\0")),
        (C, frame(4, 0, 0, b"\0")),
        (S, headers(3, END, OK)),
        (S, headers(1, END, b"\x08\x03999")),
        (S, headers(1, END, b"\x08\x03100")),
        (S, headers(1, END, &grpc_status("0"))),
        (S, data(1, true, 1)),
        (S, frame(5, 4, 1, &[0, 0, 0, 2, 0x82])),
        (S, frame(7, 0, 0, b"\0\0\0")),
    ] {
        check(&[ask(), (side, odd)], &["POST/2 forgotten"]);
    }
    let turns = [(C, frames::PREFACE.to_vec()), ask()];
    assert!(tell(&turns, |_| usize::MAX, true).is_empty(), "settings come first");
}

#[test]
fn bounds_streams_blocks_and_what_it_holds() {
    let many: Vec<_> = (0..300u32).map(|number| (C, headers(number * 2 + 1, END, ASK))).collect();
    let told = tell(&connected(&many), |_| usize::MAX, true);
    assert_eq!(told, vec!["POST/2 none"; MAX_STREAMS]);
    // The first ones make room, and what was not followed stays so.
    let answers: Vec<_> = (0..300u32).map(|number| (S, headers(number * 2 + 1, END, OK))).chain([(C, headers(601, END, ASK))]).collect();
    let told = tell(&connected(&[many, answers].concat()), |_| usize::MAX, true);
    assert_eq!((told.len(), told.iter().filter(|told| *told == "POST/2 200 7>1").count()), (MAX_STREAMS + 1, MAX_STREAMS));

    let endless: Vec<_> =
        [(C, headers(1, END, ASK)), (C, headers(3, 0, b""))].into_iter().chain((0..20).map(|_| (C, frame(9, 0, 3, &[0x82; 16384])))).collect();
    assert_eq!(tell(&connected(&endless), |_| usize::MAX, false), ["POST/2 forgotten"]);
}

#[test]
fn a_connection_costs_what_is_said() {
    let tables = 2 * 128 * 8 + size_of::<Http2>();
    assert!(tables <= 4096, "{tables}");
    // A node of the map has room for 11 entries and, but for the root, no fewer than 5; so have the nodes above them.
    let node = 11 * (size_of::<Stream>() + 4 + 8) + 32;
    let streams = (MAX_STREAMS / 5 + MAX_STREAMS / 25 + 2) * node;
    assert!(tables + streams <= 64 * 1024, "{tables} and {streams}");
}

#[test]
fn a_flood_of_cancelled_requests_leaves_nothing_behind() {
    let mut http = Http2::new(Instant::now());
    let mut tell = |_| {};
    let start: Vec<u8> = CONNECTED.iter().filter(|(side, _)| *side == C).flat_map(|(_, bytes)| bytes.to_vec()).collect();
    http.bytes(C, &start, Instant::now(), &mut tell).unwrap();
    for number in 0..10_000u32 {
        let rapid = [headers(number * 2 + 1, MORE, ASK), frame(3, 0, number * 2 + 1, &[0, 0, 0, 8]), frame(6, 0, 0, &[0; 8])].concat();
        http.bytes(C, &rapid, Instant::now(), &mut tell).unwrap();
        assert!(http.streams.is_empty());
    }
}

#[test]
fn measures_from_the_first_byte_to_the_last() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut latency = None;
    let mut tell = |event| {
        if let Event::End { latency: this, .. } = event {
            latency = Some(this);
        }
    };
    let mut http = Http2::new(start);
    CONNECTED.iter().for_each(|(side, bytes)| http.bytes(*side, bytes, start, &mut tell).unwrap());
    let ask = headers(1, END, ASK);
    http.bytes(C, &ask[..1], at(10), &mut tell).unwrap();
    http.bytes(C, &ask[1..], at(12), &mut tell).unwrap();
    http.bytes(S, &headers(1, MORE, OK), at(15), &mut tell).unwrap();
    http.bytes(S, &data(1, true, 5), at(19), &mut tell).unwrap();
    assert_eq!(latency, Some(Duration::from_millis(9)));
}

/// Pieces that are likely to get far into the machine.
fn piece() -> impl Strategy<Value = (Side, Vec<u8>)> {
    let stream = prop_oneof![Just(1u32), Just(3), Just(5), Just(7), 0..12u32];
    let block = prop_oneof![
        Just(ASK.to_vec()),
        Just(OK.to_vec()),
        Just(b"\x83\x44\x04/a/b".to_vec()),
        Just(b"\x83\xbe".to_vec()),
        Just(grpc_status("14")),
        Just(b"\x88\x40\x8fgrpc-status".to_vec()),
        Just(b"\x3f\x01\x82\x84".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..24),
    ];
    let kind = prop_oneof![Just(0u8), Just(1), Just(1), Just(1), Just(3), Just(9), 0..12u8];
    let flags = prop_oneof![Just(END), Just(MORE), Just(0u8), any::<u8>()];
    let framed = (any::<bool>(), kind, flags, stream, block)
        .prop_map(|(client, kind, flags, stream, block)| (if client { C } else { S }, frame(kind, flags, stream, &block)));
    let noise = (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..24)).prop_map(|(client, bytes)| (if client { C } else { S }, bytes));
    prop_oneof![9 => framed, 1 => noise]
}

proptest! {
    #[test]
    fn any_split_tells_the_same(
        begun in any::<bool>(),
        turns in proptest::collection::vec(piece(), 0..12),
        sizes in proptest::collection::vec(1usize..12, 1..8),
    ) {
        let turns = if begun { connected(&turns) } else { turns };
        let whole = tell(&turns, |_| usize::MAX, true);
        let split = tell(&turns, |piece| sizes[piece % sizes.len()], true);
        prop_assert_eq!(whole, split);
    }

    #[test]
    fn any_bytes_never_panic(turns in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..64)), 0..8), size in 1usize..64) {
        let turns: Vec<_> = turns.into_iter().map(|(client, bytes)| (if client { C } else { S }, bytes)).collect();
        drop(tell(&connected(&turns), |_| size, true));
    }
}
