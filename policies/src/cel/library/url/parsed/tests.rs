//! What Go's parser says of ordinary and of odd URLs.

use super::*;

fn url(text: &str) -> Url {
    Url::parse(text, Colons::Lenient).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn takes_apart() {
    type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);
    let rows: [Row; 14] = [
        ("https://example.com:80/a/b?x=1#f", "https", "example.com:80", "example.com", "80", "/a/b"),
        ("HTTP://Example.com", "http", "Example.com", "Example.com", "", ""),
        ("https://[::1]:80/", "https", "[::1]:80", "::1", "80", "/"),
        ("https://[fe80::1%25en0]/", "https", "[fe80::1%en0]", "fe80::1%en0", "", "/"),
        ("https://u:p@h/", "https", "h", "h", "", "/"),
        ("/path/only", "", "", "", "", "/path/only"),
        ("//host/path", "", "host", "host", "", "/path"),
        ("*", "", "", "", "", "*"),
        ("mailto:a@b", "mailto", "", "", "", ""),
        ("https://h/a b%20c", "https", "h", "h", "", "/a%20b%20c"),
        ("https://h/a%2Fb", "https", "h", "h", "", "/a%2Fb"),
        ("https://h/a%2fb%", "", "", "", "", ""),
        ("x://h:/p", "x", "h:", "h", "", "/p"),
        ("https://a:1:2/", "https", "a:1:2", "a:1", "2", "/"),
    ];
    for (text, scheme, host, name, port, path) in rows {
        let Ok(url) = Url::parse(text, Colons::Lenient) else {
            assert_eq!((scheme, host, path), ("", "", ""), "{text}");
            continue;
        };
        assert_eq!(
            (url.scheme(), url.host().as_str(), url.hostname().as_str(), url.port().as_str(), url.escaped_path().as_str()),
            (scheme, host, name, port, path),
            "{text}"
        );
    }
}

#[test]
fn reads_queries() {
    for (text, wanted) in [
        ("/?", "[]"),
        ("/?a=1&b=2&a=3", r#"[("a", ["1", "3"]), ("b", ["2"])]"#),
        ("/?a&b=&=c", r#"[("a", [""]), ("b", [""]), ("", ["c"])]"#),
        ("/?a=x+y%20z&%zz=1&c;d=2&e=%ff", "[(\"a\", [\"x y z\"]), (\"e\", [\"\u{fffd}\"])]"),
    ] {
        assert_eq!(format!("{:?}", url(text).query()), wanted, "{text}");
    }
}

#[test]
fn refuses_in_gos_words() {
    for (text, message) in [
        ("", "parse \"\": empty url"),
        ("a/b", "parse \"a/b\": invalid URI for request"),
        ("../a", "parse \"../a\": invalid URI for request"),
        (":foo", "parse \":foo\": missing protocol scheme"),
        ("http://a\n", "parse \"http://a\\n\": net/url: invalid control character in URL"),
        ("http://a b/", "parse \"http://a b/\": invalid character \" \" in host name"),
        ("http://a:b/", "parse \"http://a:b/\": invalid port \":b\" after host"),
        ("http://[::1/", "parse \"http://[::1/\": missing ']' in host"),
        ("http://[::1]x/", "parse \"http://[::1]x/\": invalid port \"x\" after host"),
        ("http://a[::1]/", "parse \"http://a[::1]/\": invalid IP-literal"),
        ("http://[1.2.3.4]/", "parse \"http://[1.2.3.4]/\": invalid IP-literal"),
        ("http://[x]/", "parse \"http://[x]/\": invalid host: ParseAddr(\"x\"): unable to parse IP"),
        ("http://a%20b/", "parse \"http://a%20b/\": invalid URL escape \"%20\""),
        ("http://h/%z", "parse \"http://h/%z\": invalid URL escape \"%z\""),
        ("http://u\\@h/", "parse \"http://u\\\\@h/\": net/url: invalid userinfo"),
    ] {
        assert_eq!(check(text, Colons::Lenient).unwrap_err(), message);
        assert_eq!(Url::parse(text, Colons::Lenient).unwrap_err(), format!("URL parse error during conversion from string: {message}"));
    }
    assert!(check("https://a:1:2/", Colons::Strict).is_err());
    assert!(check("ftp://a:1:2/", Colons::Strict).is_ok());
    assert_eq!(Url::parse("/#%zz", Colons::Lenient).unwrap_err(), "URL parse error during conversion from string: parse \"/#%zz\": invalid URL escape \"%zz\"");
}

#[test]
fn writes_what_it_read() {
    for text in ["https://u:p@example.com:80/a%2Fb?x=1#f%20g", "/a:b", "mailto:x@y", "http:/one", "http:", "http:///p", "/p?", "*", "http://h?q"] {
        assert_eq!(url(text).to_string(), text);
    }
    assert_eq!(url("HTTP://h/a b"), url("http://h/a%20b"));
    assert_eq!(url("http://"), url("http:"));
    assert_eq!(url("http://u:@h/%7e").to_string(), "http://u:@h/%7e");
}
