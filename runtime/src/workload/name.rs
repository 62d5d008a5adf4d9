//! The DNS name that a workload's certificate carries: `SA.NS.serviceaccount.identity.CONTROL.DOMAIN`.
//! It is derived from a service account and nothing a pod can choose; parsing accepts only names
//! of exactly that shape. It does not say whether such an account exists.

use std::fmt;
use std::str::FromStr;

const INFIX: &str = ".serviceaccount.identity.";

/// A workload's identity. Equality is equality of the whole DNS name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    // INVARIANT: `account.namespace` + INFIX + `control.domain`, lower-case DNS labels, ≤ 253 bytes.
    text: String,
    account: usize,
    namespace: usize,
}

/// A text that is no workload name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a workload name")]
pub struct InvalidName {
    /// The refused text, cut to 253 characters.
    pub text: String,
}

// === impl Name ===

impl Name {
    /// The name of `account` in `namespace` under the CA of `control_namespace` and `trust_domain`.
    ///
    /// # Errors
    /// If account, namespace or control namespace is not a DNS-1123 label, or the trust domain not a domain.
    pub fn new(namespace: &str, account: &str, control_namespace: &str, trust_domain: &str) -> Result<Self, InvalidName> {
        let text = format!("{account}.{namespace}{INFIX}{control_namespace}.{trust_domain}");
        let valid = text.len() <= 253 && [account, namespace, control_namespace].into_iter().all(is_label) && trust_domain.split('.').all(is_label);
        if !valid {
            return Err(InvalidName { text: text.chars().take(253).collect() });
        }
        Ok(Self { account: account.len(), namespace: namespace.len(), text })
    }

    /// The whole DNS name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The service account.
    pub fn account(&self) -> &str {
        &self.text[..self.account]
    }

    /// The service account's namespace.
    pub fn namespace(&self) -> &str {
        &self.text[self.account + 1..][..self.namespace]
    }

    /// The control-plane namespace and the trust domain, `assent-system.cluster.local`.
    pub fn authority(&self) -> &str {
        &self.text[self.account + 1 + self.namespace + INFIX.len()..]
    }

    /// Whether this is exactly the given account of the given namespace, under the same authority as `other`.
    pub fn is(&self, namespace: &str, account: &str, other: &Name) -> bool {
        self.namespace() == namespace && self.account() == account && self.authority() == other.authority()
    }

    /// Another account's name under the same control namespace and trust domain.
    ///
    /// # Errors
    /// If account or namespace is not a DNS-1123 label.
    pub fn sibling(&self, namespace: &str, account: &str) -> Result<Self, InvalidName> {
        let (control, domain) = self.authority().split_once('.').unwrap_or_default();
        Self::new(namespace, account, control, domain)
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName { text: text.chars().take(253).collect() };
        let (workload, authority) = text.split_once(INFIX).ok_or_else(invalid)?;
        let (account, namespace) = workload.split_once('.').ok_or_else(invalid)?;
        let (control, domain) = authority.split_once('.').ok_or_else(invalid)?;
        Self::new(namespace, account, control, domain)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_label(text: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| edge(*byte) || *byte == b'-')
        && bytes.first().is_some_and(|byte| edge(*byte))
        && bytes.last().is_some_and(|byte| edge(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_names_its_parts() {
        let name = Name::new("shop", "cart", "assent-system", "cluster.local").unwrap();
        assert_eq!(name.as_str(), "cart.shop.serviceaccount.identity.assent-system.cluster.local");
        assert_eq!(name.as_str().parse::<Name>().unwrap(), name);
        assert_eq!((name.account(), name.namespace()), ("cart", "shop"));
        assert_eq!(name.authority(), "assent-system.cluster.local");
        let seat = name.sibling("assent-system", "assent-seat-network").unwrap();
        assert!(seat.is("assent-system", "assent-seat-network", &name));
        assert!(!name.is("shop", "cart", &"a.b.serviceaccount.identity.linkerd.cluster.local".parse().unwrap()));
    }

    #[test]
    fn refuses_every_other_shape() {
        let long = format!("{}.b.serviceaccount.identity.c.d", "a".repeat(64));
        for text in [
            "",
            "cart",
            "cart.shop",
            "cart.shop.serviceaccount.identity.",
            "cart.shop.serviceaccount.identity.c",
            "a.b.c.serviceaccount.identity.d.e",
            "*.b.serviceaccount.identity.c.d",
            "A.b.serviceaccount.identity.c.d",
            "-a.b.serviceaccount.identity.c.d",
            "a..serviceaccount.identity.c.d",
            "a.b.serviceaccount.identity.c.d.",
            &long,
        ] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
