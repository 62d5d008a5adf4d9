//! linkerd2-proxy in the place of a sidecar, for whoever has its binary: what it finds in its folder and in its environment.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::Authority;
use crate::workload::{Name, request};

/// One proxy's surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Linkerd<'a> {
    /// Who it is.
    pub name: &'a Name,
    /// Its pod's address.
    pub address: IpAddr,
    /// The ports of its application.
    pub ports: &'a [u16],
    /// Where certificates are signed, by a service of this account in the control namespace.
    pub identity: (SocketAddr, &'a str),
    /// Where it asks who is where and who may connect.
    pub discovery: (SocketAddr, &'a str),
}

// === impl Linkerd ===

impl Linkerd<'_> {
    /// Writes key, request and token into `folder`, for anybody to read; the variables that it is to be started with.
    pub fn configure(&self, authority: &Authority, folder: &Path) -> Vec<(String, String)> {
        let (key, csr) = request(self.name).unwrap();
        let token = folder.join("linkerd-token");
        std::fs::write(folder.join("key.p8"), key.serialize_der()).unwrap();
        std::fs::write(folder.join("csr.der"), csr).unwrap();
        std::fs::write(&token, "token").unwrap();
        let (control, _) = self.name.authority().split_once('.').unwrap();
        let name = |account: &str| self.name.sibling(control, account).unwrap().to_string();
        let pod = format!("{{\"ns\":\"{}\",\"pod\":\"{}\"}}", self.name.namespace(), self.name.account());
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        let variables = [
            ("LOG", "info".to_owned()),
            ("INBOUND_LISTEN_ADDR", "0.0.0.0:4143".to_owned()),
            // The first until 2.16, the second since then.
            ("OUTBOUND_LISTEN_ADDR", "127.0.0.1:4140".to_owned()),
            ("OUTBOUND_LISTEN_ADDRS", "127.0.0.1:4140".to_owned()),
            ("ADMIN_LISTEN_ADDR", "0.0.0.0:4191".to_owned()),
            ("CONTROL_LISTEN_ADDR", "0.0.0.0:4190".to_owned()),
            ("INBOUND_IPS", self.address.to_string()),
            ("INBOUND_PORTS", ports.join(",")),
            ("INBOUND_DEFAULT_POLICY", "all-unauthenticated".to_owned()),
            ("IDENTITY_DIR", folder.display().to_string()),
            ("IDENTITY_TRUST_ANCHORS", authority.pem()),
            ("IDENTITY_LOCAL_NAME", self.name.to_string()),
            ("IDENTITY_TOKEN_FILE", token.display().to_string()),
            ("IDENTITY_SVC_ADDR", self.identity.0.to_string()),
            ("IDENTITY_SVC_NAME", name(self.identity.1)),
            ("DESTINATION_SVC_ADDR", self.discovery.0.to_string()),
            ("DESTINATION_SVC_NAME", name(self.discovery.1)),
            ("DESTINATION_CONTEXT", pod.clone()),
            ("DESTINATION_PROFILE_NETWORKS", "10.0.0.0/8".to_owned()),
            ("POLICY_SVC_ADDR", self.discovery.0.to_string()),
            ("POLICY_SVC_NAME", name(self.discovery.1)),
            ("POLICY_WORKLOAD", pod),
        ];
        variables.map(|(name, value)| (format!("LINKERD2_PROXY_{name}"), value)).to_vec()
    }
}
