//! What the errors of Redis mean.

use crate::observe::statement::{Code, Trouble};

/// The code and the meaning of the error `line`; none where there is no error.
pub(super) fn error(line: &[u8]) -> Option<(Code, Trouble)> {
    let first = line.split(|byte| *byte == b' ').next().filter(|first| !first.is_empty())?;
    let usual = first.len() <= 16 && first.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_');
    // Scripts make errors of their own, of which any word may be a value.
    let code = if usual { first } else { b"ERR" };
    Some((Code::of(code), trouble(code, line)))
}

/// Whether the server says this to a client that it does not let in, before any question.
pub(super) fn refuses(line: &[u8]) -> bool {
    line.starts_with(b"ERR max number of clients") || line.starts_with(b"DENIED ")
}

/// Whether a session that gets this error cannot be used yet.
pub(super) fn bars(trouble: Trouble) -> bool {
    matches!(trouble, Trouble::Authentication | Trouble::Unavailable)
}

fn trouble(code: &[u8], line: &[u8]) -> Trouble {
    match code {
        b"NOAUTH" | b"WRONGPASS" | b"DENIED" => Trouble::Authentication,
        b"ERR" if line.starts_with(b"ERR invalid password") || line.starts_with(b"ERR Client sent AUTH") => Trouble::Authentication,
        b"ERR" if line.starts_with(b"ERR AUTH <password> called without any password") => Trouble::Authentication,
        b"ERR" if line.starts_with(b"ERR max number of clients") => Trouble::TooManyConnections,
        b"ERR" if line.starts_with(b"ERR Error running script") && line.ends_with(b"killed by user") => Trouble::Cancelled,
        b"READONLY" => Trouble::ReadOnly,
        b"LOADING" | b"MASTERDOWN" | b"BUSY" | b"NOREPLICAS" => Trouble::Unavailable,
        b"MOVED" | b"ASK" | b"CLUSTERDOWN" | b"TRYAGAIN" => Trouble::Moved,
        b"OOM" | b"MISCONF" => Trouble::Resources,
        b"UNBLOCKED" => Trouble::Cancelled,
        _ => Trouble::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_errors_apart_and_keeps_no_literal() {
        for (line, code, expected) in [
            ("NOAUTH Authentication required.", "NOAUTH", Trouble::Authentication),
            ("WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS", Trouble::Authentication),
            ("ERR AUTH <password> called without any password configured for the default user.", "ERR", Trouble::Authentication),
            ("ERR max number of clients reached", "ERR", Trouble::TooManyConnections),
            ("READONLY You can't write against a read only replica.", "READONLY", Trouble::ReadOnly),
            ("LOADING Redis is loading the dataset in memory", "LOADING", Trouble::Unavailable),
            ("MASTERDOWN Link with MASTER is down", "MASTERDOWN", Trouble::Unavailable),
            ("BUSY Redis is busy running a script.", "BUSY", Trouble::Unavailable),
            ("MOVED 3999 127.0.0.1:6381", "MOVED", Trouble::Moved),
            ("ASK 3999 127.0.0.1:6381", "ASK", Trouble::Moved),
            ("CLUSTERDOWN Hash slot not served", "CLUSTERDOWN", Trouble::Moved),
            ("OOM command not allowed when used memory > 'maxmemory'.", "OOM", Trouble::Resources),
            ("MISCONF Redis is configured to save RDB snapshots", "MISCONF", Trouble::Resources),
            ("UNBLOCKED client unblocked via CLIENT UNBLOCK", "UNBLOCKED", Trouble::Cancelled),
            ("WRONGTYPE Operation against a key", "WRONGTYPE", Trouble::Other),
            ("BUSYGROUP Consumer Group name already exists", "BUSYGROUP", Trouble::Other),
            ("hunter2 is the password", "ERR", Trouble::Other),
        ] {
            let (told, trouble) = error(line.as_bytes()).unwrap();
            assert_eq!((told.as_str(), trouble), (code, expected), "{line}");
        }
        assert_eq!(error(b""), None);
    }
}
