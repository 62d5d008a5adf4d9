//! Datagrams of the kernel's socket dump: any bytes, any number of them, are read or refused.
#![no_main]

#[path = "../../sidecar/src/kernel/bytes.rs"]
#[allow(dead_code, reason = "other readers of the kernel's tables use the rest")]
mod bytes;
#[path = "../../sidecar/src/kernel/sock_diag.rs"]
#[expect(dead_code, reason = "nothing is asked of the kernel here")]
mod sock_diag;
#[path = "../../sidecar/src/kernel/tcp_info.rs"]
#[expect(dead_code, reason = "nothing is asked of the kernel here")]
mod tcp_info;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut left, mut told) = (sock_diag::MAX_SOCKETS, 0);
    // A socket's message is never shorter than its header and fixed part.
    if sock_diag::parse(data, &mut left, &mut |_, _| told += 1).is_ok() {
        assert!(told <= data.len() / 88 && told <= sock_diag::MAX_SOCKETS - left, "{told} sockets in {} bytes", data.len());
    }
});
