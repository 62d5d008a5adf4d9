//! A policy as the controller describes it, and the node's address as the pod sees it.
//!
//! Nothing in a description is an error: an authorization that is not understood is left out, and so admits nobody. The
//! number of parts is bounded by that of the message. Protocols and routes are not read.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use linkerd2_proxy_api::inbound::authn::Permit;
use linkerd2_proxy_api::inbound::authn::permit_mesh_tls::Clients;
use linkerd2_proxy_api::inbound::{Authn, Authz, Server};

use super::decision::{Authorization, Labels, Network, Permits, Policy};

/// Largest description that is taken.
pub(super) const MAX_MESSAGE: usize = 128 * 1024;
/// The authorization under which the kubelet's probes come.
const PROBE: &str = "probe";

/// The policy that `server` describes. Probes come from one of `gateways` where the node shows that side to its pods.
pub(super) fn policy(server: &Server, gateways: &[IpAddr]) -> Policy {
    let authorizations = server.authorizations.iter().filter_map(|authz| authorization(authz, gateways)).collect();
    Policy { labels: labels(&server.labels), authorizations }
}

fn authorization(authz: &Authz, gateways: &[IpAddr]) -> Option<Authorization> {
    let labels = labels(&authz.labels);
    let permits = permits(authz.authentication.as_ref()?)?;
    let mut networks: Vec<_> = authz.networks.iter().filter_map(network).collect();
    if labels.kind() == "default" && labels.name() == PROBE {
        networks.extend(gateways.iter().map(|address| Network::from(IpNet::from(*address))));
    }
    Some(Authorization { labels, networks, permits })
}

fn network(network: &linkerd2_proxy_api::inbound::Network) -> Option<Network> {
    let net = IpNet::try_from(network.net?).ok()?;
    // With an exception that is not understood it would admit too many.
    let except = network.except.iter().map(|except| IpNet::try_from(*except).ok()).collect::<Option<_>>()?;
    Some(Network { net, except })
}

fn permits(authentication: &Authn) -> Option<Permits> {
    match authentication.permit.as_ref()? {
        Permit::Unauthenticated(_) => Some(Permits::Anybody),
        Permit::MeshTls(tls) => match tls.clients.as_ref()? {
            Clients::Unauthenticated(_) => Some(Permits::Tls),
            Clients::Identities(clients) => {
                let names = clients.identities.iter().map(|identity| identity.name.clone()).collect();
                // Without a part it is the end of every name.
                let suffix = |parts: &Vec<String>| if parts.is_empty() { String::new() } else { format!(".{}", parts.join(".")) };
                Some(Permits::Names(names, clients.suffixes.iter().map(|clients| suffix(&clients.parts)).collect()))
            }
        },
    }
}

fn labels(labels: &HashMap<String, String>) -> Labels {
    let label = |key: &str| labels.get(key).map_or("", String::as_str);
    Labels::new(label("group"), label("kind"), label("name"))
}

/// The default gateways in the kernel's table of IPv4 routes (`/proc/net/route`): where a node hands packets to its pods
/// from an interface of its own, the kubelet's probes come from the address of that one.
pub(super) fn gateways(routes: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok().filter(|gateway| *gateway != 0)?;
        // In the order of the bytes in memory.
        (destination == "00000000").then(|| IpAddr::from(Ipv4Addr::from(gateway.to_ne_bytes())))
    };
    routes.lines().skip(1).filter_map(gateway).collect()
}

#[cfg(test)]
mod tests {
    use linkerd2_proxy_api::inbound::authn::{PermitMeshTls, PermitUnauthenticated};
    use linkerd2_proxy_api::net::IpNetwork;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::super::decision::{Cause, Client, Peer};
    use super::*;

    fn net(text: &str) -> IpNetwork {
        text.parse::<IpNet>().unwrap().into()
    }

    fn anybody(name: &str, networks: Vec<linkerd2_proxy_api::inbound::Network>) -> Authz {
        let authentication = Some(Authn { permit: Some(Permit::Unauthenticated(PermitUnauthenticated {})) });
        let labels = [("kind", "default"), ("name", name)].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Authz { networks, authentication, labels, metadata: None }
    }

    fn judge(authorizations: Vec<Authz>, address: &str) -> Result<String, Cause> {
        let gateways = ["10.244.0.1".parse().unwrap()];
        let client = Client { peer: Peer::Plain, address: address.parse().unwrap() };
        policy(&Server { authorizations, ..Default::default() }, &gateways).judge(&client).map(|authorization| authorization.labels.name().to_owned())
    }

    fn plain(text: &str) -> linkerd2_proxy_api::inbound::Network {
        linkerd2_proxy_api::inbound::Network { net: Some(net(text)), except: Vec::new() }
    }

    #[test]
    fn probes_come_from_the_node_as_either_side_knows_it() {
        let probe = || vec![anybody("probe", vec![plain("192.0.2.7/32")])];
        assert_eq!(judge(probe(), "192.0.2.7"), Ok("probe".to_owned()));
        assert_eq!(judge(probe(), "10.244.0.1"), Ok("probe".to_owned()));
        assert_eq!(judge(probe(), "10.244.0.2"), Err(Cause::Network));
        assert_eq!(judge(vec![anybody("other", vec![plain("192.0.2.7/32")])], "10.244.0.1"), Err(Cause::Network));
    }

    #[test]
    fn what_is_not_understood_admits_nobody() {
        let bad = || IpNetwork { ip: None, prefix_len: 0 };
        let wide = IpNetwork { prefix_len: 33, ..net("10.0.0.0/8") };
        let with = |net: Option<IpNetwork>, except: Vec<IpNetwork>| vec![linkerd2_proxy_api::inbound::Network { net, except }];
        for networks in [vec![], with(None, vec![]), with(Some(bad()), vec![]), with(Some(wide), vec![]), with(Some(net("10.0.0.0/8")), vec![bad()])] {
            assert_eq!(judge(vec![anybody("x", networks)], "10.0.0.1"), Err(Cause::Network));
        }
        for permit in [None, Some(Permit::MeshTls(PermitMeshTls { clients: None }))] {
            let mut authz = anybody("x", vec![plain("0.0.0.0/0")]);
            authz.authentication = Some(Authn { permit });
            assert_eq!(judge(vec![authz], "10.0.0.1"), Err(Cause::Network));
        }
    }

    #[test]
    fn reads_the_default_gateway() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0100F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t0100F40A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n\
                    lo\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(gateways(text), ["10.244.0.1".parse::<IpAddr>().unwrap()]);
        assert!(gateways("").is_empty() && gateways("x\ny z\n").is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[0-9A-F \t\n]{0,80}") {
            gateways(&text);
            if let Ok(server) = Server::decode(bytes.as_slice()) {
                policy(&server, &[]);
            }
        }
    }
}
