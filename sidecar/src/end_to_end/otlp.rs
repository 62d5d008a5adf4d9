//! What a collector gets: a real OTLP service, its types and its wire made by others.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::control::CART;
use super::world::{World, comes_true, eventually, get, serve_on};

/// What came, each with the service that it came from.
#[derive(Clone, Default)]
struct Collector {
    metrics: Arc<Mutex<Vec<(String, Metric)>>>,
    spans: Arc<Mutex<Vec<(String, Span)>>>,
}

impl Collector {
    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(MetricsServiceServer::new(self.clone()))
            .add_service(TraceServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        address
    }
}

fn text<'a>(attributes: &'a [KeyValue], name: &str) -> &'a str {
    let value = attributes.iter().find(|attribute| attribute.key == name).and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    match value {
        Some(Value::StringValue(text)) => text,
        _ => "",
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(&self, request: Request<ExportMetricsServiceRequest>) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        for resource in request.into_inner().resource_metrics {
            let service = text(&resource.resource.unwrap().attributes, "service.name").to_owned();
            let metrics = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            self.metrics.lock().unwrap().extend(metrics.map(|metric| (service.clone(), metric)));
        }
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let service = text(&resource.resource.unwrap().attributes, "service.name").to_owned();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(Default::default()))
    }
}

/// A server that answers with the head that it got.
async fn mirror() -> SocketAddr {
    serve_on("127.0.0.1:0", |mut stream| async move {
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.unwrap_or(0);
        let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {read}\r\n\r\n");
        let _ = stream.write_all(&[answer.as_bytes(), &head[..read]].concat()).await;
    })
    .await
}

async fn request(address: SocketAddr, traceparent: &str) {
    let request = format!("GET /a HTTP/1.1\r\nHost: x\r\ntraceparent: {traceparent}\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert!(got.ends_with(&request), "the request was altered: {got}");
}

#[tokio::test]
async fn a_collector_gets_metrics_and_the_spans_of_sampled_traces() {
    let (world, collector) = (World::start().await, Collector::default());
    let flags = [format!("--otlp-endpoint=http://{}", collector.serve().await), "--otlp-interval-ms=100".to_owned()];
    let app = mirror().await;
    let server = world.launch("cart", None, &[], &flags).await;
    world.control.meshed(app, server.running.inbound.port(), CART);
    let client = world.launch("web", Some(app), &[], &flags).await;
    request(client.running.outbound, "00-11111111111111111111111111111111-2222222222222222-00").await;
    request(client.running.outbound, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").await;

    eventually(|| collector.spans.lock().unwrap().len() >= 2).await;
    let spans = collector.spans.lock().unwrap().clone();
    assert_eq!(spans.len(), 2, "{spans:?}");
    for (service, span) in &spans {
        assert_eq!((span.trace_id[0], span.trace_id[15], span.parent_span_id.as_slice()), (0x4b, 0x36, &0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()[..]));
        // Server and client of the conventions.
        assert_eq!((span.kind, text(&span.attributes, "http.request.method")), (if service == "cart" { 2 } else { 3 }, "GET"));
        assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    }
    let ids: std::collections::HashSet<_> = spans.iter().map(|(service, span)| (service, &span.span_id)).collect();
    assert_eq!(ids.len(), 2);

    let requests = |service: &str, name: &str| {
        let metrics = collector.metrics.lock().unwrap();
        let points = metrics.iter().rev().filter(|(from, metric)| from == service && metric.name == name).find_map(|(_, metric)| match &metric.data {
            Some(Data::Histogram(histogram)) => histogram.data_points.first().cloned(),
            _ => None,
        });
        points.map_or((0, String::new()), |point| {
            assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
            assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
            (point.count, text(&point.attributes, "assent.peer").to_owned())
        })
    };
    let web = "web.shop.serviceaccount.identity.assent-system.cluster.local";
    eventually(|| requests("web", "http.client.request.duration") == (2, CART.to_owned())).await;
    eventually(|| requests("cart", "http.server.request.duration") == (2, web.to_owned())).await;
    comes_true(async || !get(client.running.admin).await.contains("assent_otlp_exports_total{signal=\"spans\",outcome=\"taken\"} 0")).await;
    client.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_collector_that_says_nothing_slows_nothing_down_and_spans_are_bounded() {
    let world = World::start().await;
    // Takes connections and never answers.
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = collector.local_addr().unwrap();
    let flags = [format!("--otlp-endpoint=http://{address}"), "--otlp-spans-per-second=1".to_owned()];
    let (app, server) = (mirror().await, world.sidecar("cart", None).await);
    world.control.meshed(app, server.running.inbound.port(), CART);
    let client = world.launch("web", Some(app), &[], &flags).await;
    let requests = async {
        for _ in 0..20 {
            request(client.running.outbound, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), requests).await.expect("requests waited for the collector");
    comes_true(async || {
        let metrics = get(client.running.admin).await;
        let dropped = metrics.lines().find_map(|line| line.strip_prefix("assent_otlp_dropped_spans_total{reason=\"rate\"} "));
        dropped.and_then(|count| count.parse::<u64>().ok()).is_some_and(|dropped| dropped > 0)
    })
    .await;
    client.stop().await;
    server.stop().await;
    drop(collector);
}
