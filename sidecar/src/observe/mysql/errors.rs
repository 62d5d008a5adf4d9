//! What the errors of MySQL and MariaDB mean.

use super::fields::Fields;
use crate::observe::statement::{Code, Trouble};

/// MariaDB's report of progress, in the shape of an error.
pub(super) const PROGRESS: u16 = 0xffff;
pub(super) const DEADLOCK: u16 = 1213;

/// The number in an error packet.
pub(super) fn number(packet: &[u8]) -> Option<u16> {
    u16::try_from(Fields(packet.get(1..)?).number(2)?).ok()
}

pub(super) fn error(number: u16) -> (Code, Trouble) {
    (Code::of(number.to_string().as_bytes()), trouble(number))
}

fn trouble(number: u16) -> Trouble {
    match number {
        // 1129 is a host blocked for its failed attempts, 3118 and 4151 are locked accounts, 1862 an expired password.
        1044 | 1045 | 1129 | 1130 | 1251 | 1524 | 1698 | 1820 | 1862 | 3118 | 4151 => Trouble::Authentication,
        1040 | 1203 | 1226 => Trouble::TooManyConnections,
        // 1020 is MariaDB's record changed since the snapshot.
        1020 | DEADLOCK | 1614 | 3101 => Trouble::Deadlock,
        1205 | 3572 => Trouble::LockTimeout,
        1290 | 1792 | 1836 => Trouble::ReadOnly,
        // 1047 is a node of Galera that has not joined.
        1047 | 1053 => Trouble::Unavailable,
        1021 | 1037 | 1038 | 1041 | 1114 | 1135 => Trouble::Resources,
        // 1969 is MariaDB's `max_statement_time`, 1927 a connection that was killed, 4031 one idle for too long.
        1317 | 1927 | 1969 | 3024 | 4031 => Trouble::Cancelled,
        _ => Trouble::Other,
    }
}
