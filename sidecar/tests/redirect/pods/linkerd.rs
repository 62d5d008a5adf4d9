//! linkerd2-proxy in the place of our sidecar, configured by its environment as its injector does it.

use std::fs::File;
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use super::{Pod, UID};
use crate::control::{ACCOUNT, Control};

const AUTHORITY: &str = "serviceaccount.identity.assent-system.cluster.local";

// === impl Pod ===

impl Pod {
    /// Starts `binary` as the sidecar's user.
    pub(crate) fn start_linkerd(&mut self, binary: &Path, control: &Control, identity: u16, others: u16) {
        let directory = self.directory.path();
        let name = format!("{}.shop.{AUTHORITY}", self.account);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let request = rcgen::CertificateParams::new([name.clone()]).unwrap().serialize_request(&key).unwrap();
        for (file, bytes) in [("key.p8", key.serialize_der()), ("csr.der", request.der().to_vec()), ("token", b"token".to_vec())] {
            let path = directory.join(file);
            std::fs::write(&path, bytes).unwrap();
            chown(&path, Some(UID), Some(UID)).unwrap();
        }
        // A copy that the sidecar's user can reach and execute, wherever the binary is.
        let copy = directory.join("linkerd2-proxy");
        std::fs::copy(binary, &copy).unwrap();
        let node = format!("10.98.{}.254", self.number);
        let system = |account: &str| format!("{account}.assent-system.{AUTHORITY}");
        let workload = format!("{{\"ns\":\"shop\",\"pod\":\"{}\"}}", self.account);
        let variables = [
            ("LOG", "info,linkerd=debug".to_owned()),
            ("INBOUND_LISTEN_ADDR", "0.0.0.0:4143".to_owned()),
            ("OUTBOUND_LISTEN_ADDR", "127.0.0.1:4140".to_owned()),
            ("OUTBOUND_LISTEN_ADDRS", "127.0.0.1:4140".to_owned()),
            ("ADMIN_LISTEN_ADDR", "0.0.0.0:4191".to_owned()),
            ("CONTROL_LISTEN_ADDR", "0.0.0.0:4190".to_owned()),
            ("INBOUND_IPS", self.address().to_string()),
            ("INBOUND_PORTS", "8080,8090".to_owned()),
            ("INBOUND_DEFAULT_POLICY", "all-unauthenticated".to_owned()),
            ("IDENTITY_DIR", directory.display().to_string()),
            ("IDENTITY_TRUST_ANCHORS", control.authority().pem()),
            ("IDENTITY_LOCAL_NAME", name),
            ("IDENTITY_TOKEN_FILE", directory.join("token").display().to_string()),
            ("IDENTITY_SVC_ADDR", format!("{node}:{identity}")),
            ("IDENTITY_SVC_NAME", system("assent-identity")),
            ("DESTINATION_SVC_ADDR", format!("{node}:{others}")),
            ("DESTINATION_SVC_NAME", system(ACCOUNT)),
            ("DESTINATION_CONTEXT", workload.clone()),
            ("DESTINATION_PROFILE_NETWORKS", "10.98.0.0/16".to_owned()),
            ("POLICY_SVC_ADDR", format!("{node}:{others}")),
            ("POLICY_SVC_NAME", system(ACCOUNT)),
            ("POLICY_WORKLOAD", workload),
        ];
        let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
        let child = Command::new("nsenter")
            .arg(format!("--net=/var/run/netns/{}", self.namespace()))
            .args([format!("--setuid={UID}"), format!("--setgid={UID}")])
            .arg(copy)
            .envs(variables.map(|(name, value)| (format!("LINKERD2_PROXY_{name}"), value)))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.sidecar = Some(child);
    }

    /// An application in the pod that hands every connection to `each`, on the caller's runtime.
    pub(crate) fn serve_each<F: Future<Output = ()> + Send + 'static>(&self, port: u16, each: impl Fn(tokio::net::TcpStream) -> F + Send + 'static) {
        let listener = self.inside(move || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(each(stream));
            }
        });
    }
}
