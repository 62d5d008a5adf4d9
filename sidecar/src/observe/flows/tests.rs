//! The flow table: what a window holds, what stays for the next one, and that both are bounded.

use super::*;

fn key(destination: &str) -> Key {
    Key::new(Direction::Outbound, "web.shop", destination)
}

fn get(route_segments: u8) -> Route {
    Route { method: "GET", segments: route_segments }
}

#[test]
fn a_window_holds_counts_and_keeps_what_is_unanswered() {
    let flows = Flows::default();
    let start = Instant::now();
    let connection = flows.open(key("10.0.0.1:80"), None);
    connection.count(Side::Client, 10);
    flows.http(&connection, http1::Event::Begin { route: get(1), started: start });
    flows.http(&connection, http1::Event::Begin { route: get(1), started: start });
    flows.http(
        &connection,
        http1::Event::End { route: get(1), started: start, status: 503, latency: Duration::from_millis(3), request_bytes: 4, response_bytes: 5 },
    );

    let window = flows.drain(start + Duration::from_millis(1500), &HashMap::new());
    let http = &window.http[0];
    assert_eq!((http.requests, http.server_error, http.success, http.in_flight, http.stalled), (2, 1, 0, 1, 1));
    assert_eq!((http.route_class.as_str(), http.peer.as_str(), http.destination.as_str()), ("GET/1", "web.shop", "10.0.0.1:80"));
    assert_eq!((window.tcp[0].opened, window.tcp[0].closed, window.tcp[0].bytes_sent), (1, 0, 10));
    assert!(window.database.is_empty());

    flows.http(&connection, http1::Event::NoResponse { route: get(1), started: start });
    drop(connection);
    let window = flows.drain(start, &HashMap::new());
    assert_eq!((window.http[0].requests, window.http[0].no_response, window.http[0].in_flight), (0, 1, 0));
    assert_eq!((window.tcp[0].opened, window.tcp[0].closed), (0, 1));
    let window = flows.drain(start, &HashMap::new());
    assert!(window.http.is_empty() && window.tcp.is_empty(), "nothing is kept for ever");
}

#[test]
fn database_ports_have_flows_of_their_own() {
    let flows = Flows::default();
    let start = Instant::now();
    let connection = flows.open(key("10.0.0.1:5432"), None);
    flows.database(&connection, exchange::Event::Asked(start));
    flows.database(&connection, exchange::Event::Answered { asked: start, turnaround: Duration::from_micros(5) });
    flows.database(&connection, exchange::Event::Asked(start));
    let window = flows.drain(start + Duration::from_secs(2), &HashMap::new());
    let flow = &window.database[0];
    assert_eq!((flow.system.as_str(), flow.exchanges, flow.in_flight, flow.stalled), ("postgresql", 1, 1, 1));
    assert_eq!(flow.turnaround_us.as_ref().unwrap().sum, 5);
    flows.database(&connection, exchange::Event::Answered { asked: start, turnaround: Duration::from_secs(3) });
    let window = flows.drain(start, &HashMap::new());
    assert_eq!((window.database[0].exchanges, window.database[0].in_flight), (1, 0));
}

#[test]
fn kernel_counts_are_deltas_and_times_are_maxima() {
    let flows = Flows::default();
    let pair = |port: u16| (SocketAddr::from(([10, 0, 0, 1], port)), SocketAddr::from(([10, 0, 0, 2], 80)));
    let connections = [flows.open(key("10.0.0.2:80"), Some(pair(1))), flows.open(key("10.0.0.2:80"), Some(pair(2)))];
    let sample = |rtt_us, retransmits| Sample { rtt_us, counts: Counts { retransmits, ..Counts::default() }, ..Sample::default() };
    let now = Instant::now();
    let first = flows.drain(now, &HashMap::from([(pair(1), sample(100, 3)), (pair(2), sample(900, 0))]));
    assert_eq!((first.tcp[0].connections, first.tcp[0].rtt_us, first.tcp[0].retransmits), (2, 900, 3));
    let second = flows.drain(now, &HashMap::from([(pair(1), sample(100, 5))]));
    assert_eq!((second.tcp[0].connections, second.tcp[0].rtt_us, second.tcp[0].retransmits), (2, 100, 2));
    // What happened after the last look is told at the end, once, and of the network side only.
    connections[0].last(|side| (side == Side::Server).then(|| sample(300, 9)));
    connections[1].last(|_| None);
    drop(connections);
    let third = flows.drain(now, &HashMap::new());
    assert_eq!((third.tcp[0].connections, third.tcp[0].rtt_us, third.tcp[0].retransmits), (0, 300, 4));
}

#[test]
fn a_flow_is_named_by_what_held_it_back() {
    let flows = Flows::default();
    let pair = (SocketAddr::from(([10, 0, 0, 1], 1)), SocketAddr::from(([10, 0, 0, 2], 80)));
    let connection = flows.open(key("10.0.0.2:80"), Some(pair));
    let now = Instant::now();
    flows.drain(now, &HashMap::new());
    let counts = Counts { busy_us: 1_500_000, receiver_us: 1_200_000, ..Counts::default() };
    let samples = HashMap::from([(pair, Sample { counts, ..Sample::default() })]);
    let first = flows.drain(now + Duration::from_secs(2), &samples);
    let flow = &first.tcp[0];
    assert_eq!((flow.busy_us, flow.network_limited_us, flow.receiver_limited_us), (1_500_000, 300_000, 1_200_000));
    assert_eq!(flow.limit(), assent_api::proto::TcpLimit::Receiver);
    let second = flows.drain(now + Duration::from_secs(4), &samples);
    assert_eq!((second.tcp[0].busy_us, second.tcp[0].limit()), (0, assent_api::proto::TcpLimit::None));
    drop(connection);
}

#[test]
fn keys_are_bounded_and_the_rest_is_other() {
    let flows = Flows::default();
    let start = Instant::now();
    let connections: Vec<_> = (0..1000).map(|n| flows.open(key(&format!("10.0.0.{n}:80")), None)).collect();
    for connection in &connections {
        for segments in 0..3 {
            flows.http(connection, http1::Event::Begin { route: get(segments), started: start });
        }
    }
    let window = flows.drain(start, &HashMap::new());
    assert!(window.tcp.len() <= MAX_KEYS + 1 && window.http.len() <= MAX_KEYS + 1);
    assert_eq!(window.tcp.iter().map(|flow| flow.opened).sum::<u64>(), 1000, "nothing is lost, only merged");
    assert_eq!(window.http.iter().map(|flow| flow.requests).sum::<u64>(), 3000);
    assert!(window.http.iter().any(|flow| flow.route_class == OTHER && flow.destination == OTHER));
}

#[test]
fn what_began_under_other_ends_there() {
    let flows = Flows::default();
    let start = Instant::now();
    let connections: Vec<_> = (0..300).map(|n| flows.open(key(&format!("10.0.0.{n}:80")), None)).collect();
    for connection in &connections {
        flows.http(connection, http1::Event::Begin { route: get(0), started: start });
    }
    for connection in &connections {
        flows.http(connection, http1::Event::NoResponse { route: get(0), started: start });
    }
    flows.drain(start, &HashMap::new());
    assert!(flows.drain(start, &HashMap::new()).http.is_empty(), "nothing waits for ever");
}
