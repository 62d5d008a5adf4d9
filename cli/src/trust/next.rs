//! What comes next in a rotation, as a value of how things stand.

use std::fmt;

use assent_runtime::workload::rotation::Status;

use super::moment;

/// The next step, or what to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The Roster pins other roots than are trusted.
    Pin,
    /// Some namespace lacks the bundle with both roots.
    Publish,
    /// Until everybody has read it.
    WaitToIssue(u64),
    Issue,
    /// Until no certificate under the old root lives.
    WaitToDrop(u64),
    Drop,
    Nothing,
}

/// What is next at `now`; nothing is `pinned` where there is no Roster.
pub(super) fn next(status: &Status, pinned: Option<&[String]>, now: u64) -> Next {
    let agrees = |pinned: &[String]| {
        let trusted = |root: &String| status.trusted().any(|trusted| trusted.fingerprint == *root);
        pinned.iter().all(trusted) && status.trusted().all(|trusted| pinned.contains(&trusted.fingerprint))
    };
    match (&status.other, status.ready) {
        _ if !pinned.is_none_or(agrees) => Next::Pin,
        (None, _) => Next::Nothing,
        (Some(other), _) if other.used_until > now => Next::WaitToDrop(other.used_until),
        (Some(other), _) if other.used_until > 0 => Next::Drop,
        (Some(_), None) => Next::Publish,
        (Some(_), Some(ready)) if ready > now => Next::WaitToIssue(ready),
        (Some(_), Some(_)) => Next::Issue,
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin => f.write_str("`kubectl assent trust pin --apply`: votes count under the roots that the Roster pins"),
            Self::Publish => f.write_str("wait until every namespace has the bundle with both roots; the identity service's log says what is in the way"),
            Self::WaitToIssue(at) => write!(f, "wait until {}, then `kubectl assent trust issue`", moment(*at)),
            Self::Issue => f.write_str("`kubectl assent trust issue`: certificates come from the new root"),
            Self::WaitToDrop(at) => write!(f, "wait until {}, then `kubectl assent trust drop`", moment(*at)),
            Self::Drop => f.write_str("`kubectl assent trust drop`: no certificate under the old root lives"),
            Self::Nothing => f.write_str("nothing; `kubectl assent trust begin` starts a rotation"),
        }
    }
}

#[cfg(test)]
mod tests {
    use assent_runtime::workload::rotation::Root;

    use super::*;

    fn status(other_used_until: Option<u64>, ready: Option<u64>) -> Status {
        let root = |name: &str, used_until| Root { fingerprint: name.to_owned(), expires: 9_000, used_until };
        Status { issuing: root("a", 0), other: other_used_until.map(|until| root("b", until)), ready, outcome: None }
    }

    #[test]
    fn each_standing_has_one_next_step() {
        let (one, both) = (["a".to_owned()], ["b".to_owned(), "a".to_owned()]);
        let cases = [
            (status(None, None), Some(&one[..]), Next::Nothing),
            (status(None, None), Some(&both), Next::Pin),
            (status(None, None), None, Next::Nothing),
            (status(Some(0), None), Some(&one), Next::Pin),
            (status(Some(0), None), Some(&both), Next::Publish),
            (status(Some(0), Some(101)), Some(&both), Next::WaitToIssue(101)),
            (status(Some(0), Some(100)), Some(&both), Next::Issue),
            (status(Some(0), Some(100)), None, Next::Issue),
            (status(Some(101), Some(50)), Some(&both), Next::WaitToDrop(101)),
            (status(Some(100), Some(50)), Some(&both), Next::Drop),
        ];
        for (status, pinned, expected) in cases {
            assert_eq!(next(&status, pinned, 100), expected, "{status:?} {pinned:?}");
        }
    }
}
