//! `cidr`: networks as the API server reads them, which is Go's `netip.Prefix` without IPv4 in IPv6 dress.
//!
//! Host bits may be set: such a network contains what its masked form contains, but is not equal to it.

use std::net::IpAddr;

use crate::cel::library::golang::quote;
use crate::cel::library::ip::address as ip;

/// An address and how many of its leading bits name the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cidr {
    pub(crate) address: IpAddr,
    pub(crate) bits: u8,
}

impl Cidr {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let cidr = Self::parse_prefix(text)
            .map_err(|e| format!("network address parse error during conversion from string: netip.ParsePrefix({}): {e}", quote(text)))?;
        if ip::mapped(&cidr.address) {
            return Err(format!("IPv4-mapped IPv6 address {} is not allowed", quote(text)));
        }
        Ok(cidr)
    }

    fn parse_prefix(text: &str) -> Result<Self, String> {
        let Some((address, bits)) = text.rsplit_once('/') else { return Err("no '/'".to_owned()) };
        let ip::Parsed { address, zoned } = ip::parse_any(address)?;
        if zoned {
            return Err("IPv6 zones cannot be present in a prefix".to_owned());
        }
        let bad = || format!("bad bits after slash: {}", quote(bits));
        // One digit may be any sign Go's reader of integers accepts alone, which is none; more may not start with a zero or sign.
        if bits.is_empty() || (bits.len() > 1 && !(b'1'..=b'9').contains(&bits.as_bytes()[0])) || !bits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let bits = bits.parse::<i64>().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        match u8::try_from(bits) {
            Ok(bits) if bits <= most => Ok(Self { address, bits }),
            _ => Err("prefix length out of range".to_owned()),
        }
    }

    /// The network with its host bits cleared.
    pub(crate) fn masked(&self) -> Self {
        Self { address: mask(&self.address, self.bits), bits: self.bits }
    }

    pub(crate) fn contains_ip(&self, address: &IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && mask(address, self.bits) == mask(&self.address, self.bits)
    }

    pub(crate) fn contains_cidr(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains_ip(&other.address)
    }

    /// Whole bytes that the prefix covers, which costs are counted by.
    pub(crate) fn size(&self) -> u64 {
        u64::from(self.bits.div_ceil(8))
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn mask(address: &IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into()),
    }
}

#[cfg(test)]
mod tests;
