//! The page for Prometheus: `GET /metrics`, and `GET /health` for load balancers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::limits::{CALLER_WAIT_SECS, READERS_MAX};

/// Writes what is only known when asked, in the same text format.
pub type Extra = Arc<dyn Fn(&mut String) + Send + Sync>;

/// Serves the page until the task is ended.
pub async fn serve(listener: TcpListener, registry: Arc<Registry>, extra: Extra) {
    let places = Arc::new(Semaphore::new(READERS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let (registry, extra) = (registry.clone(), extra.clone());
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let answer = answer(&request, &registry, &extra);
                async move { Ok::<_, Infallible>(answer) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(CALLER_WAIT_SECS))
                .keep_alive(false)
                .serve_connection(TokioIo::new(tcp), service);
            if let Err(error) = serving.await {
                tracing::debug!(%error, "A reader of the metrics page went away.");
            }
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    registry: &Registry,
    extra: &Extra,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    match request.uri().path() {
        "/health" => plain(StatusCode::OK, "ok\n".into()),
        "/metrics" => {
            let mut page = String::new();
            extra(&mut page);
            match prometheus_client::encoding::text::encode(&mut page, registry) {
                Ok(()) => {
                    let mut response = plain(StatusCode::OK, page);
                    let text = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                    let value = hyper::header::HeaderValue::from_static(text);
                    response.headers_mut().insert(CONTENT_TYPE, value);
                    response
                }
                Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the page is damaged\n".into()),
            }
        }
        _ => plain(StatusCode::NOT_FOUND, "there is /metrics and /health\n".into()),
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}
