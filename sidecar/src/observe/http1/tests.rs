//! The HTTP observer against tables of conversations, every split of them, and noise.

use proptest::prelude::*;

use super::*;

/// A conversation as turns, and what it must tell: `METHOD/segments status` for an answered request, and so on.
fn tell(turns: &[(Side, &[u8])], split: impl Fn(usize) -> usize, end: bool) -> Vec<String> {
    let at = Instant::now();
    let mut told = Vec::new();
    let mut http = Http1::default();
    let mut each = |event: Event| match event {
        Event::Begin { .. } => {}
        Event::Informational { route } => told.push(format!("{route} interim")),
        Event::End { route, status, request_bytes, response_bytes, .. } => {
            told.push(format!("{route} {status} {request_bytes}>{response_bytes}"));
        }
        Event::Traced(Traced { context, status, .. }) => told.push(format!("span {:02x}{:02x} {status:?}", context.trace[0], context.span[0])),
        Event::NoResponse { route, .. } => told.push(format!("{route} none")),
        Event::Forget { route, .. } => told.push(format!("{route} forgotten")),
        Event::Answering { .. } => panic!("{event:?} is of HTTP/2"),
    };
    let mut pieces = 0;
    for (side, bytes) in turns {
        let mut rest = *bytes;
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

fn check(turns: &[(Side, &[u8])], expected: &[&str]) {
    assert_eq!(tell(turns, |_| usize::MAX, true), expected, "whole");
    for size in 1..40 {
        assert_eq!(tell(turns, |_| size, true), expected, "in pieces of {size}");
    }
}

use Side::{Client as C, Server as S};

#[test]
fn counts_one_exchange() {
    check(&[(C, b"GET /cart/7?x=/y HTTP/1.1\r\nHost: a\r\n\r\n"), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")], &["GET/2 200 38>43"]);
}

#[test]
fn a_sampled_request_is_told_with_its_trace() {
    const PARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-f0f067aa0ba902b7-01\r\n";
    let request = |headers: &str| format!("GET / HTTP/1.1\r\n{headers}\r\n").into_bytes();
    let ok: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
    let upper = request(&PARENT.replace("traceparent", "TraceParent"));
    check(&[(C, &upper), (S, ok), (C, &upper)], &["span 4bf0 Some(204)", "GET/0 204 88>27", "span 4bf0 None", "GET/0 none"]);
    for headers in [PARENT.repeat(2), PARENT.replace("-01", "-00"), PARENT.replace("00-4b", "xx-4b")] {
        let untraced = request(&headers);
        let told = tell(&[(C, &untraced), (S, ok)], |_| usize::MAX, true);
        assert_eq!(told.len(), 1, "{headers}: {told:?}");
    }
}

#[test]
fn pairs_pipelined_requests_in_order() {
    check(
        &[
            (C, b"GET / HTTP/1.1\r\n\r\nPOST /a/b/c HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcHEAD /h HTTP/1.1\r\n\r\n"),
            (S, b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
            (S, b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"),
        ],
        &["GET/0 204 18>27", "POST/3 500 46>40", "HEAD/1 200 20>40"],
    );
}

#[test]
fn follows_chunks_extensions_and_trailers() {
    check(
        &[
            (C, b"POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nwiki\r\n0\r\nX: y\r\n\r\n"),
            (S, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"),
            (C, b"GET / HTTP/1.1\r\n\r\n"),
            (S, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        ],
        &["POST/1 200 73>77", "GET/0 304 18>29"],
    );
}

#[test]
fn counts_an_interim_response_apart() {
    check(
        &[
            (C, b"PUT /f HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
            (S, b"HTTP/1.1 100 Continue\r\n\r\n"),
            (C, b"ok"),
            (S, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["PUT/1 interim", "PUT/1 201 62>68"],
    );
}

#[test]
fn ends_an_unframed_body_with_the_connection() {
    check(&[(C, b"GET /old HTTP/1.0\r\n\r\n"), (S, b"HTTP/1.0 200 OK\r\n\r\nall of it")], &["GET/1 200 21>28"]);
}

#[test]
fn becomes_opaque_after_an_upgrade() {
    check(
        &[
            (C, b"GET /ws HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
            (S, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
            (C, b"\x81\x85masked"),
            (S, b"\x81\x05hello"),
        ],
        &["GET/1 101 61>56"],
    );
}

#[test]
fn tells_of_requests_without_an_answer() {
    check(&[(C, b"GET /a HTTP/1.1\r\n\r\n")], &["GET/1 none"]);
    check(&[(C, b"GET /a HTTP/1.1\r\n\r\n"), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")], &["GET/1 none"]);
}

#[test]
fn gives_up_on_anything_odd() {
    let forgotten: &[&str] = &["GET/1 forgotten"];
    let ask: &[u8] = b"GET /a HTTP/1.1\r\n\r\n";
    for odd in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
        b"HTTP/1.1 999 No\r\n\r\n",
        b"\x16\x03\x01\x02",
    ] {
        check(&[(C, ask), (S, odd)], forgotten);
    }
    check(&[(S, b"220 smtp ready\r\n"), (C, ask)], &[]);
    check(&[(C, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")], &[]);
}

#[test]
fn bounds_heads_and_pipelines() {
    let long = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &vec![b'a'; 17 * 1024], b"\r\n\r\n"].concat();
    check(&[(C, &long)], &[]);
    let many = b"GET /x HTTP/1.1\r\n\r\n".repeat(MAX_PENDING + 1);
    assert!(tell(&[(C, &many)], |_| usize::MAX, true).iter().all(|told| told == "GET/1 forgotten"));
}

#[test]
fn measures_to_the_last_byte() {
    let start = Instant::now();
    let mut http = Http1::default();
    let mut latency = None;
    let mut each = |event: Event| {
        if let Event::End { latency: this, .. } = event {
            latency = Some(this);
        }
    };
    http.bytes(C, b"GET /", start, &mut each);
    http.bytes(C, b" HTTP/1.1\r\n\r\n", start + Duration::from_millis(1), &mut each);
    http.bytes(S, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", start + Duration::from_millis(5), &mut each);
    http.bytes(S, b"b", start + Duration::from_millis(9), &mut each);
    assert_eq!(latency, Some(Duration::from_millis(9)));
}

/// Pieces that are likely to get far into the machine.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"GET /a/b HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        Just(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..24),
    ]
}

proptest! {
    #[test]
    fn any_split_tells_the_same(
        turns in proptest::collection::vec((any::<bool>(), piece()), 0..8),
        sizes in proptest::collection::vec(1usize..12, 1..8),
    ) {
        let turns: Vec<(Side, &[u8])> = turns.iter().map(|(client, bytes)| (if *client { C } else { S }, bytes.as_slice())).collect();
        let whole = tell(&turns, |_| usize::MAX, true);
        let split = tell(&turns, |piece| sizes[piece % sizes.len()], true);
        prop_assert_eq!(whole, split);
    }
}
