//! Spans by both of OTLP's ways: what is taken in, what is refused.

use std::io::Write as _;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message as _;

use super::*;

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) }), ..KeyValue::default() }
}

fn export(trace: u8, service: &str) -> ExportTraceServiceRequest {
    let now_ns = u64::try_from(now().0).unwrap() * 1_000_000;
    let span = Span {
        trace_id: vec![trace; 16],
        span_id: vec![trace; 8],
        name: "GET /".into(),
        kind: 2,
        start_time_unix_nano: now_ns - 50_000_000,
        end_time_unix_nano: now_ns,
        attributes: vec![attribute("http.route", "/"), attribute("peer.service", "redis")],
        ..Span::default()
    };
    let resource = Resource { attributes: vec![attribute("service.name", service), attribute("k8s.namespace.name", "shop")], ..Resource::default() };
    let resource_spans =
        ResourceSpans { resource: Some(resource), scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

async fn receiver() -> (Arc<Receiver>, String, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (receiver, token) = (Receiver::new(Metrics::default()), CancellationToken::new());
    let serving = receiver.clone().serve(listener, token.clone());
    drop(tokio::spawn(async move { serving.await.unwrap() }));
    (receiver, format!("http://{address}"), token)
}

/// What was summed up, once everything that came is joined.
fn counted(receiver: &Receiver) -> Vec<(String, String, u64)> {
    let spans = receiver.lock();
    let operations = spans.operations(&Names::testing(&["front", "orders"], &[]), now().0 + 60_000);
    operations.into_iter().map(|operation| (operation.service, operation.operation, operation.count as u64)).collect()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn post_it(address: &str, kind: &str, encoding: Option<&str>, body: Vec<u8>) -> u16 {
    assent_runtime::kube::install_crypto_provider();
    let request = reqwest::Client::new().post(format!("{address}/v1/traces")).header("content-type", kind).body(body);
    let request = encoding.into_iter().fold(request, |request, encoding| request.header("content-encoding", encoding));
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn exports_come_over_http_and_over_grpc() {
    let (receiver, address, token) = receiver().await;
    let kind = "application/x-protobuf";
    assert_eq!(post_it(&address, kind, None, export(1, "front").encode_to_vec()).await, 200);
    assert_eq!(post_it(&address, kind, Some("gzip"), packed(&export(2, "front").encode_to_vec())).await, 200);
    let mut client = TraceServiceClient::connect(address.clone()).await.unwrap();
    let reply = client.export(export(3, "orders")).await.unwrap().into_inner();
    assert_eq!(reply.partial_success, None);
    let mut counted = counted(&receiver);
    counted.sort();
    assert_eq!(counted, [("front".to_owned(), "GET /".to_owned(), 2), ("orders".to_owned(), "GET /".to_owned(), 1)]);
    token.cancel();
}

#[tokio::test]
async fn what_is_no_export_or_too_large_is_refused() {
    let (receiver, address, token) = receiver().await;
    let kind = "application/x-protobuf";
    assert_eq!(post_it(&address, "application/json", None, b"{}".to_vec()).await, 415);
    assert_eq!(post_it(&address, kind, Some("br"), Vec::new()).await, 415);
    assert_eq!(post_it(&address, kind, None, vec![0xff; 100]).await, 400);
    assert_eq!(post_it(&address, kind, None, vec![0; MAX_BODY + PREFIX + 1]).await, 413);
    // Small when it comes, large when unpacked.
    let bomb = packed(&vec![0; MAX_BODY + 1]);
    assert!(bomb.len() < 64 << 10);
    assert_eq!(post_it(&address, kind, Some("gzip"), bomb).await, 413);
    assert_eq!(post_it(&address, kind, Some("gzip"), b"no gzip".to_vec()).await, 400);
    assert!(counted(&receiver).is_empty());
    token.cancel();
}

#[tokio::test]
async fn without_room_a_sender_is_told_to_come_again() {
    let (receiver, address, token) = receiver().await;
    let held = receiver.reading.acquire_many(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
    let body = export(1, "front");
    assert_eq!(post_it(&address, "application/x-protobuf", None, body.encode_to_vec()).await, 503);
    let mut client = TraceServiceClient::connect(address.clone()).await.unwrap();
    assert_eq!(client.export(body.clone()).await.unwrap_err().code(), tonic::Code::Unavailable);
    drop(held);
    assert_eq!(post_it(&address, "application/x-protobuf", None, body.encode_to_vec()).await, 200);
    token.cancel();
}

/// As the generated code reads it.
fn reference(body: &[u8]) -> Option<usize> {
    let request = ExportTraceServiceRequest::decode(body).ok()?;
    Some(request.resource_spans.iter().flat_map(|spans| &spans.scope_spans).map(|spans| spans.spans.len()).sum())
}

proptest! {
    #[test]
    fn any_bytes_are_an_export_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut count = 0;
        if wire::spans(&bytes, |_, _| count += 1).is_ok() && let Some(expected) = reference(&bytes) {
            prop_assert_eq!(count, expected);
        }
    }

    /// Where both read a damaged export, they see as many spans, and what is ours is within the body.
    #[test]
    fn a_damaged_export_is_read_as_others_read_it(places in proptest::collection::vec((0_usize..200, any::<u8>()), 0..4), cut in 0_usize..200) {
        let mut bytes = export(1, "front").encode_to_vec();
        for (place, byte) in places {
            if let Some(known) = bytes.get_mut(place) {
                *known = byte;
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(150)));
        let mut count = 0;
        let read = wire::spans(&bytes, |_, span| {
            count += 1;
            assert!(span.name.len() <= bytes.len());
        });
        if read.is_ok() && let Some(expected) = reference(&bytes) {
            prop_assert_eq!(count, expected);
        }
    }
}
