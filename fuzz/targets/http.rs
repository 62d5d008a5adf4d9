//! Conversations that may be HTTP/1 or HTTP/2: the same is told however the bytes are cut, and every request has one end.
#![no_main]

#[path = "support/turns.rs"]
mod turns;

#[path = "../../sidecar/src/observe"]
mod observe {
    pub(crate) mod http;
    pub(crate) mod http1;
    pub(crate) mod http2;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Side {
        Client,
        Server,
    }
}

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use observe::Side;
use observe::http::Http;
use observe::http1::Event;
use turns::{Turn, turns};

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

fn tell(turns: &[Turn<'_>], size: usize) -> Vec<Event> {
    let (mut told, mut http, mut at) = (Vec::new(), Http::default(), start());
    for (client, bytes) in turns {
        at += Duration::from_millis(1);
        for piece in bytes.chunks(size) {
            http.bytes(if *client { Side::Client } else { Side::Server }, piece, at, &mut |event| told.push(event));
            // Such a connection is let go at a stop.
            assert!(!http.idle() || open(&told) == 0, "idle with a request on its way");
        }
    }
    http.end(at, &mut |event| told.push(event));
    told
}

/// Requests without an end.
fn open(told: &[Event]) -> usize {
    let begun = told.iter().filter(|event| matches!(event, Event::Begin { .. })).count();
    let ended = told.iter().filter(|event| matches!(event, Event::End { .. } | Event::NoResponse { .. } | Event::Forget { .. })).count();
    begun - ended
}

fuzz_target!(|data: &[u8]| {
    let Some((size, data)) = data.split_first() else { return };
    let turns = turns(data);
    let whole = tell(&turns, usize::MAX);
    let (mut begun, mut ended) = (0, 0);
    for event in &whole {
        match event {
            Event::Begin { .. } => begun += 1,
            Event::Informational { .. } | Event::Traced(_) | Event::Answering { .. } => {}
            Event::End { status, .. } => {
                assert!((100..1000).contains(status), "status {status}");
                ended += 1;
            }
            Event::NoResponse { .. } | Event::Forget { .. } => ended += 1,
        }
        assert!(ended <= begun, "an end without a request");
    }
    assert_eq!(begun, ended);
    let size = usize::from(*size) % 16 + 1;
    assert_eq!(whole, tell(&turns, size), "cut into pieces of {size}");
});
