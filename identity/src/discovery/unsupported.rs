//! What proxies of other meshes may ask for and Assent does not have: answered as unsupported, with the reason and what there is
//! instead, and counted. Silence, or a bare code, would look like an outage.

use assent_runtime::metrics::metrics::counter::Counter;
use assent_runtime::metrics::metrics::family::Family;
use assent_runtime::metrics::registry::Registry;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use tonic::Status;
use tonic::service::Routes;

/// A service of linkerd2-proxy-api, by the beginning of its methods' paths.
struct Api {
    path: &'static str,
    label: &'static str,
    instead: &'static str,
}

const APIS: [Api; 3] = [
    Api {
        path: "/io.linkerd.proxy.outbound.",
        label: "outbound_policies",
        instead: "outbound policies are not supported: routes, retries and timeouts are the application's; io.linkerd.proxy.destination.Destination tells endpoints",
    },
    Api {
        path: "/io.linkerd.proxy.tap.",
        label: "tap",
        instead: "tap is not supported: requests show in metrics and in spans by OTLP, and their content nowhere",
    },
    // Whatever else comes.
    Api { path: "/", label: "other", instead: "discovery serves io.linkerd.proxy.destination.Destination and io.linkerd.proxy.inbound.InboundServerPolicies" },
];

/// How often each was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsupported(Family<[(&'static str, &'static str); 1], Counter>);

// === impl Unsupported ===

impl Unsupported {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let asked = Self::default();
        registry.register("unsupported", "Calls of services that are not supported, by service", asked.0.clone());
        asked
    }

    /// `routes`, and an answer to whatever they do not have.
    pub(crate) fn behind(self, routes: Routes) -> Routes {
        routes.into_axum_router().fallback(move |request: Request| std::future::ready(self.answer(request.uri().path()))).into()
    }

    fn answer(&self, path: &str) -> Response<Body> {
        let api = APIS.iter().find(|api| path.starts_with(api.path));
        let (label, instead) = api.map_or(("other", ""), |api| (api.label, api.instead));
        if self.0.get_or_create(&[("service", label)]).inc() == 0 {
            // Each kind once: a proxy asks again and again.
            tracing::warn!(service = label, "a proxy asks for what is not supported: {instead}");
        }
        Status::unimplemented(instead).into_http()
    }
}

#[cfg(test)]
mod tests {
    use assent_runtime::metrics::encoding::text;
    use tonic::codegen::Service;

    use super::*;

    #[tokio::test]
    async fn each_api_is_named_and_counted() {
        let mut registry = Registry::with_prefix("assent_discovery");
        let mut routes = Unsupported::register(&mut registry).behind(Routes::default());
        for (path, word) in [
            ("/io.linkerd.proxy.outbound.OutboundPolicies/Watch", "outbound policies are not supported"),
            ("/io.linkerd.proxy.tap.Tap/Observe", "tap is not supported"),
            ("/io.linkerd.proxy.tap.Instrument/Watch", "tap is not supported"),
            ("/somebody.Else/Asks", "io.linkerd.proxy.destination.Destination"),
        ] {
            let response = Service::call(&mut routes, Request::post(path).body(Body::empty()).unwrap()).await.unwrap();
            let status = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(status.code(), tonic::Code::Unimplemented, "{path}");
            assert!(status.message().contains(word), "{path}: {status}");
        }
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for line in [r#"service="outbound_policies"} 1"#, r#"service="tap"} 2"#, r#"service="other"} 1"#] {
            assert!(shown.contains(&format!("assent_discovery_unsupported_total{{{line}")), "{shown}");
        }
    }
}
