//! `ip`: addresses as the API server reads them, which is Go's `netip` without zones and without IPv4 in IPv6 dress.
//!
//! The standard library accepts and words things differently, so texts are read here; it holds the address and writes it, which
//! it does in the same canonical form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cel::library::golang::quote;

/// An address that may carry a zone, before the API server's own rules.
pub(crate) struct Parsed {
    pub(crate) address: IpAddr,
    pub(crate) zoned: bool,
}

/// Reads an address that policies may use.
pub(crate) fn parse(text: &str) -> Result<IpAddr, String> {
    let address = unzoned(text)?;
    if mapped(&address) {
        return Err(refuse_mapped(text));
    }
    Ok(address)
}

/// Reads an address as the language itself has it: IPv4 in IPv6 dress is that IPv4 address, unless it is written with dots.
pub(crate) fn parse_mapped(text: &str) -> Result<IpAddr, String> {
    let address = unzoned(text)?;
    if mapped(&address) && text.contains('.') { Err(refuse_mapped(text)) } else { Ok(address.to_canonical()) }
}

fn refuse_mapped(text: &str) -> String {
    format!("IPv4-mapped IPv6 address {} is not allowed", quote(text))
}

fn unzoned(text: &str) -> Result<IpAddr, String> {
    let parsed = parse_any(text).map_err(|e| format!("IP Address {} parse error during conversion from string: {e}", quote(text)))?;
    if parsed.zoned {
        return Err(format!("IP address {} with zone value is not allowed", quote(text)));
    }
    Ok(parsed.address)
}

/// Whether the address is `::ffff:a.b.c.d`.
pub(crate) fn mapped(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

pub(crate) fn is_canonical(text: &str) -> Result<bool, String> {
    parse(text).map(|address| address.to_string() == text)
}

pub(crate) fn family(address: &IpAddr) -> i64 {
    if address.is_ipv4() { 4 } else { 6 }
}

/// Length in bytes, which costs are counted by.
pub(crate) fn size(address: &IpAddr) -> u64 {
    if address.is_ipv4() { 4 } else { 16 }
}

pub(crate) fn is_link_local_multicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

pub(crate) fn is_link_local_unicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

pub(crate) fn is_global_unicast(address: &IpAddr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_link_local_unicast(address)
        || *address == IpAddr::V4(Ipv4Addr::BROADCAST))
}

/// Reads as `netip.ParseAddr`, errors in its words.
pub(crate) fn parse_any(text: &str) -> Result<Parsed, String> {
    match text.bytes().find(|b| matches!(b, b'.' | b':' | b'%')) {
        Some(b'.') => v4_fields(text, text).map(|fields| Parsed { address: IpAddr::V4(fields.into()), zoned: false }),
        Some(b':') => parse_v6(text),
        Some(_) => Err(failure(text, "missing IPv6 address", "")),
        None => Err(failure(text, "unable to parse IP", "")),
    }
}

fn failure(text: &str, message: &str, at: &str) -> String {
    let at = if at.is_empty() { String::new() } else { format!(" (at {})", quote(at)) };
    format!("ParseAddr({}): {message}{at}", quote(text))
}

/// Four decimal fields; `whole` is what errors quote.
fn v4_fields(whole: &str, text: &str) -> Result<[u8; 4], String> {
    let bytes = text.as_bytes();
    let (mut fields, mut position, mut value, mut digits) = ([0; 4], 0, 0_u16, 0);
    for (i, &byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                if digits == 1 && value == 0 {
                    return Err(failure(whole, "IPv4 field has octet with leading zero", ""));
                }
                value = value * 10 + u16::from(byte - b'0');
                digits += 1;
                fields[position] = u8::try_from(value).map_err(|_| failure(whole, "IPv4 field has value >255", ""))?;
            }
            b'.' => {
                if i == 0 || i == bytes.len() - 1 || bytes[i - 1] == b'.' {
                    return Err(failure(whole, "IPv4 field must have at least one digit", &text[i..]));
                }
                if position == 3 {
                    return Err(failure(whole, "IPv4 address too long", ""));
                }
                position += 1;
                (value, digits) = (0, 0);
            }
            _ => return Err(failure(whole, "unexpected character", text.get(i..).unwrap_or_default())),
        }
    }
    if position < 3 { Err(failure(whole, "IPv4 address too short", "")) } else { Ok(fields) }
}

fn parse_v6(text: &str) -> Result<Parsed, String> {
    let fail = |message, at| Err(failure(text, message, at));
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    if zone == Some("") {
        return fail("zone must be a non-empty string", "");
    }
    let parsed = |octets: [u8; 16]| Ok(Parsed { address: IpAddr::V6(Ipv6Addr::from(octets)), zoned: zone.is_some() });
    let mut octets = [0_u8; 16];
    let mut ellipsis = None;
    let mut rest = address;
    if let Some(after) = rest.strip_prefix("::") {
        ellipsis = Some(0);
        rest = after;
        if rest.is_empty() {
            return parsed(octets);
        }
    }
    let mut filled = 0;
    while filled < 16 {
        let (group, digits) = hex_group(text, rest)?;
        if rest.as_bytes().get(digits) == Some(&b'.') {
            if ellipsis.is_none() && filled != 12 {
                return fail("embedded IPv4 address must replace the final 2 fields of the address", rest);
            }
            if filled + 4 > 16 {
                return fail("too many hex fields to fit an embedded IPv4 at the end of the address", rest);
            }
            octets[filled..filled + 4].copy_from_slice(&v4_fields(text, rest)?);
            rest = "";
            filled += 4;
            break;
        }
        octets[filled..filled + 2].copy_from_slice(&group.to_be_bytes());
        filled += 2;
        rest = &rest[digits..];
        if rest.is_empty() {
            break;
        }
        let Some(after) = rest.strip_prefix(':') else { return fail("unexpected character, want colon", rest) };
        if after.is_empty() {
            return fail("colon must be followed by more characters", rest);
        }
        rest = after;
        if let Some(after) = rest.strip_prefix(':') {
            if ellipsis.is_some() {
                return fail("multiple :: in address", rest);
            }
            ellipsis = Some(filled);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
    if !rest.is_empty() {
        return fail("trailing garbage after address", rest);
    }
    match ellipsis {
        None if filled < 16 => fail("address string too short", ""),
        Some(_) if filled == 16 => fail("the :: must expand to at least one field of zeros", ""),
        Some(at) => {
            octets.copy_within(at..filled, 16 - (filled - at));
            octets[at..16 - (filled - at)].fill(0);
            parsed(octets)
        }
        None => parsed(octets),
    }
}

/// Up to four hexadecimal digits, and how many they were.
fn hex_group(text: &str, rest: &str) -> Result<(u16, usize), String> {
    let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
    match digits {
        0 => Err(failure(text, "each colon-separated field must have at least one digit", rest)),
        1..=4 => Ok((u16::from_str_radix(&rest[..digits], 16).unwrap_or_default(), digits)),
        _ => Err(failure(text, "each group must have 4 or less digits", rest)),
    }
}

#[cfg(test)]
mod tests;
