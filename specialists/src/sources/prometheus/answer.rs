//! The answer to a range query, read within bounds: so many series, so many points of each, only the labels that are asked for.
//! What is no finite number at a time of the range is left out. It knows nothing but bytes, so that it can be fuzzed alone.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Most series of an answer.
pub(crate) const MAX_SERIES: usize = 2_048;
/// Most points of a series.
pub(crate) const MAX_POINTS: usize = 512;
/// Longest value of a label.
pub(crate) const MAX_LABEL: usize = 253;

/// One series of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// Label `pod`; empty without one.
    pub(crate) pod: String,
    /// Label `deployment`; empty without one.
    pub(crate) deployment: String,
    /// Seconds and finite values, times rising.
    pub(crate) points: Vec<(i64, f64)>,
}

/// The series of an answer.
pub(crate) fn parse(body: &[u8]) -> Result<Vec<Found>, String> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match (answer.status.as_ref(), answer.data) {
        ("success", Some(Data { kind, result: Series(series) })) if kind == "matrix" => Ok(series),
        ("success", _) => Err("it is no matrix".into()),
        _ => Err("it is no success".into()),
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, rename = "resultType")]
    kind: Cow<'a, str>,
    result: Series,
}

struct Series(Vec<Found>);

#[derive(Deserialize)]
struct Entry {
    metric: Labels,
    // A native histogram as such has none; queries make numbers of them.
    #[serde(default)]
    values: Points,
}

#[derive(Default)]
struct Labels {
    pod: String,
    deployment: String,
}

#[derive(Default)]
struct Points(Vec<(i64, f64)>);

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> Visitor<'de> for Bounded {
            type Value = Series;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_SERIES} series")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Series, A::Error> {
                let mut series = Vec::new();
                while let Some(Entry { metric: Labels { pod, deployment }, values: Points(points) }) = entries.next_element()? {
                    if series.len() == MAX_SERIES {
                        return Err(A::Error::custom(format_args!("more than {MAX_SERIES} series")));
                    }
                    series.push(Found { pod, deployment, points });
                }
                Ok(Series(series))
            }
        }
        deserializer.deserialize_seq(Bounded)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted;
        impl<'de> Visitor<'de> for Wanted {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Labels::default();
                while let Some(name) = map.next_key::<Cow<'_, str>>()? {
                    let label = match name.as_ref() {
                        "pod" => &mut labels.pod,
                        "deployment" => &mut labels.deployment,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    let value: Cow<'_, str> = map.next_value()?;
                    // A longer one names nothing in Kubernetes.
                    *label = if value.len() <= MAX_LABEL { value.into_owned() } else { String::new() };
                }
                Ok(labels)
            }
        }
        deserializer.deserialize_map(Wanted)
    }
}

impl<'de> Deserialize<'de> for Points {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Finite;
        impl<'de> Visitor<'de> for Finite {
            type Value = Points;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_POINTS} points")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Points, A::Error> {
                let mut points: Vec<(i64, f64)> = Vec::new();
                let mut seen = 0_usize;
                while let Some((time, value)) = pairs.next_element::<(f64, Cow<'_, str>)>()? {
                    seen += 1;
                    if seen > MAX_POINTS {
                        return Err(A::Error::custom(format_args!("more than {MAX_POINTS} points in a series")));
                    }
                    let value = value.parse::<f64>().ok().filter(|value| value.is_finite());
                    let (Some(time), Some(value)) = (seconds(time), value) else { continue };
                    if points.last().is_none_or(|(last, _)| *last < time) {
                        points.push((time, value));
                    }
                }
                Ok(Points(points))
            }
        }
        deserializer.deserialize_seq(Finite)
    }
}

/// A Unix time that a range query can have asked for.
#[expect(clippy::cast_possible_truncation, reason = "within bounds that a whole number holds")]
fn seconds(time: f64) -> Option<i64> {
    (0.0..1e11).contains(&time).then(|| time.round() as i64)
}
