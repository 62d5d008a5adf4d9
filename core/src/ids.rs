//! Names and units that travel everywhere, each parsed once.

use serde::{Deserialize, Serialize};

/// A moment in milliseconds since the Unix epoch. Which clock it is from is said where it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

// === impl UnixMillis ===

impl UnixMillis {
    /// Milliseconds from `earlier` to here; negative when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment plus `millis`.
    #[must_use]
    pub fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// As people read it: RFC 3339 in UTC, with milliseconds only where there are some.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let (days, of_day) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        // Days since the first of March of year 0, in eras of 400 years: leap days come last in each of its parts.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let (seconds, millis) = (of_day / 1_000, of_day % 1_000);
        let part = if millis == 0 { String::new() } else { format!(".{millis:03}") };
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{part}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
    }
}

/// A probability or a share in millionths, at most one million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Millionths(u32);

// === impl Millionths ===

impl Millionths {
    /// `value` millionths, capped at one.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(if value > 1_000_000 { 1_000_000 } else { value })
    }

    /// The number of millionths.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Millionths {
    type Error = String;

    fn try_from(value: u32) -> Result<Self, String> {
        if value <= 1_000_000 { Ok(Self(value)) } else { Err(format!("`{value}` millionths is more than one")) }
    }
}

impl From<Millionths> for u32 {
    fn from(value: Millionths) -> Self {
        value.0
    }
}

impl std::fmt::Display for Millionths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02} %", self.0 / 10_000, (self.0 % 10_000) / 100)
    }
}

/// The one identifier of an incident, from the first anomaly to the last API write: a UUIDv7 in lower case. Its 128 bits are
/// also the W3C trace id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IncidentUid(String);

// === impl IncidentUid ===

impl IncidentUid {
    /// The 36 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The UID of what was only recorded and is no incident of a cluster.
    #[must_use]
    pub fn of_no_cluster() -> Self {
        Self("00000000-0000-7000-8000-000000000000".to_owned())
    }

    /// The 128 bits as 32 hexadecimal digits: the W3C trace id of the whole story.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.replace('-', "")
    }
}

impl TryFrom<String> for IncidentUid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let valid = text.len() == 36
            && text.char_indices().all(|(at, c)| match at {
                8 | 13 | 18 | 23 => c == '-',
                14 => c == '7',
                _ => c.is_ascii_digit() || ('a'..='f').contains(&c),
            });
        if valid { Ok(Self(text)) } else { Err("an Incident-UID is a UUIDv7 in lower case".into()) }
    }
}

impl From<IncidentUid> for String {
    fn from(uid: IncidentUid) -> Self {
        uid.0
    }
}

impl std::fmt::Display for IncidentUid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A field of knowledge. A seat judges causes of its own domain and may veto remedies that harm it; the change seat answers
/// for `application`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Domain {
    /// Links, mesh and TCP.
    Network,
    /// CPU, memory, pressure, nodes.
    Compute,
    /// Databases and caches as their protocol shows them.
    Database,
    /// Code, configuration, rollouts: what people changed.
    Application,
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Compute => "compute",
            Self::Database => "database",
            Self::Application => "application",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_uid_is_a_uuid_v7() {
        let uid = IncidentUid::try_from("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()).unwrap();
        assert_eq!(uid.trace_id(), "01890a5dac96774bbcceb302099a8057");
        for bad in ["", "01890a5d-ac96-474b-bcce-b302099a8057", "01890A5D-ac96-774b-bcce-b302099a8057", "../../../../../../../../../../../etc/x"] {
            assert!(IncidentUid::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moment_is_written_as_people_read_it() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(UnixMillis(millis).rfc3339(), text);
        }
        assert!(UnixMillis(i64::MIN).rfc3339().starts_with('-') && UnixMillis(i64::MAX).rfc3339().ends_with(".807Z"));
    }

    #[test]
    fn more_than_one_is_not_a_share() {
        assert!(serde_json::from_str::<Millionths>("1000001").is_err());
        assert_eq!(Millionths::new(873_400).to_string(), "87.34 %");
    }
}
