//! The first bytes of connections: what they are does not depend on how they arrive, and none is lost.
#![no_main]

#[path = "support/chunked.rs"]
mod chunked;
#[path = "../../sidecar/src/hello.rs"]
mod hello;
#[path = "../../sidecar/src/transport.rs"]
#[expect(dead_code, reason = "only its protocol name is needed here")]
mod transport;

use chunked::{Chunked, run};
use hello::Hello;
use libfuzzer_sys::fuzz_target;

fn read(data: &[u8], size: usize) -> (Hello, usize) {
    let mut stream = Chunked { rest: data, size };
    let (hello, taken) = run(hello::read(&mut stream)).expect("reading from memory");
    assert!(data.starts_with(&taken) && data[taken.len()..] == *stream.rest, "bytes were lost");
    (hello, taken.len())
}

fuzz_target!(|data: &[u8]| {
    let Some((size, data)) = data.split_first() else { return };
    let (whole, _) = read(data, usize::MAX);
    if let Hello::Tls { server_name: Some(name), .. } = &whole {
        assert!(name.is_ascii() && name.len() <= 255, "{name:?}");
    }
    assert_eq!(whole, read(data, usize::from(*size) + 1).0);
});
