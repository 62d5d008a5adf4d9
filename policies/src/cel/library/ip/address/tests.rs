//! The facts of upstream's table, and the wording of every error.

use super::*;

#[test]
fn reads_what_upstream_reads() {
    for (text, written) in [
        ("192.168.0.1", "192.168.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("2001:db8::68", "2001:db8::68"),
        ("2001:DB8::68", "2001:db8::68"),
        ("2001:db8::0:0:0:abcd", "2001:db8::abcd"),
        ("::", "::"),
        ("::1", "::1"),
        ("1::", "1::"),
        ("::1.2.3.4", "::102:304"),
        ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
        ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
        ("::fffe:1.2.3.4", "::fffe:102:304"),
    ] {
        let address = parse(text).unwrap();
        assert_eq!(address.to_string(), written, "{text}");
        assert_eq!(is_canonical(text), Ok(text == written), "{text}");
    }
}

#[test]
fn refuses_in_upstreams_words() {
    for (text, message) in [
        ("", "unable to parse IP"),
        ("1", "unable to parse IP"),
        ("%", "missing IPv6 address"),
        ("1%", "missing IPv6 address"),
        ("192.168.0.1.0", "IPv4 address too long"),
        ("1.2.3", "IPv4 address too short"),
        ("1.2.3.", "IPv4 field must have at least one digit (at \".\")"),
        (".1.2.3", "IPv4 field must have at least one digit (at \".1.2.3\")"),
        ("1..2.3", "IPv4 field must have at least one digit (at \".2.3\")"),
        ("1.2.3.04", "IPv4 field has octet with leading zero"),
        ("127.0.0.256", "IPv4 field has value >255"),
        ("1.2.3.é", "unexpected character (at \"é\")"),
        (":::1", "each colon-separated field must have at least one digit (at \":1\")"),
        ("2001:db8:::68", "each colon-separated field must have at least one digit (at \":68\")"),
        ("1:2", "address string too short"),
        ("1:", "colon must be followed by more characters (at \":\")"),
        ("12345::", "each group must have 4 or less digits (at \"12345::\")"),
        ("1::2::3", "multiple :: in address (at \":3\")"),
        ("1:2:3:4:5:6:7::8", "the :: must expand to at least one field of zeros"),
        ("1:2:3:4:5:6:7:8::", "the :: must expand to at least one field of zeros"),
        ("1:2:3:4:5:6:7::", ""),
        ("1:1.2.3.4", "embedded IPv4 address must replace the final 2 fields of the address (at \"1.2.3.4\")"),
        ("::1:2:3:4:5:6:7:1.2.3.4", "too many hex fields to fit an embedded IPv4 at the end of the address (at \"1.2.3.4\")"),
        ("1:2:3:4:5:6:7:8:9", "trailing garbage after address (at \"9\")"),
        ("::1:2:3:4:5:6:7:8", "the :: must expand to at least one field of zeros"),
        ("1:2g", "unexpected character, want colon (at \"g\")"),
        ("fe80::1%", "zone must be a non-empty string"),
    ] {
        let wanted = format!("IP Address {0} parse error during conversion from string: ParseAddr({0}): {message}", quote(text));
        match parse(text) {
            Ok(_) => assert_eq!(message, "", "{text}"),
            Err(error) => assert_eq!(error, wanted),
        }
    }
    assert_eq!(parse("fe80::1%eth0").unwrap_err(), "IP address \"fe80::1%eth0\" with zone value is not allowed");
    assert_eq!(parse("::ffff:1.2.3.4").unwrap_err(), "IPv4-mapped IPv6 address \"::ffff:1.2.3.4\" is not allowed");
}

#[test]
fn classifies() {
    type Row = (&'static str, bool, bool, bool, bool, bool);
    let rows: [Row; 20] = [
        ("0.0.0.0", true, false, false, false, false),
        ("127.0.0.1", false, true, false, false, false),
        ("127.255.0.9", false, true, false, false, false),
        ("1.2.3.4", false, false, false, false, true),
        ("224.0.0.1", false, false, true, false, false),
        ("224.0.1.1", false, false, false, false, false),
        ("239.1.1.1", false, false, false, false, false),
        ("169.254.169.254", false, false, false, true, false),
        ("192.168.0.1", false, false, false, false, true),
        ("240.0.0.1", false, false, false, false, true),
        ("255.255.255.255", false, false, false, false, false),
        ("::", true, false, false, false, false),
        ("::1", false, true, false, false, false),
        ("2001:db8::abcd", false, false, false, false, true),
        ("ff02::1", false, false, true, false, false),
        ("ff12::1", false, false, true, false, false),
        ("ff00::1", false, false, false, false, false),
        ("fd00::1", false, false, false, false, true),
        ("fe80::1", false, false, false, true, false),
        ("fd80::1", false, false, false, false, true),
    ];
    for (text, unspecified, loopback, multicast, unicast, global) in rows {
        let address = parse(text).unwrap();
        assert_eq!(
            (address.is_unspecified(), address.is_loopback(), is_link_local_multicast(&address), is_link_local_unicast(&address), is_global_unicast(&address)),
            (unspecified, loopback, multicast, unicast, global),
            "{text}"
        );
    }
    assert_eq!([family(&parse("1.2.3.4").unwrap()), family(&parse("::1").unwrap())], [4, 6]);
}

#[test]
fn the_suites_undress_hexadecimal_ones() {
    assert_eq!(parse_mapped("::ffff:c0a8:1").unwrap().to_string(), "192.168.0.1");
    assert!(parse_mapped("::ffff:192.168.0.1").is_err());
    assert_eq!(parse_mapped("192.168.0.1").unwrap(), parse("192.168.0.1").unwrap());
}
