//! Literals: what a token says.

/// The text of a string or bytes token, decoded. Escapes of bytes are bytes, escapes of strings are code points.
pub(crate) fn unquote(token: &str, bytes: bool) -> Result<Vec<u8>, &'static str> {
    let quoted = token.trim_start_matches(['b', 'B']);
    let body = quoted.trim_start_matches(['r', 'R']);
    let raw = body.len() < quoted.len();
    let width = if body.len() >= 6 && (body.starts_with("'''") || body.starts_with("\"\"\"")) { 3 } else { 1 };
    let inner = body.get(width..body.len().saturating_sub(width)).ok_or("unable to unescape string")?;
    let text = inner.replace("\r\n", "\n").replace('\r', "\n");
    if raw || !text.contains('\\') { Ok(text.into_bytes()) } else { unescape(&text, bytes) }
}

fn unescape(text: &str, bytes: bool) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(backslash) = rest.find('\\') {
        let (plain, escape) = rest.split_at(backslash);
        out.extend_from_slice(plain.as_bytes());
        let mut characters = escape.chars();
        characters.next();
        let letter = characters.next().ok_or("unable to unescape string, found '\\' as last character")?;
        rest = characters.as_str();
        if let Some(byte) = simple(letter) {
            out.push(byte);
            continue;
        }
        let (digits, radix) = match letter {
            'x' | 'X' => (2, 16),
            'u' if !bytes => (4, 16),
            'U' if !bytes => (8, 16),
            '0'..='3' => (3, 8),
            _ => return Err("unable to unescape string"),
        };
        let from = if radix == 8 { escape.get(1..) } else { Some(rest) };
        let code = from.and_then(|from| from.get(..digits)).filter(|code| code.chars().all(|digit| digit.is_digit(radix)));
        let code = code.ok_or("unable to unescape string")?;
        rest = from.and_then(|from| from.get(digits..)).unwrap_or_default();
        let value = u32::from_str_radix(code, radix).map_err(|_| "unable to unescape string")?;
        if bytes {
            out.push(u8::try_from(value).map_err(|_| "unable to unescape string")?);
        } else {
            let character = char::from_u32(value).ok_or("invalid unicode code point")?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

fn simple(letter: char) -> Option<u8> {
    Some(match letter {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '\'' => b'\'',
        '"' => b'"',
        '`' => b'`',
        '?' => b'?',
        _ => return None,
    })
}

/// An integer token, with its sign.
pub(crate) fn int(token: &str, negative: bool) -> Option<i64> {
    let (digits, radix) = digits(token);
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    i64::try_from(if negative { -value } else { value }).ok()
}

/// An unsigned token, with its `u`.
pub(crate) fn uint(token: &str) -> Option<u64> {
    let (digits, radix) = digits(token.trim_end_matches(['u', 'U']));
    u64::from_str_radix(digits, radix).ok()
}

fn digits(token: &str) -> (&str, u32) {
    token.strip_prefix("0x").map_or((token, 10), |hex| (hex, 16))
}

/// A floating point token, with its sign; one too large for its type is none.
pub(crate) fn double(token: &str, negative: bool) -> Option<f64> {
    let value: f64 = token.parse().ok()?;
    value.is_finite().then_some(if negative { -value } else { value })
}
