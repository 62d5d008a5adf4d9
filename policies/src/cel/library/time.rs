//! Moments and spans: parts of them, in a zone if one is named, and their texts.

use std::sync::LazyLock;

use jiff::tz::TimeZoneDatabase;

use super::{Call, Function, Overload};
use crate::cel::error::EvalError;
use crate::cel::types::Type;
use crate::cel::value::{Duration, Timestamp, Value};

/// The zones compiled in, so that verdicts do not depend on the host.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

type Part = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// Name, overload ids without and with a zone, the part of a moment; then the overload id and part of a span, where it has one.
type Row = (&'static str, &'static str, &'static str, Part, Option<(&'static str, Part)>);

const PARTS: [Row; 10] = [
    ("getFullYear", "timestamp_to_year", "timestamp_to_year_with_tz", |a| part(a, |c| c.year), None),
    ("getMonth", "timestamp_to_month", "timestamp_to_month_with_tz", |a| part(a, |c| c.month - 1), None),
    ("getDayOfYear", "timestamp_to_day_of_year", "timestamp_to_day_of_year_with_tz", |a| part(a, Civil::day_of_year), None),
    ("getDayOfMonth", "timestamp_to_day_of_month", "timestamp_to_day_of_month_with_tz", |a| part(a, |c| c.day - 1), None),
    ("getDate", "timestamp_to_day_of_month_1_based", "timestamp_to_day_of_month_1_based_with_tz", |a| part(a, |c| c.day), None),
    ("getDayOfWeek", "timestamp_to_day_of_week", "timestamp_to_day_of_week_with_tz", |a| part(a, |c| (c.days + 4).rem_euclid(7)), None),
    (
        "getHours",
        "timestamp_to_hours",
        "timestamp_to_hours_with_tz",
        |a| part(a, |c| c.second / 3600),
        Some(("duration_to_hours", |a| whole(a, 3_600_000_000_000))),
    ),
    (
        "getMinutes",
        "timestamp_to_minutes",
        "timestamp_to_minutes_with_tz",
        |a| part(a, |c| c.second / 60 % 60),
        Some(("duration_to_minutes", |a| whole(a, 60_000_000_000))),
    ),
    (
        "getSeconds",
        "timestamp_to_seconds",
        "timestamp_to_seconds_tz",
        |a| part(a, |c| c.second % 60),
        Some(("duration_to_seconds", |a| whole(a, 1_000_000_000))),
    ),
    (
        "getMilliseconds",
        "timestamp_to_milliseconds",
        "timestamp_to_milliseconds_with_tz",
        |a| part(a, |c| c.nanosecond / 1_000_000),
        Some(("duration_to_milliseconds", |a| whole(a, 1_000_000))),
    ),
];

pub(crate) fn functions() -> Vec<Function> {
    PARTS
        .into_iter()
        .map(|(name, id, zoned_id, moment, span)| {
            let mut overloads = vec![
                Overload::member(id, [Type::Timestamp], Type::Int, Call::Values(moment)),
                Overload::member(zoned_id, [Type::Timestamp, Type::String], Type::Int, Call::Values(moment)),
            ];
            overloads.extend(span.map(|(id, call)| Overload::member(id, [Type::Duration], Type::Int, Call::Values(call))));
            Function { overloads, ..Function::new(name, []) }
        })
        .collect()
}

fn part<'a>(args: &[Value<'a>], of: fn(&Civil) -> i64) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Timestamp(moment)] => Ok(Value::Int(of(&Civil::at(*moment, 0)))),
        [Value::Timestamp(moment), Value::String(zone)] => Ok(Value::Int(of(&Civil::at(*moment, offset(*moment, zone)?)))),
        _ => Err(EvalError::no_overload("timestamp")),
    }
}

fn whole<'a>(args: &[Value<'a>], unit: i64) -> Result<Value<'a>, EvalError> {
    match args {
        [Value::Duration(span)] => Ok(Value::Int(span.nanoseconds() / unit)),
        _ => Err(EvalError::no_overload("duration")),
    }
}

/// Seconds to the east of UTC, of a zone by its name or of `+hh:mm`.
fn offset(moment: Timestamp, zone: &str) -> Result<i64, EvalError> {
    if let Some((hours, minutes)) = zone.split_once(':') {
        let number = |text: &str| text.parse::<i32>().map(i64::from).map_err(|_| EvalError::invalid(format!("invalid time zone offset {zone}")));
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        return Ok(60 * (hours * 60 + if zone.starts_with('-') { -minutes } else { minutes }));
    }
    if zone.is_empty() || zone == "UTC" {
        return Ok(0);
    }
    let unknown = || EvalError::invalid(format!("unknown time zone {zone}"));
    let found = ZONES.get(zone).map_err(|_| unknown())?;
    if found.iana_name() != Some(zone) {
        return Err(unknown());
    }
    let instant = jiff::Timestamp::from_second(moment.seconds()).unwrap_or(if moment.seconds() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX });
    Ok(i64::from(found.to_offset(instant).seconds()))
}

/// A moment by the calendar and the clock of some offset.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    /// Days since the epoch.
    days: i64,
    /// Within the day.
    second: i64,
    nanosecond: i64,
}

impl Civil {
    fn at(moment: Timestamp, offset: i64) -> Self {
        let local = moment.seconds() + offset;
        let days = local.div_euclid(86_400);
        // Years begin in March here, so that the day a leap year adds is the last.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: of_year - (153 * march_month + 2) / 5 + 1,
            days,
            second: local.rem_euclid(86_400),
            nanosecond: i64::from(moment.nanoseconds()),
        }
    }

    /// From 0.
    fn day_of_year(&self) -> i64 {
        self.days - days_from_civil(self.year, 1, 1)
    }
}

/// Days since the epoch.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `2006-01-02T15:04:05.999Z`, or with an offset, as Go's RFC 3339 reads it.
pub(super) fn parse_timestamp(text: &str) -> Option<Result<Timestamp, EvalError>> {
    let mut reader = Reader(text.as_bytes());
    let year = reader.digits(4, 4)?;
    let month = reader.after(b'-')?.digits(2, 2)?;
    let day = reader.after(b'-')?.digits(2, 2)?;
    let hour = reader.after(b'T')?.digits(1, 2)?;
    let minute = reader.after(b':')?.digits(2, 2)?;
    let second = reader.after(b':')?.digits(2, 2)?;
    let nanosecond = reader.fraction()?;
    let valid = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let offset = reader.offset()?;
    if !valid || !reader.0.is_empty() {
        return None;
    }
    let local = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let moment = Timestamp::new(local - i64::from(offset), nanosecond);
    Some(moment.map(|moment| moment.at_offset(offset)))
}

struct Reader<'t>(&'t [u8]);

impl Reader<'_> {
    fn after(&mut self, byte: u8) -> Option<&mut Self> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(self)
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        (count >= least).then(|| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    /// Nanoseconds after a dot or comma; what is finer is cut off.
    fn fraction(&mut self) -> Option<u32> {
        if !matches!(self.0.first(), Some(b'.' | b',')) {
            return Some(0);
        }
        self.0 = self.0.get(1..)?;
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        (count > 0).then(|| (0..9).fold(0, |number, place| number * 10 + digits.get(place).map_or(0, |digit| u32::from(digit - b'0'))))
    }

    fn offset(&mut self) -> Option<i32> {
        let sign = match self.0.first()? {
            b'Z' => {
                self.0 = self.0.get(1..)?;
                return Some(0);
            }
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.0 = self.0.get(1..)?;
        let hours = self.digits(2, 2)?;
        let minutes = self.after(b':')?.digits(2, 2)?;
        (hours <= 24 && minutes < 60).then_some(())?;
        i32::try_from(hours * 3_600 + minutes * 60).ok().map(|seconds| sign * seconds)
    }
}

/// RFC 3339 with the offset the moment was written with, and as many places of the second as it has.
pub(crate) fn format_timestamp(moment: Timestamp) -> String {
    let civil = Civil::at(moment, i64::from(moment.offset()));
    let (hour, minute, second) = (civil.second / 3_600, civil.second / 60 % 60, civil.second % 60);
    let mut text = format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}", civil.year, civil.month, civil.day);
    if civil.nanosecond > 0 {
        text.push_str(format!(".{:09}", civil.nanosecond).trim_end_matches('0'));
    }
    let minutes = moment.offset() / 60;
    match minutes {
        0 => text.push('Z'),
        _ => text.push_str(&format!("{}{:02}:{:02}", if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60)),
    }
    text
}

/// Go's syntax of spans: `-1h2.5m`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, i128); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("\u{b5}s", 1_000),
        ("\u{3bc}s", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Duration::from_nanoseconds(0));
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(*scale)?)?;
        let (mut place, mut parts) = (*scale, 0);
        for digit in fraction.bytes() {
            place /= 10;
            parts += i128::from(digit - b'0') * place;
        }
        total = total.checked_add(parts)?;
        rest = next;
    }
    i64::try_from(if negative { -total } else { total }).ok().map(Duration::from_nanoseconds)
}

/// Seconds as the shortest decimal that is the same double, and `s`.
pub(crate) fn format_duration(span: Duration) -> String {
    let (seconds, rest) = (span.nanoseconds() / 1_000_000_000, span.nanoseconds() % 1_000_000_000);
    format!("{}s", seconds as f64 + rest as f64 / 1e9)
}
