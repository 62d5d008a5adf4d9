//! Transport headers: one that is read is read from its own encoding again, and nothing behind it is touched.
#![no_main]

#[path = "support/chunked.rs"]
mod chunked;
#[path = "../../sidecar/src/transport.rs"]
#[expect(dead_code, reason = "the sidecar uses all of it")]
mod transport;

use chunked::{Chunked, run};
use libfuzzer_sys::fuzz_target;
use transport::Header;

fn read(data: &[u8], size: usize) -> (Option<Header>, usize) {
    let mut stream = Chunked { rest: data, size };
    let header = run(Header::read(&mut stream));
    (header.ok(), stream.rest.len())
}

fuzz_target!(|data: &[u8]| {
    let Some((size, data)) = data.split_first() else { return };
    let (header, rest) = read(data, usize::MAX);
    let cut = read(data, usize::from(*size) + 1);
    assert_eq!(cut, (header.clone(), rest), "cut into pieces of {size} and one");
    if let Some(header) = header {
        let mut again = header.encode();
        again.extend_from_slice(b"data");
        // Encoded without what it does not know, it cannot have grown.
        assert_eq!(read(&again, usize::MAX), (Some(header), 4));
    }
});
