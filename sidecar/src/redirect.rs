//! Sends a pod's traffic through its sidecar: one nftables table, replaced as a whole.
//!
//! Everything that comes in goes to the inbound port, everything that the application opens to the outbound port. The
//! sidecar's own connections, loopback and named ports are left alone. IPv6 is redirected where the pod has an address of it;
//! a kernel that cannot do that leaves it alone, which the sidecar's count of bypassing connections shows.
//! A port on which nobody listens is not redirected either: the kernel refuses it, so that a `tcpSocket` probe, and everybody
//! else, sees it closed as without a sidecar. A kernel without that match redirects all ports, and such a probe then always
//! succeeds.
//! It runs once, before the application starts, and fails open: a pod without a redirect starts unmeshed, with the reason in
//! its status, where it is found and reported.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Flags of the redirect.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// User id that the sidecar runs as.
    #[arg(long, env = "ASSENT_SIDECAR_UID", default_value_t = 2102)]
    pub sidecar_uid: u32,
    /// Port for connections that the application opens.
    #[arg(long, env = "ASSENT_OUTBOUND_PORT", default_value_t = 4140)]
    pub outbound_port: u16,
    /// Port for connections to the pod.
    #[arg(long, env = "ASSENT_INBOUND_PORT", default_value_t = 4143)]
    pub inbound_port: u16,
    /// The sidecar's probes and metrics, reached directly.
    #[arg(long, env = "ASSENT_ADMIN_PORT", default_value_t = 4191)]
    pub admin_port: u16,
    /// Further ports of the pod that are reached directly.
    #[arg(long, env = "ASSENT_SKIP_INBOUND_PORTS", value_delimiter = ',')]
    pub skip_inbound_ports: Vec<u16>,
    /// Ports that the application dials directly.
    #[arg(long, env = "ASSENT_SKIP_OUTBOUND_PORTS", value_delimiter = ',')]
    pub skip_outbound_ports: Vec<u16>,
    /// Print the rules instead of installing them.
    #[arg(long)]
    pub dry_run: bool,
    /// The `nft` program.
    #[arg(long, env = "ASSENT_NFT", default_value = "nft")]
    pub nft: String,
    /// Where the kubelet reads why there is no redirect.
    #[arg(long, env = "ASSENT_TERMINATION_LOG", default_value = "/dev/termination-log")]
    pub termination_log: std::path::PathBuf,
}

/// Which connections to the pod are redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inbound {
    /// Those to a port on which somebody listens.
    Listening,
    /// All, where the kernel cannot tell.
    All,
}

/// Installs the redirect in this network namespace. Without one the pod starts unmeshed: that is said, and no error.
///
/// # Errors
/// If the rules cannot be printed.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let families = if has_ipv6(&std::fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default()) { &["ip", "ip6"][..] } else { &["ip"] };
    for family in families {
        if args.dry_run {
            std::io::stdout().write_all(rules(args, family, Inbound::Listening).as_bytes()).context("print the rules")?;
        } else {
            redirect(args, family);
        }
    }
    Ok(())
}

fn redirect(args: &Args, family: &str) {
    let Err(error) = install(args, family, Inbound::Listening) else { return };
    eprintln!("this kernel cannot tell ports on which nobody listens, so that tcpSocket probes always succeed: {error:#}");
    let Err(error) = install(args, family, Inbound::All) else { return };
    let why = format!("{error:#}");
    eprintln!("no redirect of {family}: {why}");
    // Without that of IPv6 the pod is meshed all the same; what goes around the sidecar is counted there.
    if family == "ip"
        && let Err(error) = std::fs::write(&args.termination_log, &why)
    {
        eprintln!("and the pod's status will not say so: {error}");
    }
}

fn install(args: &Args, family: &str, inbound: Inbound) -> anyhow::Result<()> {
    let mut nft = Command::new(&args.nft).args(["-f", "-"]).stdin(Stdio::piped()).spawn().with_context(|| format!("start `{}`", args.nft))?;
    let mut input = nft.stdin.take().context("no pipe to nft")?;
    // Before nft is waited for, also when it does not read: it ends when its input does.
    let written = input.write_all(rules(args, family, inbound).as_bytes());
    drop(input);
    let status = nft.wait().context("wait for nft")?;
    if !status.success() {
        bail!("nft refused the rules: {status}");
    }
    written.context("write the rules")
}

/// Whether the list of the kernel's IPv6 addresses has one that other hosts can use: their scope is 0.
fn has_ipv6(addresses: &str) -> bool {
    addresses.lines().any(|line| line.split_whitespace().nth(3) == Some("00"))
}

/// The table of `family` as one transaction: created if absent, removed, and made anew.
fn rules(args: &Args, family: &str, listening: Inbound) -> String {
    let mut inbound = vec![args.inbound_port, args.admin_port];
    inbound.extend(&args.skip_inbound_ports);
    let mut outbound = String::new();
    if !args.skip_outbound_ports.is_empty() {
        // Writing to a string cannot fail.
        let _ = writeln!(outbound, "    tcp dport {{ {} }} accept", ports(&args.skip_outbound_ports));
    }
    let listening = match listening {
        // Bound to one address or to all of them; what matters is that there is a socket.
        Inbound::Listening => " socket wildcard { 0, 1 }",
        Inbound::All => "",
    };
    format!(
        "table {family} assent\n\
         delete table {family} assent\n\
         table {family} assent {{\n\
         \x20 chain inbound {{\n\
         \x20   type nat hook prerouting priority dstnat; policy accept;\n\
         \x20   iif lo accept\n\
         \x20   tcp dport {{ {inbound} }} accept\n\
         \x20   meta l4proto tcp{listening} redirect to :{inbound_port}\n\
         \x20 }}\n\
         \x20 chain outbound {{\n\
         \x20   type nat hook output priority -100; policy accept;\n\
         \x20   oif lo accept\n\
         \x20   meta skuid {uid} accept\n\
         {outbound}\
         \x20   meta l4proto tcp redirect to :{outbound_port}\n\
         \x20 }}\n\
         }}\n",
        inbound = ports(&inbound),
        inbound_port = args.inbound_port,
        uid = args.sidecar_uid,
        outbound_port = args.outbound_port,
    )
}

fn ports(ports: &[u16]) -> String {
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    ports.dedup();
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_its_own_traffic_and_the_named_ports_alone() {
        let args = Args {
            sidecar_uid: 2102,
            outbound_port: 4140,
            inbound_port: 4143,
            admin_port: 4191,
            skip_inbound_ports: vec![9999, 4143],
            skip_outbound_ports: vec![53],
            dry_run: false,
            nft: "nft".into(),
            termination_log: "/dev/null".into(),
        };
        let text = rules(&args, "ip", Inbound::Listening);
        for line in [
            "tcp dport { 4143, 4191, 9999 } accept",
            "meta skuid 2102 accept",
            "tcp dport { 53 } accept",
            "redirect to :4140",
            "tcp socket wildcard { 0, 1 } redirect to :4143",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        let bare = rules(&Args { skip_outbound_ports: vec![], ..args.clone() }, "ip", Inbound::All);
        assert!(!bare.contains("wildcard") && bare.contains("meta l4proto tcp redirect to :4143"), "{bare}");
        assert!(!bare.contains("{ 53 }") && bare.starts_with("table ip assent\ndelete table ip assent\n"));
        assert_eq!(rules(&args, "ip6", Inbound::Listening), text.replace("table ip ", "table ip6 "));
    }

    #[test]
    fn finds_an_address_that_others_can_use() {
        let loopback = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let link = "fe80000000000000a4c91dfffe5bb5a1 02 40 20 80     eth0\n";
        let unique = "fd000000000000000000000000000009 02 40 00 80     eth0\n";
        assert!(!has_ipv6("") && !has_ipv6("x") && !has_ipv6(&format!("{loopback}{link}")));
        assert!(has_ipv6(&format!("{loopback}{link}{unique}")));
    }

    #[test]
    fn without_a_redirect_the_pod_starts_and_its_status_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("termination-log");
        let command = ["--nft=/nowhere/nft".to_owned(), format!("--termination-log={}", log.display())];
        run(&parse(&command)).unwrap();
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(said.contains("start `/nowhere/nft`"), "{said}");
        // One that fails without reading its input.
        let command = ["--nft=false".to_owned(), format!("--termination-log={}", log.display())];
        run(&parse(&command)).unwrap();
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(said.contains("nft refused the rules"), "{said}");
    }

    fn parse(flags: &[String]) -> Args {
        #[derive(clap::Parser)]
        struct Whole {
            #[command(flatten)]
            args: Args,
        }
        let words = std::iter::once("redirect").chain(flags.iter().map(String::as_str));
        <Whole as clap::Parser>::parse_from(words).args
    }
}
