//! Datagrams of the kernel's socket dump: any bytes, any number of them, are read or refused.
#![no_main]

#[path = "../../sidecar/src/kernel/sock_diag.rs"]
#[expect(dead_code, reason = "nothing is asked of the kernel here")]
mod sock_diag;

mod observe {
    pub(crate) mod flows {
        /// As the sidecar has it.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Sample {
            pub(crate) rtt_us: u32,
            pub(crate) min_rtt_us: u32,
            pub(crate) retransmits: u64,
            pub(crate) lost: u32,
            pub(crate) receiver_limited_us: u64,
            pub(crate) sender_limited_us: u64,
        }
    }
}

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut samples = HashMap::new();
    // A socket's message is never shorter than its header and fixed part.
    if sock_diag::parse(data, &mut samples).is_ok() {
        assert!(samples.len() <= data.len() / 88, "{} sockets in {} bytes", samples.len(), data.len());
    }
});
