//! Two pods with their real redirect and the real binaries, in network namespaces. It needs root, `ip`, `nft` and `nsenter`,
//! and says so loudly when it cannot run.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the in-process suite uses more of it")]
#[path = "../../src/end_to_end/control.rs"]
mod control;
mod interop;
mod pods;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use control::{CART, Control};
use pods::{Pod, can_run, lines};

const APP: u16 = 8080;
/// Dialled directly by configuration.
const SKIPPED: u16 = 8081;

// The control plane must answer while sockets block this thread.
#[tokio::test(flavor = "multi_thread")]
async fn redirected_traffic_is_meshed_and_survives_a_restart_in_a_partition() {
    if !can_run() {
        return;
    }
    let control = Control::new();
    let [identity, others, ..] = control.serve("0.0.0.0").await;
    let mut web = Pod::new("web", 1);
    let mut cart = Pod::new("cart", 2);
    Pod::join(&web, &cart);
    for pod in [&web, &cart] {
        pod.redirect();
        let once = pod.rules();
        pod.redirect();
        assert_eq!(pod.rules(), once, "the table is replaced, not added to");
    }
    web.start(&control, identity.port(), others.port());
    cart.start(&control, identity.port(), others.port());
    web.ready().await;
    cart.ready().await;
    for pod in [&web, &cart] {
        eprintln!("resident memory of an idle sidecar: {} KiB", pod.resident_kib());
    }

    let app = SocketAddr::new(cart.address(), APP);
    let seen = cart.serve_http(APP);
    control.meshed(app, 4143, CART);

    // From the meshed pod: the application sees its own sidecar, the sidecars prove each other.
    assert!(request(&web, app).ends_with("hello"));
    assert_eq!(lines(&seen), [cart.address().to_string()]);
    let flow = control.flow(|flow| flow.peer == CART && flow.success == 1).await;
    assert_eq!(flow.destination, app.to_string());
    control.flow(|flow| flow.peer.starts_with("web.shop.") && flow.destination == format!(":{APP}")).await;

    // From the node, as a probe does: redirected, recognised as plain, passed on.
    let probe = SocketAddr::new(cart.node_side_address(), APP);
    assert!(exchange(std::net::TcpStream::connect_timeout(&probe, Duration::from_secs(5)).unwrap()).ends_with("hello"));
    control.flow(|flow| flow.peer.is_empty() && flow.destination == format!(":{APP}")).await;

    // Over IPv6 too.
    let app_v6 = SocketAddr::new(cart.address_v6(), APP);
    control.meshed(app_v6, 4143, CART);
    assert!(request(&web, app_v6).ends_with("hello"));
    assert_eq!(lines(&seen).last().unwrap(), &cart.address_v6().to_string());
    let flow = control.flow(|flow| flow.destination == app_v6.to_string()).await;
    assert_eq!((flow.peer.as_str(), flow.success), (CART, 1));

    ways_are_told_apart(&web, &cart, [app, app_v6]).await;
    control.meshed(app, 4143, CART);

    // A sidecar that restarts while nobody signs certificates still proves who it is.
    control.away();
    cart.stop();
    cart.start(&control, identity.port(), others.port());
    cart.ready().await;
    assert!(request(&web, app).ends_with("hello"));
    assert_eq!(lines(&seen).last().unwrap(), &cart.address().to_string());
    let metrics = cart.admin("/metrics");
    assert!(metrics.contains("assent_sidecar_unmeshed_start 0"), "{metrics}");
    control.back();
    // Told only now, with what was observed while the seat was away.
    control.flow(|flow| flow.peer.starts_with("web.shop.") && flow.requests == 1 && flow.success == 1).await;

    // Only another account may connect, and the node, which the pod knows by another address than its controller does.
    control.policy(control::narrowed("192.0.2.7", &["bank"]));
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while refused(&web, app).is_none() {
        assert!(std::time::Instant::now() < until, "it was never refused");
    }
    // The application answers one after the other: with its answer to a probe it has noted whatever came before.
    let probed = || assert!(exchange(std::net::TcpStream::connect_timeout(&probe, Duration::from_secs(5)).unwrap()).ends_with("hello"));
    probed();
    let seen_before = lines(&seen).len();
    assert_eq!(refused(&web, app), Some(std::io::ErrorKind::ConnectionReset));
    probed();
    assert_eq!(lines(&seen).len(), seen_before + 1, "the application heard of it");
    let metrics = cart.admin("/metrics");
    assert!(metrics.contains("authz_name=\"probe\",tls=\"no_identity\""), "{metrics}");
}

/// The kernel's list of sockets tells what passes the sidecar, what need not, and what should and does not.
async fn ways_are_told_apart(web: &Pod, cart: &Pod, apps: [SocketAddr; 2]) {
    for app in apps {
        let held = web.connect(app);
        for pod in [web, cart] {
            pod.shows("assent_pod_connections{way=\"proxied\"} 1").await;
            pod.shows("assent_pod_connections{way=\"bypass\"} 0").await;
        }
        drop(held);
        cart.shows("assent_pod_connections{way=\"proxied\"} 0").await;
    }
    cart.serve_http(SKIPPED);
    let left_alone = web.connect(SocketAddr::new(cart.address(), SKIPPED));
    web.shows("assent_pod_connections{way=\"skipped\"} 1").await;
    drop(left_alone);

    web.unredirect();
    let around = web.connect(SocketAddr::new(cart.address(), APP));
    web.shows("assent_pod_bypass_connections{direction=\"outbound\",port=\"8080\"} 1").await;
    // Of the other pod it is one more that its own sidecar has taken.
    cart.shows("assent_pod_connections{way=\"bypass\"} 0").await;
    drop(around);
    web.shows("assent_pod_bypass_connections{direction=\"outbound\",port=\"8080\"} 0").await;
    web.redirect();
}

fn request(from: &Pod, to: SocketAddr) -> String {
    exchange(from.connect(to))
}

fn exchange(stream: std::net::TcpStream) -> String {
    try_exchange(stream).unwrap()
}

fn refused(from: &Pod, to: SocketAddr) -> Option<std::io::ErrorKind> {
    from.try_connect(to).and_then(try_exchange).err().map(|error| error.kind())
}

fn try_exchange(mut stream: std::net::TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut got = String::new();
    stream.read_to_string(&mut got)?;
    Ok(got)
}
