//! Expressions against what Kubernetes 1.34's own evaluator answered: type, value, cost to the unit, and the words of errors.
//!
//! The answers are in `tests/data/cost.jsonl` and `versions.jsonl`; `scripts/oracle` makes them anew. Every difference is
//! listed at once.

#[path = "../../../tests/suite/rules.rs"]
mod rules;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value as Json, json};

use super::{Activation, Declared, Expression, Inputs, Language, Wanted};
use crate::cel::library::authorizer::{self, Authorizer};
use crate::cel::{Value, Version};
use crate::policy::request::{Kind, Request, Resource, User, namespace_variable};

/// Enough for any one expression.
const LIMIT: u64 = super::PER_CALL;
const NULL: Json = Json::Null;

/// Cases in which we differ and know it, by what is compared: `data/differences.json`. One that is not there fails, and so does
/// one that agrees by now. `UPDATE_EXPECT=1` writes the file; read its difference before it is kept.
const KNOWN: &str = "differences.json";

/// What our side makes of a case.
struct Answered {
    kind: String,
    value: Result<Json, String>,
    compile_error: Option<String>,
    cost: u64,
}

fn data(file: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}

fn lines(file: &str) -> Vec<Json> {
    std::fs::read_to_string(data(file)).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every case that `differs` finds words for, by id.
fn disagreements(cases: &[Json], language: Language, differs: impl Fn(&Json, &Answered) -> Option<String>) -> BTreeMap<String, String> {
    // Answers of other budgets than an expression's own are the policy's to give, not the language's.
    let own = cases.iter().filter(|case| case.get("budget").is_none());
    let found = own.filter_map(|case| {
        let words = differs(&case["want"], &answer(case, language))?;
        Some((text(&case["id"]).to_owned(), format!("{}\n  want {}\n  got  {words}", text(&case["expr"]), case["want"])))
    });
    found.collect()
}

/// Fails unless exactly the cases differ that are known to.
fn only_known(what: &str, found: &BTreeMap<String, String>) {
    // Tests of this file run at the same time, and each keeps its own part.
    static FILE: Mutex<()> = Mutex::new(());
    let _alone = FILE.lock().unwrap();
    let mut known: BTreeMap<String, Vec<String>> = serde_json::from_str(&std::fs::read_to_string(data(KNOWN)).unwrap_or("{}".into())).unwrap();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        known.insert(what.to_owned(), found.keys().cloned().collect());
        std::fs::write(data(KNOWN), serde_json::to_string_pretty(&known).unwrap() + "\n").unwrap();
    }
    let known = known.remove(what).unwrap_or_default();
    let new: Vec<String> = found.iter().filter(|(id, _)| !known.contains(id)).map(|(id, words)| format!("{id}: {words}")).collect();
    let agree: Vec<&String> = known.iter().filter(|id| !found.contains_key(*id)).collect();
    assert!(new.is_empty() && agree.is_empty(), "{what}: {} differ anew:\n{}\nagree by now: {agree:?}", new.len(), new.join("\n"));
}

#[test]
fn values_and_costs_are_those_of_the_server() {
    let cases = lines("cost.jsonl");
    assert!(cases.len() > 1900, "{} cases", cases.len());
    only_known("value and cost", &disagreements(&cases, Language::default(), differs));
}

#[test]
fn types_are_those_of_the_server() {
    let found = disagreements(&lines("cost.jsonl"), Language::default(), |want, answered| {
        (want.get("type").is_some() && text(&want["type"]) != answered.kind).then(|| answered.kind.clone())
    });
    only_known("type", &found);
}

#[test]
fn errors_are_told_in_the_words_of_the_server() {
    let found = disagreements(&lines("cost.jsonl"), Language::default(), |want, answered| {
        let (said, got) = match (&want["compile_error"], &want["error"]) {
            (Json::String(said), _) => (first_line(said), answered.compile_error.as_deref().map(first_line)?),
            (_, Json::String(said)) => (said.rsplit_once("' resulted in error: ").map(|(_, cause)| cause)?, answered.value.as_ref().err()?.as_str()),
            _ => return None,
        };
        // What a parser would have liked better differs between parsers.
        let cut = |text: &str| text.split(" expecting ").next().unwrap_or_default().to_owned();
        (cut(said) != cut(got)).then(|| got.to_owned())
    });
    only_known("words of errors", &found);
}

/// Releases, and whose answers they are held to. By default 1.30 and 1.31 charge nothing for extension libraries; here they
/// have their cost always, as on a server of those releases that is told to charge it.
const RELEASES: [(Version, &str); 7] = [
    (Version::V1_30, "1.30+strict"),
    (Version::V1_31, "1.31+strict"),
    (Version::V1_32, "1.32"),
    (Version::V1_33, "1.33"),
    (Version::V1_35, "1.35"),
    (Version::V1_36, "1.36"),
    (Version::V1_37, "1.37"),
];

#[test]
fn every_release_is_held_to_its_own_evaluator() {
    let cases = lines("cost.jsonl");
    let changed = lines("versions.jsonl");
    for (version, release) in RELEASES {
        let changes: HashMap<&str, &Json> = changed.iter().filter(|line| line["version"] == release).map(|line| (text(&line["id"]), &line["want"])).collect();
        assert!(!changes.is_empty(), "nothing is known of {release}");
        let of_release: Vec<Json> = cases.iter().map(|case| of_release(case, changes.get(text(&case["id"])).copied())).collect();
        only_known(release, &disagreements(&of_release, Language(version), differs));
    }
}

fn of_release(case: &Json, change: Option<&Json>) -> Json {
    let mut case = case.clone();
    if let Some(want) = change {
        case["want"] = want.clone();
    }
    case
}

/// Where value and cost differ, or one has an error where the other has none.
fn differs(want: &Json, answered: &Answered) -> Option<String> {
    if want.get("compile_error").is_some() || answered.compile_error.is_some() {
        let both = want.get("compile_error").is_some() && answered.compile_error.is_some();
        return (!both).then(|| format!("{:?}", answered.compile_error));
    }
    let got = match &answered.value {
        Ok(value) => json!({"value": value, "cost": answered.cost}),
        Err(reason) => json!({"error": reason, "cost": answered.cost}),
    };
    let alike = match &answered.value {
        Ok(value) => want.get("value").is_some_and(|want| same(want, value)),
        Err(_) => want.get("error").is_some(),
    };
    (!alike || want["cost"] != answered.cost).then(|| got.to_string())
}

fn answer(case: &Json, language: Language) -> Answered {
    let mut declared = Declared { params: case.get("params").is_some(), authorizer: case["noAuthorizer"] != true, ..Declared::default() };
    let mut variables = Vec::new();
    let mut types = Vec::new();
    for variable in case["variables"].as_array().into_iter().flatten() {
        let expression = Expression::compile(&language.environment(&declared), text(&variable["expression"]), Wanted::Anything);
        types.push((text(&variable["name"]).to_owned(), expression.variable_type()));
        variables.push((text(&variable["name"]).to_owned(), expression));
        declared.variables = types.clone().into();
    }
    let expression = Expression::compile(&language.environment(&declared), text(&case["expr"]), Wanted::Anything);
    let request = request(&case["request"]);
    let namespace = case.get("namespaceObject").map_or(NULL, namespace_variable);
    let params = case.get("params");
    let asker = text(&case["request"]["userInfo"]["username"]).to_owned();
    let rules: Arc<dyn Authorizer> = Arc::new(rules::Rules { rules: case["authorizer"].as_array().cloned().unwrap_or_default(), requester: asker });
    let part = |pointer: &str| case["request"].pointer(pointer).and_then(Json::as_str).unwrap_or_default().into();
    let checked = authorizer::Resource {
        group: part("/resource/group"),
        resource: part("/resource/resource"),
        namespace: part("/namespace"),
        name: part("/name"),
        ..authorizer::Resource::default()
    };
    let inputs = Inputs {
        object: &case["object"],
        old_object: &case["oldObject"],
        params,
        request: &request,
        namespace: &namespace,
        authorizer: declared.authorizer.then_some((&rules, &checked)),
        deadline: &|| false,
    };
    let kind = expression.0.program.as_ref().map_or_else(|_| String::new(), |program| program.output().to_string());
    let done = Activation::new(&variables, inputs).evaluate(&expression, LIMIT);
    Answered {
        kind,
        value: done.value.map(|value| encode(&value)).map_err(|reason| reason.to_string()),
        compile_error: expression.compiled().err().map(str::to_owned),
        cost: done.cost + done.of_variables,
    }
}

/// The variable `request` of an AdmissionRequest; absent, it is the creation of a pod by nobody in particular.
fn request(asked: &Json) -> Json {
    let pod = json!({"kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE", "userInfo": {}});
    let asked = if asked.is_null() { &pod } else { asked };
    let groups: Vec<String> = serde_json::from_value(asked["userInfo"]["groups"].clone()).unwrap_or_default();
    let extra = serde_json::from_value(asked["userInfo"]["extra"].clone()).unwrap_or_default();
    let kind = |of: &'static str| {
        let kind = if asked.get(of).is_some() { &asked[of] } else { &asked["kind"] };
        Kind { group: text(&kind["group"]), version: text(&kind["version"]), kind: text(&kind["kind"]) }
    };
    let resource =
        Resource { group: text(&asked["resource"]["group"]), version: text(&asked["resource"]["version"]), resource: text(&asked["resource"]["resource"]) };
    let user = User { username: text(&asked["userInfo"]["username"]), uid: text(&asked["userInfo"]["uid"]), groups: &groups, extra: &extra };
    let request = Request {
        kind: kind("requestKind"),
        resource,
        operation: serde_json::from_value(asked["operation"].clone()).unwrap(),
        name: text(&asked["name"]),
        namespace: text(&asked["namespace"]),
        user,
        dry_run: asked["dryRun"] == true,
        options: &asked["options"],
        ..Request::default()
    };
    request.variable(resource, kind("kind"))
}

/// A value as the oracle writes it: with its type.
fn encode(value: &Value<'_>) -> Json {
    let tagged = |kind: &str, content: Json| Json::Object(Map::from_iter([(kind.to_owned(), content)]));
    match value {
        Value::Null => tagged("null", NULL),
        Value::Bool(value) => tagged("bool", json!(value)),
        Value::Int(value) => tagged("int", json!(value)),
        Value::Uint(value) => tagged("uint", json!(value)),
        Value::Double(value) => tagged("double", json!(format!("{value:?}"))),
        Value::String(value) => tagged("string", json!(&**value)),
        Value::Bytes(bytes) => tagged("bytes", json!(&**bytes)),
        Value::List(list) => tagged("list", list.iter().map(|element| encode(&element)).collect()),
        Value::Map(map) => {
            let mut entries: Vec<(String, Json)> = map
                .iter()
                .map(|(key, value)| {
                    let key = encode(&key);
                    (key.to_string(), json!([key, encode(&value)]))
                })
                .collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            tagged("map", entries.into_iter().map(|(_, pair)| pair).collect())
        }
        Value::Timestamp(at) => tagged("timestamp", json!(moment(at.seconds(), at.nanoseconds()))),
        Value::Duration(span) => tagged("duration", json!(span.nanoseconds())),
        Value::Type(known) => tagged("type", json!(known.name())),
        Value::Optional(None) => tagged("optional", NULL),
        Value::Optional(Some(inner)) => tagged("optional", encode(inner)),
        Value::Opaque(inner) => tagged("opaque", json!([inner.type_name()])),
    }
}

fn moment(seconds: i64, nanoseconds: u32) -> String {
    jiff::Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap()).unwrap().to_string()
}

/// Whether two written values are the same: doubles by their bits, bytes by what they encode, opaque values by their type.
fn same(want: &Json, got: &Json) -> bool {
    let (Some((kind, want)), Some((of, got))) = (want.as_object().and_then(|o| o.iter().next()), got.as_object().and_then(|o| o.iter().next())) else {
        return false;
    };
    let number = |text: &Json| text.as_str().and_then(|text| text.parse::<f64>().ok());
    let all = |want: &Json, got: &Json, each: fn(&Json, &Json) -> bool| {
        let (want, got) = (want.as_array().unwrap(), got.as_array().unwrap());
        want.len() == got.len() && want.iter().zip(got).all(|(want, got)| each(want, got))
    };
    kind == of
        && match kind.as_str() {
            "double" => number(want).zip(number(got)).is_some_and(|(want, got)| want.to_bits() == got.to_bits() || (want.is_nan() && got.is_nan())),
            "bytes" => want.as_str().is_some_and(|want| want == base64(got)),
            "list" => all(want, got, same),
            "map" => all(want, got, |want, got| same(&want[0], &got[0]) && same(&want[1], &got[1])),
            "optional" => (want.is_null() && got.is_null()) || same(want, got),
            "opaque" => want[0] == got[0],
            _ => want == got,
        }
}

fn base64(bytes: &Json) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u32> = bytes.as_array().unwrap().iter().map(|byte| u32::try_from(byte.as_u64().unwrap()).unwrap()).collect();
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let group = three.iter().fold(0, |group, byte| group << 8 | byte) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}
