//! The page for Prometheus: `GET /metrics`, and `GET /health` for load balancers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::limits::{HEAD_BYTES_MAX, READER_WAIT_SECS, READERS_MAX};

/// Serves the page until the task is ended.
pub async fn serve(listener: TcpListener, registry: Arc<Registry>) {
    let places = Arc::new(Semaphore::new(READERS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((tcp, _)) = listener.accept().await else {
            // Out of descriptors: a later reader may be luckier.
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let registry = registry.clone();
        tokio::spawn(async move {
            let _place = place;
            let wait = Duration::from_secs(READER_WAIT_SECS);
            if !matches!(timeout(wait, answer_one(tcp, registry)).await, Ok(Ok(()))) {
                tracing::debug!(
                    event = "metrics_closed",
                    "A reader of the metrics page went away."
                );
            }
        });
    }
}

async fn answer_one(tcp: TcpStream, registry: Arc<Registry>) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let answer = answer(&request, &registry);
        async move { Ok::<_, Infallible>(answer) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(READER_WAIT_SECS))
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(tcp), service)
        .await
}

fn answer<B>(request: &Request<B>, registry: &Registry) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return refusal;
    }
    match request.uri().path() {
        "/health" => plain(StatusCode::OK, "ok\n".into()),
        "/metrics" => page(registry),
        _ => plain(StatusCode::NOT_FOUND, "there is /metrics and /health\n".into()),
    }
}

fn page(registry: &Registry) -> Response<Full<Bytes>> {
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, registry).is_err() {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be written\n".into());
    }
    let mut response = plain(StatusCode::OK, text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
    response
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use stentor_testkit::World;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::facts;

    async fn served(world: &World) -> std::net::SocketAddr {
        let mut registry = Registry::default();
        world.engine.metrics.register(&mut registry);
        let expiries: facts::Expiries = Arc::new(|| vec![("a\"b.example".into(), -7)]);
        facts::register(&mut registry, world.engine.stores.writer.clone(), expiries);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Arc::new(registry)));
        address
    }

    async fn fetch(address: std::net::SocketAddr, request: &str) -> String {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        // The server may refuse before it has read all.
        let _ = tcp.write_all(request.as_bytes()).await;
        let mut response = Vec::new();
        let _ = tcp.read_to_end(&mut response).await;
        String::from_utf8(response).unwrap()
    }

    #[tokio::test]
    async fn the_page_counts_what_happened() {
        let world = World::new();
        world.add_account("juliet@capulet.example").await;
        let juliet = world.connect("juliet@capulet.example/balcony").await;
        let page = fetch(served(&world).await, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(page.contains("content-type: application/openmetrics-text; version=1.0.0"));
        for line in [
            "stentor_sessions 1",
            "stentor_store_stages_committed_total 1",
            "stentor_store_writes_waiting 0",
            "stentor_certificate_seconds_left{name=\"a\\\"b.example\"} -7",
            concat!("stentor_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# EOF",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        for name in ["process_resident_memory_bytes ", "process_open_fds ", "process_max_fds "] {
            let line = page.lines().find(|l| l.starts_with(name)).unwrap();
            assert!(line[name.len()..].parse::<u64>().unwrap() > 0, "{line}");
        }
        drop(juliet);
    }

    #[tokio::test]
    async fn anything_but_the_two_pages_is_refused() {
        let world = World::new();
        let address = served(&world).await;
        for (request, status) in [
            ("GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found"),
            ("GET /metrics/../secret HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found"),
            ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed"),
            ("garbage\r\n\r\n", "400 Bad Request"),
        ] {
            let response = fetch(address, request).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}{response}");
        }
    }

    #[tokio::test]
    async fn a_request_head_beyond_the_maximum_is_refused() {
        let world = World::new();
        let address = served(&world).await;
        let long = "a".repeat(2 * HEAD_BYTES_MAX);
        let request = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n");
        let response = fetch(address, &request).await;
        assert!(!response.contains("200 OK"), "{response}");
    }
}
