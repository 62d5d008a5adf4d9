//! The facts of upstream's table: one list of problems each.

use super::*;

const LABEL_1123: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_1123: &str = r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

#[test]
fn valid_texts_have_no_problem() {
    for (name, texts) in [
        ("dns1123Label", vec!["my-label-name", "1", "a", "1-a"]),
        ("dns1123Subdomain", vec!["apiextensions.k8s.io", "example.com", "a"]),
        ("dns1035Label", vec!["my-label-name", "a1"]),
        ("qualifiedName", vec!["apiextensions.k8s.io/v1beta1", "my.name", "A_b", "a.b/C"]),
        ("dns1123LabelPrefix", vec!["my-label-prefix-", "a", "a-", "ab-"]),
        ("dns1123SubdomainPrefix", vec!["mysubdomain.prefix.-", "a.b-"]),
        ("dns1035LabelPrefix", vec!["my-label-prefix-"]),
        ("labelValue", vec!["my-cool-label-Value", "", "12345"]),
        ("uri", vec!["http://example.com", "/path", "urn:x"]),
        ("uuid", vec!["123e4567-e89b-12d3-a456-426614174000", "123E4567E89B12D3A456426614174000", "123e4567e89b-12d3a456-426614174000"]),
        ("byte", vec!["aGVsbG8=", "AAAA", "AA==", "+/+/"]),
        ("date", vec!["2021-01-01", "2020-02-29", "0000-01-01", "2000-02-29"]),
        (
            "datetime",
            vec![
                "2021-01-01T00:00:00Z",
                "2021-01-01t23:59:59.123+01:00",
                "2021-01-01T00:00:00x5z",
                "2021-01-01T00:00:00Ztrailing",
                "2021-01-01T00:00:00-99:99",
            ],
        ),
    ] {
        let format = Format::named(name).unwrap();
        for text in texts {
            assert!(format.validate(text).is_empty(), "{name} {text}: {:?}", format.validate(text));
        }
    }
    assert_eq!(Format::named("unknown"), None);
}

#[test]
fn problems_are_upstreams() {
    let long = "a".repeat(64);
    let rows: Vec<(&str, &str, Vec<String>)> = vec![
        ("dns1123Label", "contains a space", vec![LABEL_1123.into()]),
        ("dns1123Label", "a.b", vec!["must not contain dots".into()]),
        ("dns1123Label", "", vec![LABEL_1123.into()]),
        ("dns1123Label", &long, vec!["must be no more than 63 characters".into()]),
        ("dns1123Label", "a-\n", vec![LABEL_1123.into()]),
        ("dns1123Subdomain", "contains a space", vec![SUBDOMAIN_1123.into()]),
        ("dns1123Subdomain", "a..b", vec![SUBDOMAIN_1123.into()]),
        ("dns1035Label", "contains a space", vec![LABEL_1035.into()]),
        ("dns1035Label", "1a", vec![LABEL_1035.into()]),
        ("qualifiedName", "contains a space", vec![NAME_PART.into()]),
        ("qualifiedName", "", vec!["name part must be non-empty".into(), NAME_PART.into()]),
        ("qualifiedName", "/a", vec!["prefix part must be non-empty".into()]),
        ("qualifiedName", "A/a", vec![format!("prefix part {SUBDOMAIN_1123}")]),
        (
            "qualifiedName",
            "a/b/c",
            vec![format!("a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')", &NAME_PART["name part ".len()..])],
        ),
        ("dns1123LabelPrefix", "contains a space-", vec![LABEL_1123.into()]),
        ("dns1123LabelPrefix", "-", vec![LABEL_1123.into()]),
        ("dns1123SubdomainPrefix", "contains a space-", vec![SUBDOMAIN_1123.into()]),
        ("dns1035LabelPrefix", "contains a space-", vec![LABEL_1035.into()]),
        ("labelValue", "my-cool-label-Value!!\n\n!!!", vec![LABEL_VALUE.into()]),
        ("labelValue", &long, vec!["must be no more than 63 characters".into()]),
        ("uri", "not a uri", vec!["parse \"not a uri\": invalid URI for request".into()]),
        ("uuid", "123e4567-e89b-12d3-a456-42661417400", vec!["does not match the UUID format".into()]),
        ("uuid", "123e4567--e89b-12d3-a456-426614174000", vec!["does not match the UUID format".into()]),
        ("byte", "aGVsbG8", vec!["invalid base64".into()]),
        ("byte", "", vec!["invalid base64".into()]),
        ("byte", "A===", vec!["invalid base64".into()]),
        ("date", "2020-01-32", vec!["invalid date".into()]),
        ("date", "2021-02-29", vec!["invalid date".into()]),
        ("date", "1900-02-29", vec!["invalid date".into()]),
        ("date", "2020-1-1", vec!["invalid date".into()]),
        ("datetime", "2020-01-32T00:00:00Z", vec!["invalid datetime".into()]),
        ("datetime", "2020-01-01T24:00:00Z", vec!["invalid datetime".into()]),
        ("datetime", "2020-01-01T00:00:00.Z", vec!["invalid datetime".into()]),
        ("datetime", "2020-01-01T00:00:00", vec!["invalid datetime".into()]),
        ("datetime", "2020-01-01", vec!["invalid datetime".into()]),
    ];
    for (name, text, problems) in rows {
        assert_eq!(Format::named(name).unwrap().validate(text), problems, "{name} {text}");
    }
}
