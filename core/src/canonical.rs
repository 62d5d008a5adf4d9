//! One byte string for one value: JSON with sorted keys, no spaces and integers only, and its SHA-256.
//!
//! Everything that is signed, recorded or compared by digest goes through here, so two processes (or two versions) that mean
//! the same thing write the same bytes. Fractions are refused: their text differs between writers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Deepest nesting that is written; deeper input is refused, so that hostile input cannot exhaust the stack.
const MAX_DEPTH: usize = 64;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value cannot be expressed as JSON at all.
    #[error("value is not representable as JSON")]
    Serialize(#[source] serde_json::Error),
    /// A number with a fraction or an exponent.
    #[error("number `{0}` is not an integer")]
    Fraction(String),
    /// More than 64 levels of nesting.
    #[error("value is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
}

/// The canonical text of `value`.
pub fn text<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    let value = serde_json::to_value(value).map_err(Error::Serialize)?;
    let mut out = String::new();
    write(&value, &mut out, 0)?;
    Ok(out)
}

fn write(value: &Value, out: &mut String, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::TooDeep);
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) if number.is_i64() || number.is_u64() => out.push_str(&number.to_string()),
        Value::Number(number) => return Err(Error::Fraction(number.to_string())),
        Value::String(text) => write_string(text, out)?,
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out, depth + 1)?;
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(key, out)?;
                out.push(':');
                write(fields.get(key).unwrap_or(&Value::Null), out, depth + 1)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn write_string(text: &str, out: &mut String) -> Result<(), Error> {
    out.push_str(&serde_json::to_string(text).map_err(Error::Serialize)?);
    Ok(())
}

/// A SHA-256 digest as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

// === impl Digest ===

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// The digest of the canonical text of `value`.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        Ok(Self::of_bytes(text(value)?.as_bytes()))
    }

    /// The 32 bytes that the digits stand for.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        // Only these digits are ever in it.
        let value = |digit: u8| if digit.is_ascii_digit() { digit.wrapping_sub(b'0') } else { digit.wrapping_sub(b'a').wrapping_add(10) };
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(self.0.as_bytes().as_chunks().0) {
            *byte = value(*high) << 4 | value(*low);
        }
        bytes
    }

    /// The 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let valid = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if valid { Ok(Self(text)) } else { Err("a digest is 64 lower-case hexadecimal digits".into()) }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn key_order_and_spacing_do_not_change_the_text() {
        let left: Value = serde_json::from_str(r#"{ "b": [1, true], "a": {"y": null, "x": "\u00e9\n"} }"#).unwrap();
        assert_eq!(text(&left).unwrap(), "{\"a\":{\"x\":\"é\\n\",\"y\":null},\"b\":[1,true]}");
    }

    #[test]
    fn fractions_are_refused() {
        assert!(matches!(text(&json!({"p": 0.5})), Err(Error::Fraction(_))));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut value = json!(1);
        for _ in 0..80 {
            value = json!([value]);
        }
        assert!(matches!(text(&value), Err(Error::TooDeep)));
    }

    #[test]
    fn a_digest_is_64_hex_digits() {
        assert!(serde_json::from_str::<Digest>("\"abc\"").is_err());
        let digest = Digest::of_bytes(b"");
        assert!(digest.as_str().starts_with("e3b0c442"));
        assert_eq!(hex::encode(digest.bytes()), digest.as_str());
        assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
    }
}
