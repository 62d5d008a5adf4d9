//! The facts of upstream's table, and the wording of every error.

use super::*;

#[test]
fn reads_strictly() {
    for text in ["1.2.3-beta.1+build.1", "1.2.3", "0.0.0", "1.0.0-a-b.--", "1.0.0+001", "18446744073709551615.0.0", "1.0.0-0"] {
        assert!(Semver::parse(text).is_ok(), "{text}");
    }
    for (text, message) in [
        ("", "Version string empty"),
        ("v1.0", "No Major.Minor.Patch elements found"),
        ("1", "No Major.Minor.Patch elements found"),
        ("v1.0.0", "Invalid character(s) found in major number \"v1\""),
        (" 1.0.0", "Invalid character(s) found in major number \" 1\""),
        ("1. 0.0", "Invalid character(s) found in minor number \" 0\""),
        ("1.0.0 ", "Invalid character(s) found in patch number \"0 \""),
        ("01.01.01", "Major number must not contain leading zeroes \"01\""),
        ("1.01.01", "Minor number must not contain leading zeroes \"01\""),
        ("1.1.01", "Patch number must not contain leading zeroes \"01\""),
        ("1..3", "strconv.ParseUint: parsing \"\": invalid syntax"),
        ("1.2.", "strconv.ParseUint: parsing \"\": invalid syntax"),
        ("18446744073709551616.0.0", "strconv.ParseUint: parsing \"18446744073709551616\": value out of range"),
        ("1.0.0-", "Prerelease is empty"),
        ("1.0.0-a..b", "Prerelease is empty"),
        ("1.0.0-01", "Numeric PreRelease version must not contain leading zeroes \"01\""),
        ("1.0.0-a_b", "Invalid character(s) found in prerelease \"a_b\""),
        ("1.0.0+", "Build meta data is empty"),
        ("1.0.0+é", "Invalid character(s) found in build meta data \"é\""),
        ("1.0.0.0", "Invalid character(s) found in patch number \"0.0\""),
    ] {
        assert_eq!(Semver::parse(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn reads_leniently() {
    for (text, version) in
        [("v1.0.0", "1.0.0"), ("01.01.01", "1.1.1"), ("1", "1.0.0"), ("1.1", "1.1.0"), ("v01.01", "1.1.0"), ("00.000.0-0", "0.0.0-0"), ("1.2.003-x", "1.2.3-x")]
    {
        assert_eq!(Semver::parse_normalized(text).unwrap().to_string(), version, "{text}");
    }
    for text in ["", "v", " 1.0.0", "1. 0.0", "1.0.0 ", "vv1.0.0", "1.1-beta", "1+b", "1.1.0-01"] {
        assert!(Semver::parse_normalized(text).is_err(), "{text}");
    }
}

#[test]
fn orders() {
    let sorted = ["0.9.9", "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-a", "1.0.0-a.1", "1.0.0-a.b", "1.0.0-b", "1.0.0", "1.2.3", "1.10.0", "2.0.0"];
    for (i, a) in sorted.iter().enumerate() {
        for (j, b) in sorted.iter().enumerate() {
            assert_eq!(Semver::parse(a).unwrap().compare(&Semver::parse(b).unwrap()), i.cmp(&j), "{a} {b}");
        }
    }
    assert_eq!(Semver::parse("1.0.0+a").unwrap(), Semver::parse("1.0.0+b").unwrap());
}
