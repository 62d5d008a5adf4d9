//! Conversations with databases: a decoder says the same however the bytes are cut, ends what it began, and bounds its words.
#![no_main]

#[path = "support/turns.rs"]
mod turns;

#[path = "../../sidecar/src/observe"]
#[expect(dead_code, reason = "the sidecar uses all of it")]
mod observe {
    pub(crate) mod mysql;
    pub(crate) mod postgres;
    pub(crate) mod redis;
    pub(crate) mod sql;
    pub(crate) mod statement;
    mod transaction;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Side {
        Client,
        Server,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum End {
        Closed,
        Reset,
    }
}

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use observe::statement::{Class, Code, Decoder, Event, MAX_NAME, MAX_SUMMARY, Statement};
use observe::{End, Side};
use turns::{Turn, turns};

const SYSTEMS: [fn() -> Box<dyn Decoder>; 3] =
    [|| Box::<observe::postgres::Postgres>::default(), || Box::<observe::mysql::Mysql>::default(), || Box::<observe::redis::Redis>::default()];

/// The same in every run, so that what is told can be compared.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// What a decoder tells of `turns`, given at most `size` bytes at a time.
fn tell(mut decoder: Box<dyn Decoder>, turns: &[Turn<'_>], size: usize) -> Vec<Event> {
    let mut told = Vec::new();
    let mut at = start();
    for (client, bytes) in turns {
        at += Duration::from_millis(1);
        for piece in bytes.chunks(size) {
            decoder.bytes(if *client { Side::Client } else { Side::Server }, piece, at, &mut |event| told.push(event));
        }
    }
    decoder.end(End::Closed, at, &mut |event| told.push(event));
    told
}

fn check(events: &[Event]) {
    let mut open = Vec::new();
    for event in events {
        match event {
            Event::Asked(asked) => open.push(*asked),
            Event::Done(Statement { asked, answered, ended, class, error, .. }) => {
                assert!(asked <= answered && answered <= ended, "an answer before its question");
                let Class { operation, collection, summary } = class;
                assert!(operation.len() <= MAX_NAME && collection.len() <= MAX_NAME && summary.len() <= MAX_SUMMARY, "{class:?}");
                error.iter().for_each(|(code, _)| bounded(code));
                close(&mut open, *asked);
            }
            Event::Forgotten(asked) => close(&mut open, *asked),
            Event::Refused(code, _) => bounded(code),
            Event::Transaction { length, idle, .. } => assert!(idle <= length, "idle for longer than it was open"),
            Event::Ready { .. } | Event::Encrypted | Event::Opaque => {}
        }
    }
    assert!(open.is_empty(), "{} questions without an end", open.len());
}

fn bounded(code: &Code) {
    assert!(code.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{code:?}");
}

fn close(open: &mut Vec<Instant>, asked: Instant) {
    let place = open.iter().position(|open| *open == asked).expect("an end without a question");
    open.swap_remove(place);
}

// The first byte chooses the system and how the bytes are cut the second time.
fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let decoder = SYSTEMS[usize::from(*choice) % SYSTEMS.len()];
    let turns = turns(data);
    let whole = tell(decoder(), &turns, usize::MAX);
    check(&whole);
    let size = usize::from(*choice) / SYSTEMS.len() % 16 + 1;
    assert_eq!(whole, tell(decoder(), &turns, size), "cut into pieces of {size}");
});
