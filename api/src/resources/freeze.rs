//! `FreezeWindow`: a time in which nothing is changed, in some namespaces or in all. Only people write it; guardrail
//! `freeze-window` refuses by it. Unlike a Pause it begins and ends by itself.

use assent_core::ids::UnixMillis;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A time without changes.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "FreezeWindow",
    shortname = "fw",
    category = "assent",
    printcolumn = r#"{"name":"From","type":"string","jsonPath":".spec.from"}"#,
    printcolumn = r#"{"name":"Until","type":"string","jsonPath":".spec.until"}"#,
    printcolumn = r#"{"name":"Owner","type":"string","jsonPath":".spec.owner"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".spec.reason"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct FreezeWindowSpec {
    /// First second of it, RFC 3339.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub from: String,
    /// First second after it, RFC 3339.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub until: String,
    /// Namespaces by name; none named means every one, nodes included.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub namespaces: Vec<String>,
    /// Who decides about exceptions.
    #[schemars(length(min = 1, max = 253))]
    pub owner: String,
    /// Why.
    #[schemars(length(min = 1, max = 300))]
    pub reason: String,
}

// === impl FreezeWindowSpec ===

impl FreezeWindowSpec {
    /// Whether it speaks of `namespace` (empty for a node) and is not over at `now`. One whose end cannot be read is not over.
    #[must_use]
    pub fn concerns(&self, namespace: &str, now: UnixMillis) -> bool {
        let named = self.namespaces.is_empty() || self.namespaces.iter().any(|one| one == namespace);
        named && instant("until", &self.until).map_or(true, |until| until > now)
    }

    /// Whether somebody may write this.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&self) -> Result<(), String> {
        let (from, until) = (instant("from", &self.from)?, instant("until", &self.until)?);
        if until <= from {
            return Err(format!("it ends at {} and begins at {}", self.until, self.from));
        }
        if self.owner.trim().is_empty() || self.reason.trim().is_empty() {
            return Err("a freeze window has an owner and a reason".into());
        }
        Ok(())
    }
}

/// A time with its zone, to the millisecond.
pub(super) fn instant(field: &str, text: &str) -> Result<UnixMillis, String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| format!("`{field}` is `{text:.40}`, which is no RFC 3339 time"))?;
    Ok(UnixMillis(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(namespaces: &[&str]) -> FreezeWindowSpec {
        FreezeWindowSpec {
            from: "1970-01-01T00:00:01Z".into(),
            until: "1970-01-01T01:00:02+01:00".into(),
            namespaces: namespaces.iter().map(|&name| name.to_owned()).collect(),
            owner: "jane@example.com".into(),
            reason: "launch".into(),
        }
    }

    #[test]
    fn it_concerns_whom_it_names_until_it_is_over() {
        assert!(window(&["shop"]).concerns("shop", UnixMillis(0)), "it may lie ahead");
        assert!(window(&["shop"]).concerns("shop", UnixMillis(1_999)));
        assert!(!window(&["shop"]).concerns("shop", UnixMillis(2_000)));
        assert!(!window(&["shop"]).concerns("shop-2", UnixMillis(0)));
        assert!(window(&[]).concerns("", UnixMillis(0)), "nodes too");
        let unreadable = FreezeWindowSpec { until: "soon".into(), ..window(&[]) };
        assert!(unreadable.concerns("shop", UnixMillis(i64::MAX)), "what cannot be read does not end");
    }

    #[test]
    fn it_begins_before_it_ends_and_somebody_answers_for_it() {
        assert_eq!(window(&[]).check(), Ok(()));
        assert!(FreezeWindowSpec { until: "1970-01-01T00:00:01Z".into(), ..window(&[]) }.check().unwrap_err().contains("ends at"));
        assert!(FreezeWindowSpec { from: "now".into(), ..window(&[]) }.check().unwrap_err().contains("`from` is `now`"));
        assert!(FreezeWindowSpec { owner: String::new(), ..window(&[]) }.check().unwrap_err().contains("owner"));
    }
}
