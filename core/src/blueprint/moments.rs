//! When Assent may act by itself (windows of the week, in UTC) and when nobody of its kind may (freezes, from a moment to a
//! moment).

use crate::ids::UnixMillis;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const MINUTE_MS: i64 = 60_000;
/// The names of a week's days as people write them; 1 January 1970 was a Thursday.
pub(super) const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A part of some days of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Days, 0 is Monday.
    pub days: Vec<u8>,
    /// First minute of the day that is in it.
    pub from: u16,
    /// First minute of the day that is behind it.
    pub until: u16,
}

/// A time in which nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// First moment of it.
    pub from: UnixMillis,
    /// First moment after it.
    pub until: UnixMillis,
    /// Why, for people.
    pub reason: String,
}

// === impl Window ===

impl Window {
    /// Whether `now` is in it.
    #[must_use]
    pub fn is_open(&self, now: UnixMillis) -> bool {
        let day = (now.0.div_euclid(DAY_MS) + 3).rem_euclid(7);
        let minute = now.0.rem_euclid(DAY_MS) / MINUTE_MS;
        self.days.iter().any(|open| i64::from(*open) == day) && (i64::from(self.from)..i64::from(self.until)).contains(&minute)
    }
}

// === impl Freeze ===

impl Freeze {
    /// Whether `now` is in it.
    #[must_use]
    pub fn holds(&self, now: UnixMillis) -> bool {
        (self.from..self.until).contains(&now)
    }
}

/// The minute of `HH:MM`; `24:00` is the end of the day.
pub(super) fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (u16::try_from(digits(hour, 2)?).ok()?, u16::try_from(digits(minute, 2)?).ok()?);
    let at = hour * 60 + minute;
    (minute < 60 && at <= 24 * 60).then_some(at)
}

/// The moment of an RFC 3339 time in whole seconds.
pub(crate) fn moment(text: &str) -> Option<UnixMillis> {
    let (date, rest) = text.split_at_checked(10)?;
    let clock = rest.strip_prefix(['T', 't'])?;
    let (clock, zone) = clock.split_at_checked(8)?;
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let mut parts = clock.splitn(3, ':');
    let (hour, minute, second) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => 31,
    };
    if year < 1970 || !(1..=12).contains(&month) || !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let (sign, behind) = zone.split_at_checked(1)?;
            let (hours, minutes) = behind.split_once(':')?;
            let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
            let ahead = hours * 60 + minutes;
            match sign {
                _ if hours > 23 || minutes > 59 => return None,
                "+" => ahead,
                "-" => -ahead,
                _ => return None,
            }
        }
    };
    // Days since 1970, counted in years that begin in March: the leap day is then the last of its year.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day - 1 - 719_468;
    Some(UnixMillis(((days * 24 + hour) * 60 + minute - offset) * MINUTE_MS + second * 1000))
}

fn digits(text: &str, length: usize) -> Option<i64> {
    if text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_on_its_days_and_between_its_minutes() {
        let window = Window { days: vec![3], from: 60, until: 120 };
        // The epoch was a Thursday.
        for (at, open) in [(0, false), (60, true), (119, true), (120, false), (24 * 60 + 60, false), (7 * 24 * 60 + 60, true), (-7 * 24 * 60 + 60, true)] {
            assert_eq!(window.is_open(UnixMillis(at * MINUTE_MS)), open, "{at}");
        }
    }

    #[test]
    fn times_of_day() {
        for (text, wanted) in [("00:00", Some(0)), ("09:30", Some(570)), ("24:00", Some(1440)), ("24:01", None), ("9:00", None), ("09:60", None), ("", None)] {
            assert_eq!(minute(text), wanted, "{text}");
        }
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:02+01:00", 2_000),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2026-11-27T10:00:00-05:30", 1_795_793_400_000),
            ("2100-03-01T00:00:00z", 4_107_542_400_000),
        ] {
            assert_eq!(moment(text), Some(UnixMillis(wanted)), "{text}");
        }
        for bad in [
            "",
            "soon",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+24:00",
            "1969-12-31T00:00:00Z",
            "2026-01-0\u{e9}T00:00:00Z",
        ] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }
}
