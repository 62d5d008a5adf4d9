//! Statements by their class: what is kept, and that no literal is.

use proptest::prelude::*;

use super::*;

fn check(text: &str, operation: &str, collection: &str, summary: &str) {
    let class = classify(text.as_bytes());
    assert_eq!((&*class.operation, &*class.collection, &*class.summary), (operation, collection, summary), "{text}");
}

#[test]
fn reads_queries() {
    check("select 1", "SELECT", "", "SELECT");
    check("SELECT * FROM Orders o JOIN customers c ON o.id = c.id", "SELECT", "orders", "SELECT orders JOIN customers");
    check("SELECT * FROM a, b LEFT JOIN c USING (id), d WHERE x IN (1, 2) ORDER BY e, f", "SELECT", "a", "SELECT a b JOIN c d");
    check("SELECT (SELECT max(x) FROM inner_one) FROM shop.\"Orders\" FOR UPDATE OF z", "SELECT", "shop.Orders", "SELECT SELECT inner_one shop.Orders");
    check("SELECT * FROM (SELECT * FROM a) s, generate_series(1, 3), ONLY b", "SELECT", "b", "SELECT SELECT a b");
    check("SELECT EXTRACT(YEAR FROM created), trim(both from secret) FROM t WHERE a IS NOT DISTINCT FROM b", "SELECT", "t", "SELECT t");
    check("(SELECT 1 FROM a) UNION ALL (SELECT 2 FROM b)", "SELECT", "a", "SELECT a SELECT b");
    check("SELECT * FROM `a b`.`c` WHERE x = \"secret\" # it's\nFROM secret", "SELECT", "a_b.c", "SELECT a_b.c");
    check("VALUES (1, 2)", "VALUES", "", "VALUES");
}

#[test]
fn reads_changes() {
    check("INSERT INTO t (a, b) VALUES ('x', $1) ON CONFLICT (a) DO UPDATE SET b = 1", "INSERT", "t", "INSERT t");
    check("INSERT INTO t SELECT * FROM orders", "INSERT", "t", "INSERT t SELECT orders");
    check("INSERT INTO t SELECT * FROM u ON DUPLICATE KEY UPDATE a = 1, b = 2", "INSERT", "t", "INSERT t SELECT u");
    check("insert ignore into t values (?)", "INSERT", "t", "INSERT t");
    check("UPDATE ONLY t SET a = :name, b = 2 FROM c WHERE t.x = c.x RETURNING a, b", "UPDATE", "t", "UPDATE t c");
    check("DELETE FROM t USING u WHERE t.a = u.a", "DELETE", "t", "DELETE t u");
    check("MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = 1, c = 2", "MERGE", "t", "MERGE t s");
    check(
        "WITH x AS (SELECT * FROM orders), y (a) AS (DELETE FROM z) INSERT INTO t SELECT * FROM x, Y",
        "INSERT",
        "t",
        "SELECT orders DELETE z INSERT t SELECT",
    );
    check("WITH RECURSIVE x AS (SELECT * FROM orders) SELECT * FROM x", "SELECT", "orders", "SELECT orders SELECT");
}

#[test]
fn reads_the_rest() {
    check("COPY t (a, b) FROM STDIN", "COPY", "t", "COPY t");
    check("COPY (SELECT * FROM t) TO STDOUT", "COPY", "t", "COPY SELECT t");
    check("BEGIN; UPDATE t SET a = 1;\nCOMMIT;", "BEGIN", "", "BEGIN;UPDATE t;COMMIT");
    check("START TRANSACTION READ ONLY", "START TRANSACTION", "", "START TRANSACTION");
    check("SET search_path TO secret", "SET", "", "SET");
    check("CREATE TEMP TABLE IF NOT EXISTS t (a int, b text) ", "CREATE TABLE", "t", "CREATE TABLE t");
    check("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a, b)", "CREATE INDEX", "t", "CREATE INDEX t");
    check("CREATE FUNCTION f() RETURNS int AS $x$ SELECT 1; $x$; SELECT", "CREATE FUNCTION", "", "CREATE FUNCTION");
    check("CREATE ROLE r PASSWORD 'secret'", "CREATE ROLE", "", "CREATE ROLE");
    check("DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t", "DECLARE", "t", "DECLARE SELECT t");
    check("FETCH 10 FROM c", "FETCH", "", "FETCH");
    check("EXPLAIN (ANALYZE, BUFFERS) UPDATE t SET a = 1", "EXPLAIN", "t", "EXPLAIN UPDATE t");
    check("PREPARE p AS SELECT * FROM t", "PREPARE", "t", "PREPARE SELECT t");
    check("CALL shop.pay(1)", "CALL", "", "CALL shop.pay");
    check("TRUNCATE TABLE t, u", "TRUNCATE", "t", "TRUNCATE t");
    check("hunter2", "OTHER", "", "OTHER");
    check(" -- nothing\n /* at /* all */ */ ;;", "", "", "");
}

#[test]
fn stops_where_the_dialects_disagree() {
    check(r"SELECT 'a\' FROM secret '", "SELECT", "", "SELECT");
    check(r"SELECT 'a\\' FROM t", "SELECT", "t", "SELECT t");
    check(r"SELECT E'a\' FROM secret' FROM t", "SELECT", "t", "SELECT t");
    check("SELECT 5--'a\n FROM secret'", "SELECT", "", "SELECT");
    check("SELECT a #>> '{b}' FROM t", "SELECT", "t", "SELECT t");
    check("SELECT /* /* */ 'x */ FROM secret'", "SELECT", "", "SELECT");
    check("SELECT $a$ FROM secret $b$ FROM secret $a$ FROM t", "SELECT", "t", "SELECT t");
}

#[test]
fn everything_is_bounded() {
    let long = format!("SELECT * FROM {}", "n".repeat(5000));
    check(&long, "SELECT", "", "SELECT");
    let name = "n".repeat(MAX_NAME);
    check(&format!("SELECT * FROM {name}nnn x"), "SELECT", &name, &format!("SELECT {name}"));
    for text in ["SELECT a FROM b;".repeat(400), "(".repeat(9000), "WITH a AS (SELECT ".repeat(400), "$a".repeat(4000), "'\\".repeat(4000)] {
        let class = classify(text.as_bytes());
        assert!(class.summary.len() <= MAX_SUMMARY && class.operation.len() <= MAX_NAME && class.collection.len() <= MAX_NAME);
    }
}

/// A literal with a word in it that no template has.
fn literal() -> impl Strategy<Value = String> {
    let inside = "[ a-z;,()*/#\n\\\\-]{0,8}zq[ a-z;,()'*/#\n-]{0,8}";
    prop_oneof![
        inside.prop_map(|text| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))),
        inside.prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        inside.prop_map(|text| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))),
        inside.prop_map(|text| format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))),
        inside.prop_map(|text| format!("$zq${text}$zq$")),
        inside.prop_map(|text| format!("$${text}$$")),
        Just("zq FROM".to_owned()).prop_map(|text| format!("/* ' {text} zq */ 1")),
        Just(":zq".to_owned()),
        Just("0xzq".to_owned()),
    ]
}

proptest! {
    #[test]
    fn no_literal_survives(
        template in proptest::sample::select(vec![
            "SELECT * FROM t WHERE a = ? AND b IN (?, ?) LIMIT ?",
            "SELECT ?, ? FROM ?, u JOIN v ON a = ? UNION SELECT ?",
            "INSERT INTO t VALUES (?, ?), (?, ?); UPDATE t SET a = ?, b = ? WHERE c = ?",
            "COPY t FROM ?; DELETE FROM t WHERE a = ?",
            "WITH x AS (SELECT ?) SELECT ? FROM x",
            "SET a = ?; CALL f(?, ?); CREATE ROLE x PASSWORD ?; EXECUTE p(?)",
        ]),
        literals in proptest::collection::vec(literal(), 7),
        cut in 0usize..400,
    ) {
        let mut literals = literals.iter();
        let text: String = template.chars().map(|letter| if letter == '?' { literals.next().unwrap().clone() } else { letter.to_string() }).collect();
        let mut text = text.into_bytes();
        text.truncate(cut.max(40));
        let class = classify(&text);
        let all = format!("{} {} {}", class.operation, class.collection, class.summary);
        prop_assert!(!all.contains("zq"), "{}: {:?}", String::from_utf8_lossy(&text), class);
    }

    #[test]
    fn any_bytes_have_a_bounded_class(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let class = classify(&bytes);
        prop_assert!(class.summary.len() <= MAX_SUMMARY && class.operation.len() <= MAX_NAME && class.collection.len() <= MAX_NAME);
    }
}
