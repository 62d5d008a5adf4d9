//! Whether a client may connect: a pure function of the policy, of who the client proved to be and of its address.
//!
//! An authorization admits whoever it holds for; without one, nobody is admitted. A policy is what the controller said, as
//! far as it makes sense here: what does not admits nobody.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use assent_runtime::workload::Name;
use ipnet::IpNet;

/// How a client showed itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Without TLS that we end.
    Plain,
    /// Over TLS, without a certificate.
    Anonymous,
    /// Over mutual TLS, under a name that the handshake has verified.
    Named(Name),
}

/// Who wants to connect, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) address: IpAddr,
}

/// Who may connect to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(super) labels: Labels,
    pub(super) authorizations: Vec<Authorization>,
}

/// Clients that may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub(super) labels: Labels,
    pub(super) networks: Vec<Network>,
    pub(super) permits: Permits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) net: IpNet,
    pub(super) except: Vec<IpNet>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Permits {
    Anybody,
    /// Over TLS, whoever it is.
    Tls,
    /// These names, and those that end so.
    Names(BTreeSet<String>, Vec<String>),
}

/// What metrics show of a policy or an authorization. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Labels(Arc<[String; 3]>);

/// Why a client may not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// Nobody may from its address.
    Network,
    /// Somebody may from there, but not without proving who it is.
    Unauthenticated,
    /// It has proven to be somebody who may not.
    Identity,
}

// === impl Policy ===

impl Policy {
    /// The authorization that admits `client`.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn judge(&self, client: &Client) -> Result<&Authorization, Cause> {
        let mut here =
            self.authorizations.iter().filter(|authorization| authorization.networks.iter().any(|network| network.contains(client.address))).peekable();
        let missed = match (here.peek(), &client.peer) {
            (None, _) => Cause::Network,
            (Some(_), Peer::Named(_)) => Cause::Identity,
            (Some(_), Peer::Plain | Peer::Anonymous) => Cause::Unauthenticated,
        };
        here.find(|authorization| authorization.permits.permit(&client.peer)).ok_or(missed)
    }
}

// === impl Network ===

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        self.net.contains(&address) && !self.except.iter().any(|except| except.contains(&address))
    }
}

impl From<IpNet> for Network {
    fn from(net: IpNet) -> Self {
        Self { net, except: Vec::new() }
    }
}

// === impl Permits ===

impl Permits {
    fn permit(&self, peer: &Peer) -> bool {
        match (self, peer) {
            (Self::Anybody, _) | (Self::Tls, Peer::Anonymous | Peer::Named(_)) => true,
            (Self::Tls, Peer::Plain) | (Self::Names(..), Peer::Plain | Peer::Anonymous) => false,
            (Self::Names(names, suffixes), Peer::Named(name)) => {
                names.contains(name.as_str()) || suffixes.iter().any(|suffix| name.as_str().ends_with(suffix.as_str()))
            }
        }
    }
}

// === impl Labels ===

impl Labels {
    pub(super) fn new(group: &str, kind: &str, name: &str) -> Self {
        Self(Arc::new([group.to_owned(), kind.to_owned(), name.to_owned()]))
    }

    pub(super) fn group(&self) -> &str {
        let [group, _, _] = &*self.0;
        group
    }

    pub(super) fn kind(&self) -> &str {
        let [_, kind, _] = &*self.0;
        kind
    }

    pub(super) fn name(&self) -> &str {
        let [_, _, name] = &*self.0;
        name
    }
}

// === impl Cause ===

impl Cause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Unauthenticated => "unauthenticated",
            Self::Identity => "identity",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(account: &str, namespace: &str) -> Peer {
        Peer::Named(Name::new(namespace, account, "assent-system", "cluster.local").unwrap())
    }

    fn authorization(name: &str, networks: &[&str], except: &[&str], permits: Permits) -> Authorization {
        let except: Vec<IpNet> = except.iter().map(|net| net.parse().unwrap()).collect();
        let networks = networks.iter().map(|net| Network { net: net.parse().unwrap(), except: except.clone() }).collect();
        Authorization { labels: Labels::new("", "default", name), networks, permits }
    }

    fn policy(authorizations: Vec<Authorization>) -> Policy {
        Policy { labels: Labels::new("", "default", "test"), authorizations }
    }

    fn names(names: &[&str], suffixes: &[&str]) -> Permits {
        let domain = "serviceaccount.identity.assent-system.cluster.local";
        Permits::Names(names.iter().map(|name| format!("{name}.{domain}")).collect(), suffixes.iter().map(|suffix| format!(".{suffix}.{domain}")).collect())
    }

    #[test]
    fn every_case() {
        const ALL: [&str; 2] = ["0.0.0.0/0", "::/0"];
        let open = || policy(vec![authorization("all", &ALL, &[], Permits::Anybody)]);
        let narrow = || {
            policy(vec![
                authorization("probe", &["192.0.2.7/32", "2001:db8::7/128"], &[], Permits::Anybody),
                authorization("named", &ALL, &[], names(&["cart.shop"], &["bank"])),
            ])
        };
        let meshed = || policy(vec![authorization("meshed", &["10.0.0.0/8"], &["10.9.0.0/16"], Permits::Tls)]);
        let closed = || policy(vec![]);
        let everyone = || policy(vec![authorization("every-name", &ALL, &[], Permits::Names(BTreeSet::new(), vec![String::new()]))]);
        let table = [
            // Policy, peer, address, admitted by or refused because.
            (open(), Peer::Plain, "10.0.0.1", Ok("all")),
            (open(), Peer::Plain, "2001:db8::1", Ok("all")),
            (open(), Peer::Anonymous, "10.0.0.1", Ok("all")),
            (open(), name("cart", "shop"), "10.0.0.1", Ok("all")),
            (narrow(), name("cart", "shop"), "10.0.0.1", Ok("named")),
            (narrow(), name("cart", "shop"), "192.0.2.7", Ok("probe")),
            (narrow(), name("teller", "bank"), "10.0.0.1", Ok("named")),
            (narrow(), name("cart", "bank"), "10.0.0.1", Ok("named")),
            (narrow(), name("web", "shop"), "10.0.0.1", Err(Cause::Identity)),
            (narrow(), name("bank", "shop"), "10.0.0.1", Err(Cause::Identity)),
            (narrow(), name("teller", "riverbank"), "10.0.0.1", Err(Cause::Identity)),
            (narrow(), Peer::Anonymous, "10.0.0.1", Err(Cause::Unauthenticated)),
            (narrow(), Peer::Plain, "10.0.0.1", Err(Cause::Unauthenticated)),
            (narrow(), Peer::Plain, "192.0.2.7", Ok("probe")),
            (narrow(), Peer::Plain, "2001:db8::7", Ok("probe")),
            (narrow(), Peer::Plain, "192.0.2.8", Err(Cause::Unauthenticated)),
            (meshed(), Peer::Anonymous, "10.1.0.1", Ok("meshed")),
            (meshed(), name("web", "shop"), "10.1.0.1", Ok("meshed")),
            (meshed(), Peer::Plain, "10.1.0.1", Err(Cause::Unauthenticated)),
            (meshed(), name("web", "shop"), "10.9.0.1", Err(Cause::Network)),
            (meshed(), name("web", "shop"), "192.0.2.1", Err(Cause::Network)),
            (meshed(), Peer::Plain, "2001:db8::1", Err(Cause::Network)),
            (closed(), name("cart", "shop"), "10.0.0.1", Err(Cause::Network)),
            (closed(), Peer::Plain, "10.0.0.1", Err(Cause::Network)),
            (everyone(), name("web", "shop"), "10.0.0.1", Ok("every-name")),
            (everyone(), Peer::Plain, "10.0.0.1", Err(Cause::Unauthenticated)),
        ];
        for (number, (policy, peer, address, expected)) in table.into_iter().enumerate() {
            let client = Client { peer, address: address.parse().unwrap() };
            assert_eq!(policy.judge(&client).map(|authorization| authorization.labels.name()), expected, "case {number}: {client:?}");
        }
    }
}
