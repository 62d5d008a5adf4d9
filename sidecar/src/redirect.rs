//! Sends a pod's traffic through its sidecar: one nftables table, replaced as a whole.
//!
//! Everything that comes in goes to the inbound port, everything that the application opens to the outbound port. The
//! sidecar's own connections, loopback and named ports are left alone. IPv6 is redirected where the pod has an address of it;
//! a kernel that cannot do that leaves it alone, which the sidecar's count of bypassing connections shows. It runs once,
//! before the application starts.

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
}

/// Installs the redirect in this network namespace.
///
/// # Errors
/// If `nft` cannot be run or refuses the rules.
pub fn run(args: &Args) -> anyhow::Result<()> {
    install(args, &rules(args, "ip"))?;
    if has_ipv6(&std::fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default())
        && let Err(error) = install(args, &rules(args, "ip6"))
    {
        // Failing here would keep a pod from starting that has worked before it was injected.
        writeln!(std::io::stderr(), "IPv6 is not redirected: {error:#}").context("report")?;
    }
    Ok(())
}

fn install(args: &Args, rules: &str) -> anyhow::Result<()> {
    if args.dry_run {
        return std::io::stdout().write_all(rules.as_bytes()).context("print the rules");
    }
    let mut nft = Command::new(&args.nft).args(["-f", "-"]).stdin(Stdio::piped()).spawn().with_context(|| format!("start `{}`", args.nft))?;
    let mut input = nft.stdin.take().context("no pipe to nft")?;
    input.write_all(rules.as_bytes()).context("write the rules")?;
    drop(input);
    let status = nft.wait().context("wait for nft")?;
    if !status.success() {
        bail!("nft refused the rules: {status}");
    }
    Ok(())
}

/// Whether the list of the kernel's IPv6 addresses has one that other hosts can use: their scope is 0.
fn has_ipv6(addresses: &str) -> bool {
    addresses.lines().any(|line| line.split_whitespace().nth(3) == Some("00"))
}

/// The table of `family` as one transaction: created if absent, removed, and made anew.
fn rules(args: &Args, family: &str) -> String {
    let mut inbound = vec![args.inbound_port, args.admin_port];
    inbound.extend(&args.skip_inbound_ports);
    let mut outbound = String::new();
    if !args.skip_outbound_ports.is_empty() {
        // Writing to a string cannot fail.
        let _ = writeln!(outbound, "    tcp dport {{ {} }} accept", ports(&args.skip_outbound_ports));
    }
    format!(
        "table {family} assent\n\
         delete table {family} assent\n\
         table {family} assent {{\n\
         \x20 chain inbound {{\n\
         \x20   type nat hook prerouting priority dstnat; policy accept;\n\
         \x20   iif lo accept\n\
         \x20   tcp dport {{ {inbound} }} accept\n\
         \x20   meta l4proto tcp redirect to :{inbound_port}\n\
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
        };
        let text = rules(&args, "ip");
        for line in ["tcp dport { 4143, 4191, 9999 } accept", "meta skuid 2102 accept", "tcp dport { 53 } accept", "redirect to :4140", "redirect to :4143"] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        let bare = rules(&Args { skip_outbound_ports: vec![], ..args.clone() }, "ip");
        assert!(!bare.contains("{ 53 }") && bare.starts_with("table ip assent\ndelete table ip assent\n"));
        assert_eq!(rules(&args, "ip6"), text.replace("table ip ", "table ip6 "));
    }

    #[test]
    fn finds_an_address_that_others_can_use() {
        let loopback = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let link = "fe80000000000000a4c91dfffe5bb5a1 02 40 20 80     eth0\n";
        let unique = "fd000000000000000000000000000009 02 40 00 80     eth0\n";
        assert!(!has_ipv6("") && !has_ipv6("x") && !has_ipv6(&format!("{loopback}{link}")));
        assert!(has_ipv6(&format!("{loopback}{link}{unique}")));
    }
}
