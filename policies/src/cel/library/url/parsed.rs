//! `url`: absolute URLs as Go's `net/url` reads them.
//!
//! Percent signs are undone to bytes, which need not be text; where the language must have text, other bytes become the replacement
//! character. Nothing is resolved, normalised or fetched.

use std::fmt::Write as _;

use crate::cel::library::golang::quote;
use crate::cel::library::ip::address as ip;

/// Which characters may stand for themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Host,
    Zone,
    User,
    Query,
    Fragment,
}

/// Whether a host name of http(s) may hold more than one colon: Go accepted that until 1.26, Kubernetes until 1.36.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colons {
    /// The last one starts the port.
    Lenient,
    /// Refused.
    Strict,
}

/// With more pairs than this, Go gives up on a query and returns none.
const MOST_PAIRS: usize = 10_000;

/// A parsed URL.
#[derive(Clone, Debug, Default)]
pub(crate) struct Url {
    scheme: String,
    opaque: String,
    user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    host: Vec<u8>,
    path: Vec<u8>,
    raw_path: String,
    raw_query: String,
    force_query: bool,
    fragment: Vec<u8>,
    raw_fragment: String,
    omit_host: bool,
}

/// Whether the text is an absolute URL, by the rule for request lines; the error is what the `uri` format reports.
pub(crate) fn check(text: &str, colons: Colons) -> Result<(), String> {
    parse(text, true, colons).map(drop).map_err(|e| format!("parse {}: {e}", quote(text)))
}

impl Url {
    pub(crate) fn parse(text: &str, colons: Colons) -> Result<Self, String> {
        let context = |e: String| format!("URL parse error during conversion from string: {e}");
        check(text, colons).map_err(context)?;
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = parse(rest, false, colons).map_err(|e| context(format!("parse {}: {e}", quote(rest))))?;
        if !fragment.is_empty() {
            url.fragment = unescape(fragment, Part::Fragment).map_err(|e| context(format!("parse {}: {e}", quote(text))))?;
            url.raw_fragment = if escape(&url.fragment, Part::Fragment) == fragment { String::new() } else { fragment.to_owned() };
        }
        Ok(url)
    }

    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    pub(crate) fn host(&self) -> String {
        text(&self.host)
    }

    pub(crate) fn hostname(&self) -> String {
        text(self.split_host().0)
    }

    pub(crate) fn port(&self) -> String {
        text(self.split_host().1)
    }

    fn split_host(&self) -> (&[u8], &[u8]) {
        let (mut name, mut port) = (self.host.as_slice(), [].as_slice());
        if let Some(colon) = name.iter().rposition(|b| *b == b':')
            && valid_port(&name[colon..])
        {
            (name, port) = (&self.host[..colon], &self.host[colon + 1..]);
        }
        (name.strip_prefix(b"[").and_then(|n| n.strip_suffix(b"]")).unwrap_or(name), port)
    }

    pub(crate) fn escaped_path(&self) -> String {
        escaped(&self.path, &self.raw_path, Part::Path)
    }

    /// Keys in order of first appearance, each with its values in order. What cannot be read is left out.
    pub(crate) fn query(&self) -> Vec<(String, Vec<String>)> {
        let mut out: Vec<(String, Vec<String>)> = Vec::new();
        if self.raw_query.matches('&').count() >= MOST_PAIRS {
            return out;
        }
        let mut places = std::collections::HashMap::new();
        for pair in self.raw_query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Ok(key), Ok(value)) = (unescape(key, Part::Query), unescape(value, Part::Query)) {
                let place = *places.entry(key.clone()).or_insert_with(|| {
                    out.push((text(&key), Vec::new()));
                    out.len() - 1
                });
                out[place].1.push(text(&value));
            }
        }
        out
    }
}

impl PartialEq for Url {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        if !self.scheme.is_empty() {
            out = format!("{}:", self.scheme);
        }
        if self.opaque.is_empty() {
            let named = !self.host.is_empty() || self.user.is_some();
            if named || !self.scheme.is_empty() && !self.omit_host {
                if named || !self.path.is_empty() {
                    out.push_str("//");
                }
                if let Some((name, password)) = &self.user {
                    out.push_str(&escape(name, Part::User));
                    if let Some(password) = password {
                        out.push(':');
                        out.push_str(&escape(password, Part::User));
                    }
                    out.push('@');
                }
                out.push_str(&escape(&self.host, Part::Host));
            }
            let path = self.escaped_path();
            if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
                out.push('/');
            }
            if out.is_empty() && path.split('/').next().is_some_and(|first| first.contains(':')) {
                out.push_str("./");
            }
            out.push_str(&path);
        } else {
            out.push_str(&self.opaque);
        }
        if self.force_query || !self.raw_query.is_empty() {
            out.push('?');
            out.push_str(&self.raw_query);
        }
        if !self.fragment.is_empty() {
            out.push('#');
            out.push_str(&escaped(&self.fragment, &self.raw_fragment, Part::Fragment));
        }
        f.write_str(&out)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parse(raw: &str, request: bool, colons: Colons) -> Result<Url, String> {
    if raw.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    if raw.is_empty() && request {
        return Err("empty url".to_owned());
    }
    let mut url = Url::default();
    if raw == "*" {
        url.path = b"*".to_vec();
        return Ok(url);
    }
    let (scheme, rest) = scheme(raw)?;
    url.scheme = scheme.to_ascii_lowercase();
    let mut rest = rest;
    if rest.ends_with('?') && rest.matches('?').count() == 1 {
        url.force_query = true;
        rest = &rest[..rest.len() - 1];
    } else if let Some((before, query)) = rest.split_once('?') {
        url.raw_query = query.to_owned();
        rest = before;
    }
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            url.opaque = rest.to_owned();
            return Ok(url);
        }
        if request {
            return Err("invalid URI for request".to_owned());
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    if (!url.scheme.is_empty() || (!request && !rest.starts_with("///"))) && rest.starts_with("//") {
        let authority = &rest[2..];
        let (authority, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
        rest = path;
        let scheme = url.scheme.clone();
        (url.user, url.host) = parse_authority(&scheme, authority, colons)?;
    } else if !url.scheme.is_empty() && rest.starts_with('/') {
        url.omit_host = true;
    }
    url.path = unescape(rest, Part::Path)?;
    if escape(&url.path, Part::Path) != rest {
        url.raw_path = rest.to_owned();
    }
    Ok(url)
}

fn scheme(raw: &str) -> Result<(&str, &str), String> {
    for (i, byte) in raw.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i > 0 => return Ok((&raw[..i], &raw[i + 1..])),
            b':' => return Err("missing protocol scheme".to_owned()),
            _ => break,
        }
    }
    Ok(("", raw))
}

type User = Option<(Vec<u8>, Option<Vec<u8>>)>;

fn parse_authority(scheme: &str, authority: &str, colons: Colons) -> Result<(User, Vec<u8>), String> {
    let Some((user, host)) = authority.rsplit_once('@') else { return Ok((None, parse_host(scheme, authority, colons)?)) };
    let host = parse_host(scheme, host, colons)?;
    if !user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b)) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let (name, password) = user.split_once(':').map_or((user, None), |(name, password)| (name, Some(password)));
    let name = unescape(name, Part::User)?;
    Ok((Some((name, password.map(|p| unescape(p, Part::User)).transpose()?)), host))
}

fn valid_port(port: &[u8]) -> bool {
    port.is_empty() || (port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit))
}

fn parse_host(scheme: &str, host: &str, colons: Colons) -> Result<Vec<u8>, String> {
    let bad_port = |port: &str| format!("invalid port {} after host", quote(port));
    match host.rfind('[') {
        Some(0) => {}
        Some(_) => return Err("invalid IP-literal".to_owned()),
        None => {
            if let (Some(first), Some(last)) = (host.find(':'), host.rfind(':')) {
                let strict = colons == Colons::Strict && matches!(scheme, "http" | "https");
                let port = &host[if strict { first } else { last }..];
                if !valid_port(port.as_bytes()) {
                    return Err(bad_port(port));
                }
            }
            return unescape(host, Part::Host);
        }
    }
    let Some(close) = host.rfind(']') else { return Err("missing ']' in host".to_owned()) };
    let port = &host[close + 1..];
    if !valid_port(port.as_bytes()) {
        return Err(bad_port(port));
    }
    let port = unescape(port, Part::Host)?;
    let literal = &host[1..close];
    let (address, zone) = literal.split_at(literal.find("%25").unwrap_or(literal.len()));
    let mut name = unescape(address, Part::Host)?;
    name.extend(unescape(zone, Part::Zone)?);
    let parsed = ip::parse_any(&text(&name)).map_err(|e| format!("invalid host: {e}"))?;
    if parsed.address.is_ipv4() {
        return Err("invalid IP-literal".to_owned());
    }
    Ok([b"[", name.as_slice(), b"]", &port].concat())
}

/// Whether the byte may stand for itself in that part.
fn plain(byte: u8, part: Part) -> bool {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => true,
        b'!' | b'(' | b')' | b'*' => matches!(part, Part::Host | Part::Zone | Part::Fragment),
        b'"' | b'\'' | b'<' | b'>' | b'[' | b']' => matches!(part, Part::Host | Part::Zone),
        b'$' | b'&' | b'+' | b'=' | b';' | b',' => part != Part::Query,
        b':' => !matches!(part, Part::User | Part::Query),
        b'@' => matches!(part, Part::Path | Part::Fragment),
        b'/' => matches!(part, Part::Path | Part::Fragment),
        b'?' => part == Part::Fragment,
        _ => false,
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

fn unescape(raw: &str, part: Part) -> Result<Vec<u8>, String> {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let byte = bytes[i];
        let host = matches!(part, Part::Host | Part::Zone);
        if byte == b'%' {
            let fail = |end: usize| Err(format!("invalid URL escape {}", quote(&text(&bytes[i..end.min(bytes.len())]))));
            let (Some(high), Some(low)) = (bytes.get(i + 1).copied().and_then(hex), bytes.get(i + 2).copied().and_then(hex)) else { return fail(i + 3) };
            let value = high << 4 | low;
            let percent = value == b'%';
            // Only bytes beyond ASCII may be escaped in a host; a zone may hold what a host may, and a space.
            if part == Part::Host && high < 8 && !percent || part == Part::Zone && !percent && value != b' ' && !plain(value, Part::Host) {
                return fail(i + 3);
            }
            out.push(value);
            i += 3;
            continue;
        }
        if host && byte < 0x80 && !plain(byte, part) {
            return Err(format!("invalid character {} in host name", quote(&raw[i..=i])));
        }
        out.push(if byte == b'+' && part == Part::Query { b' ' } else { byte });
        i += 1;
    }
    Ok(out)
}

fn escape(bytes: &[u8], part: Part) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if plain(byte, part) {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The escaping that was written, if it is one of what was meant; else the usual one.
fn escaped(value: &[u8], raw: &str, part: Part) -> String {
    let valid = |b: u8| b"!$&'()*+,;=:@[]%".contains(&b) || plain(b, part);
    if !raw.is_empty() && raw.bytes().all(valid) && unescape(raw, part).is_ok_and(|v| v == value) {
        return raw.to_owned();
    }
    if part == Part::Path && value == b"*" { "*".to_owned() } else { escape(value, part) }
}

#[cfg(test)]
mod tests;
