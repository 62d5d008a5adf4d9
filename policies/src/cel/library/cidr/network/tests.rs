//! The facts of upstream's table, and the wording of every error.

use super::*;

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text).unwrap()
}

#[test]
fn contains() {
    for (network, other, contained) in [
        ("192.168.0.0/24", "192.168.0.0/25", true),
        ("192.168.0.0/24", "192.168.0.1/32", true),
        ("192.168.0.0/24", "192.168.0.0/24", true),
        ("192.168.0.0/24", "192.168.0.0/23", false),
        ("192.168.0.0/24", "192.169.0.1/32", false),
        ("192.168.0.7/24", "192.168.0.200/32", true),
        ("0.0.0.0/0", "1.2.3.4/32", true),
        ("0.0.0.0/0", "::/0", false),
        ("::/0", "1.2.3.4/32", false),
        ("2001:db8::/32", "2001:db8::/33", true),
        ("2001:db8::/32", "2001:db8::/31", false),
        ("2001:db8::/128", "2001:db8::/128", true),
        ("2001:db8::/127", "2001:db8::1/128", true),
        ("2001:db8::/127", "2001:db8::2/128", false),
    ] {
        assert_eq!(cidr(network).contains_cidr(&cidr(other)), contained, "{network} {other}");
        let by_address = cidr(network).contains_ip(&cidr(other).address);
        assert!(by_address || !contained, "{network} {other}");
    }
    assert!(cidr("192.168.0.0/24").contains_ip(&"192.168.0.1".parse().unwrap()));
    assert!(!cidr("192.168.0.0/24").contains_ip(&"192.168.1.1".parse().unwrap()));
}

#[test]
fn masks_and_writes() {
    for (text, masked, bits, size) in [
        ("192.168.0.0/24", "192.168.0.0/24", 24, 3),
        ("192.168.0.1/24", "192.168.0.0/24", 24, 3),
        ("1.2.3.4/0", "0.0.0.0/0", 0, 0),
        ("1.2.3.4/25", "1.2.3.0/25", 25, 4),
        ("2001:db8:1::/32", "2001:db8::/32", 32, 4),
        ("::1/128", "::1/128", 128, 16),
    ] {
        assert_eq!((cidr(text).masked().to_string().as_str(), cidr(text).bits, cidr(text).size()), (masked, bits, size), "{text}");
        assert_eq!(cidr(text).to_string(), text);
    }
    assert_ne!(cidr("192.168.0.1/24"), cidr("192.168.0.0/24"));
}

#[test]
fn refuses_in_upstreams_words() {
    for (text, message) in [
        ("192.168.0.0/", "bad bits after slash: \"\""),
        ("192.168.0.0", "no '/'"),
        ("192.168.0.0/33", "prefix length out of range"),
        ("::1/129", "prefix length out of range"),
        ("1.2.3.4/024", "bad bits after slash: \"024\""),
        ("1.2.3.4/+1", "bad bits after slash: \"+1\""),
        ("1.2.3.4/-", "bad bits after slash: \"-\""),
        ("1.2.3.4/99999999999999999999", "bad bits after slash: \"99999999999999999999\""),
        ("fe80::1%a/64", "IPv6 zones cannot be present in a prefix"),
        ("1.2.3/24", "ParseAddr(\"1.2.3\"): IPv4 address too short"),
        ("/", "ParseAddr(\"\"): unable to parse IP"),
    ] {
        let wanted = format!("network address parse error during conversion from string: netip.ParsePrefix({}): {message}", quote(text));
        assert_eq!(Cidr::parse(text).unwrap_err(), wanted);
    }
    assert_eq!(Cidr::parse("::ffff:1.2.3.4/24").unwrap_err(), "IPv4-mapped IPv6 address \"::ffff:1.2.3.4/24\" is not allowed");
}
