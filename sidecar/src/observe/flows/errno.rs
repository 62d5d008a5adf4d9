//! With which error a connection ended, as far as dashboards tell them apart.

use std::io::ErrorKind;

/// Names of the label `errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    None,
    Reset,
    Pipe,
    TimedOut,
    /// Among them an end of TLS that nobody announced.
    Other,
}

// === impl Errno ===

impl Errno {
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::Reset, Self::Pipe, Self::TimedOut, Self::Other];

    pub(super) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::ConnectionReset => Self::Reset,
            ErrorKind::BrokenPipe => Self::Pipe,
            ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Reset => "ECONNRESET",
            Self::Pipe => "EPIPE",
            Self::TimedOut => "ETIMEDOUT",
            Self::Other => "other",
        }
    }
}
