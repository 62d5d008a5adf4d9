//! From bytes to a review. A body in which the judge saw another value than the API server would be a hole, so whatever two
//! readers could read differently is refused: duplicate keys, invalid UTF-8, a second document. Memory and nesting are
//! bounded while reading, before anything is built from them. It judges nothing.
//!
//! It stands apart from the rest of the crate (JSON only), so that the fuzz targets can include it as it is.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::wire::{API_VERSION, KIND, Request, Review};

/// Most bytes of a body. The API server reads at most 3 MiB of a request, and a review shows the object before and after;
/// the rest is for what it adds (defaults, managed fields, options, the user). An object of that size whose text swells in
/// JSON (`<` takes six bytes) does not fit and is refused.
pub const MAX_BYTES: usize = 8 << 20;
/// Deepest nesting of a body, counted from the review itself. The API server takes 10,000 levels, but no built-in kind and
/// none of ours comes near this, and everything else that reads these objects (live reads, digests, expressions) walks them
/// recursively and ends at 128.
pub const MAX_DEPTH: usize = 120;
/// Most memory that a body may become, in bytes: small values such as `0` or `{}` grow thirty-fold and more. Two objects of
/// 3 MiB with ordinary keys and values take about 100 MiB.
pub const MAX_MEMORY: usize = 128 << 20;
/// Steps of a path that are named in an error, and the longest of them in bytes.
const MAX_STEPS: usize = 12;
const MAX_STEP: usize = 64;
const OPERATIONS: [&str; 4] = ["CREATE", "UPDATE", "DELETE", "CONNECT"];

/// Why a body is not a review: what is wrong, where, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than [`MAX_BYTES`].
    #[error("the body has {bytes} bytes, and at most {MAX_BYTES} are read: make the object smaller")]
    TooLarge {
        /// As far as is known.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("the body is not UTF-8 at byte {at}: send JSON as the API server writes it")]
    Encoding {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// It ends too early.
    #[error("the body ends early, after {bytes} bytes, in `{path}`: send it whole")]
    Truncated {
        /// Length of what came.
        bytes: usize,
        /// What was being read.
        path: String,
    },
    /// Not JSON.
    #[error("the body is not JSON in `{path}`: {reason}")]
    Syntax {
        /// What was being read.
        path: String,
        /// With line and column.
        reason: String,
    },
    /// Deeper than [`MAX_DEPTH`].
    #[error("`{path}` is nested deeper than {MAX_DEPTH} levels: flatten the object")]
    Deep {
        /// Its outermost steps.
        path: String,
    },
    /// A key that occurs twice.
    #[error("`{path}` has the key `{key}` twice, so two readers could see two values: name it once")]
    Duplicate {
        /// The object that has it.
        path: String,
        /// The key.
        key: String,
    },
    /// More values than [`MAX_MEMORY`] can hold.
    #[error("the body has too many values, from `{path}` on: they take more than {MAX_MEMORY} bytes; make the object smaller")]
    Memory {
        /// Where the memory ran out.
        path: String,
    },
    /// Another kind of document.
    #[error("the body is `{api_version}` `{kind}`: send `{API_VERSION}` `{KIND}`")]
    Version {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// Nothing is wrong with it, but reading it was broken off.
    #[error("the body was not read: send it again")]
    Unread,
    /// A field that is missing or of the wrong type.
    #[error("`{path}`: {reason}")]
    Field {
        /// The field, or the object that lacks it.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Who sent a body and what an answer must echo, read without building anything of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The request's uid; empty where it cannot be read.
    pub uid: String,
    /// The requesting user's name.
    pub username: String,
}

/// What is counted while a body is read, and what ended the reading.
#[derive(Default)]
struct Meter {
    memory: Cell<usize>,
    fault: RefCell<Option<Fault>>,
    /// Innermost first; filled on the way out after an error.
    path: RefCell<Vec<String>>,
}

enum Fault {
    Deep,
    Duplicate(String),
    Memory,
}

/// Reads one value at a depth.
#[derive(Clone, Copy)]
struct Reader<'m> {
    meter: &'m Meter,
    depth: usize,
}

/// Reads a key, which costs memory too.
struct Key<'m>(&'m Meter);

/// Reads the body of a review: bounded, strict, and whole.
///
/// # Errors
/// See [`BodyError`].
pub fn read(bytes: &[u8]) -> Result<Review, BodyError> {
    let mut review = value(bytes)?;
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map_or_else(String::new, shortened);
    let (api_version, kind) = (text(&review, "apiVersion"), text(&review, "kind"));
    if (api_version.as_str(), kind.as_str()) != (API_VERSION, KIND) {
        return Err(BodyError::Version { api_version, kind });
    }
    let request = review.get_mut("request").map_or(Value::Null, Value::take);
    if !request.is_object() {
        return Err(BodyError::Field { path: "request".into(), reason: "it is missing or no object: send what is to be judged".into() });
    }
    let request: Request = serde_path_to_error::deserialize(request).map_err(|error| BodyError::Field {
        path: shortened(&format!("request.{}", error.path())).trim_end_matches(".").to_owned(),
        reason: shortened(&error.inner().to_string()),
    })?;
    plausible(&request)?;
    Ok(Review { api_version, kind, request: Some(request), response: None })
}

/// Who sent `bytes`, if that can be told. It is for queues and answers, never for a verdict.
#[must_use]
pub fn sender(bytes: &[u8]) -> Option<Sender> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        request: Asked<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Asked<'a> {
        #[serde(borrow)]
        uid: Cow<'a, str>,
        #[serde(borrow)]
        user_info: User<'a>,
    }
    #[derive(Deserialize)]
    struct User<'a> {
        #[serde(borrow, default)]
        username: Cow<'a, str>,
    }
    let body: Body<'_> = serde_json::from_slice(bytes).ok()?;
    Some(Sender { uid: body.request.uid.into_owned(), username: body.request.user_info.username.into_owned() })
}

/// Any JSON within the bounds.
fn value(bytes: &[u8]) -> Result<Value, BodyError> {
    if bytes.len() > MAX_BYTES {
        return Err(BodyError::TooLarge { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| BodyError::Encoding { at: error.valid_up_to() })?;
    let meter = Meter::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Reader { meter: &meter, depth: 1 }.deserialize(&mut deserializer);
    read.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| meter.explain(bytes.len(), &error))
}

/// What the API server always sends, and what judging relies on.
fn plausible(request: &Request) -> Result<(), BodyError> {
    let wrong = |field: &str, reason: String| Err(BodyError::Field { path: format!("request.{field}"), reason });
    if request.uid.is_empty() {
        return wrong("uid", "it is empty: send the uid that the answer is to echo".into());
    }
    if !OPERATIONS.contains(&request.operation.as_str()) {
        return wrong("operation", format!("`{}` is none of {}", shortened(&request.operation), OPERATIONS.join(", ")));
    }
    for (field, object) in [("object", &request.object), ("oldObject", &request.old_object), ("options", &request.options)] {
        if !object.is_object() && !object.is_null() {
            return wrong(field, "it is neither an object nor null".into());
        }
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(256);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

// === impl Meter ===

impl Meter {
    fn charge<E: serde::de::Error>(&self, bytes: usize) -> Result<(), E> {
        let memory = self.memory.get().saturating_add(bytes);
        self.memory.set(memory);
        if memory <= MAX_MEMORY { Ok(()) } else { Err(self.fail(Fault::Memory)) }
    }

    fn fail<E: serde::de::Error>(&self, fault: Fault) -> E {
        *self.fault.borrow_mut() = Some(fault);
        E::custom("refused")
    }

    fn step(&self, step: impl fmt::Display) {
        self.path.borrow_mut().push(format!("{step:.MAX_STEP$}"));
    }

    fn explain(self, bytes: usize, error: &serde_json::Error) -> BodyError {
        let steps = self.path.into_inner();
        let path = steps.iter().rev().take(MAX_STEPS).map(String::as_str).collect::<Vec<_>>().join(".");
        let path = match steps.len() {
            0 => "the body".to_owned(),
            1..=MAX_STEPS => path,
            _ => format!("{path}.…"),
        };
        match self.fault.into_inner() {
            Some(Fault::Deep) => BodyError::Deep { path },
            Some(Fault::Duplicate(key)) => BodyError::Duplicate { path, key: format!("{key:.MAX_STEP$}") },
            Some(Fault::Memory) => BodyError::Memory { path },
            None if error.is_eof() => BodyError::Truncated { bytes, path },
            None => BodyError::Syntax { path, reason: shortened(&error.to_string()) },
        }
    }
}

// === impl Reader ===

impl<'m> Reader<'m> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth > MAX_DEPTH {
            return Err(self.meter.fail(Fault::Deep));
        }
        Ok(Self { meter: self.meter, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.meter.charge(allocated(value))?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        loop {
            match items.next_element_seed(inner) {
                Ok(Some(item)) => {
                    let before = array.capacity();
                    array.push(item);
                    if array.capacity() > before {
                        self.meter.charge((array.capacity() - before).saturating_mul(size_of::<Value>()))?;
                    }
                }
                Ok(None) => return Ok(Value::Array(array)),
                Err(error) => {
                    self.meter.step(array.len());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        let mut room = 0;
        while let Some(key) = entries.next_key_seed(Key(self.meter))? {
            if object.contains_key(&key) {
                return Err(self.meter.fail(Fault::Duplicate(key)));
            }
            if object.len() == room {
                // As the map grows: three entries, seven, and twice as many each time.
                let grown = if room < 7 { room + 3 + usize::from(room > 0) } else { room.saturating_mul(2) };
                self.meter.charge((grown - room).saturating_mul(ENTRY))?;
                room = grown;
            }
            match entries.next_value_seed(inner) {
                Ok(value) => object.insert(key, value),
                Err(error) => {
                    self.meter.step(key);
                    return Err(error);
                }
            };
        }
        Ok(Value::Object(object))
    }
}

// === impl Key ===

/// What room for one entry of an object takes: hash, key, value, and its place in the table.
const ENTRY: usize = size_of::<String>() + size_of::<Value>() + 4 * size_of::<usize>();

/// What a text takes on the heap, the allocator's own bytes included.
fn allocated(text: &str) -> usize {
    if text.is_empty() { 0 } else { text.len().saturating_add(2 * size_of::<usize>()).max(4 * size_of::<usize>()) }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<String, E> {
        self.0.charge(allocated(key))?;
        Ok(key.to_owned())
    }
}

#[cfg(test)]
mod tests;
