//! linkerd2-proxy in the place of our sidecar, configured by its environment as its injector does it.

use std::fs::File;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use assent_runtime::workload::Name;
use assent_runtime::workload::testing::linkerd::Linkerd;

use super::{Pod, UID};
use crate::control::{ACCOUNT, CART, Control};

// === impl Pod ===

impl Pod {
    /// Starts `binary` as the sidecar's user, for an application on `ports`.
    pub(crate) fn start_linkerd(&mut self, binary: &Path, control: &Control, ports: &[u16], [identity, others]: [u16; 2]) {
        let directory = self.directory.path();
        let name: Name = CART.replacen("cart", self.account, 1).parse().unwrap();
        let node = |port| SocketAddr::new([10, 98, self.number, 254].into(), port);
        let linkerd =
            Linkerd { name: &name, address: self.address(), ports, identity: (node(identity), "assent-identity"), discovery: (node(others), ACCOUNT) };
        // A copy that the sidecar's user can reach and execute, wherever the binary is.
        let copy = directory.join("linkerd2-proxy");
        std::fs::copy(binary, &copy).unwrap();
        let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
        let child = Command::new("nsenter")
            .arg(format!("--net=/var/run/netns/{}", self.namespace()))
            .args([format!("--setuid={UID}"), format!("--setgid={UID}")])
            .arg(copy)
            .envs(linkerd.configure(control.authority(), directory))
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
