//! Against a real socket: what a dependency may answer, and what is remembered of it.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, Response},
};
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;

type Answers = Arc<Mutex<VecDeque<Response<Body>>>>;

/// A server that gives prepared answers in order, and what it was asked.
struct Server {
    upstream: Upstream,
    answers: Answers,
    asked: Arc<Mutex<Vec<Request<()>>>>,
    metrics: Metrics,
}

impl Server {
    async fn start(path: &str) -> Self {
        type Shared = (Answers, Arc<Mutex<Vec<Request<()>>>>);
        let answers = Answers::default();
        let asked = Arc::<Mutex<Vec<Request<()>>>>::default();
        let handler = async |State((answers, asked)): State<Shared>, request: Request<Body>| {
            asked.lock().push(request.map(|_| ()));
            let answer = answers.lock().pop_front();
            answer.expect("the server has an answer for each request")
        };
        let router =
            Router::new().fallback(handler).with_state((Arc::clone(&answers), Arc::clone(&asked)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let url = format!("http://user:s3cret@{address}{path}");
        let metrics = Metrics::new();
        let upstream = upstream(&url, Duration::from_secs(30), &metrics);
        Self { upstream, answers, asked, metrics }
    }

    fn answers(&self, response: Response<Body>) {
        self.answers.lock().push_back(response);
    }

    fn answers_json(&self, body: &Value) {
        self.answers(Response::new(Body::from(body.to_string())));
    }

    async fn get(&self, path: &str) -> Result<Bytes, UpstreamError> {
        self.upstream.get(path, MAX_ANSWER_BYTES, |body| Ok(body.clone())).await
    }

    fn asked(&self) -> usize {
        self.asked.lock().len()
    }
}

fn upstream(url: &str, retry_interval: Duration, metrics: &Metrics) -> Upstream {
    drop(rustls::crypto::ring::default_provider().install_default());
    let options = UpstreamOptions {
        request_timeout: Duration::from_secs(20),
        retry_interval,
        metrics: metrics.clone(),
    };
    Upstream::new(Target::Node, "node_execution_rpc", SecretUrl::parse(url).unwrap(), options)
        .unwrap()
}

fn status(code: u16) -> Response<Body> {
    Response::builder().status(code).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn json_rpc_answers_are_read_and_null_is_one() {
    let server = Server::start("/").await;
    let call = || server.upstream.call::<Option<u64>>("some_method", json!([1]));
    server.answers_json(&json!({"jsonrpc": "2.0", "id": 1, "result": 5}));
    assert_eq!(call().await, Ok(Some(5)));
    server.answers_json(&json!({"jsonrpc": "2.0", "id": 1, "result": null}));
    assert_eq!(call().await, Ok(None));
    server.answers_json(
        &json!({"id": 1, "error": {"code": -32000, "message": "finalized block not found"}}),
    );
    let error = UpstreamError::Rpc { code: -32000, message: "finalized block not found".into() };
    assert_eq!(call().await, Err(error));
    for nonsense in [json!({}), json!([]), json!("no"), json!({"result": "text"})] {
        server.answers_json(&nonsense);
        assert!(matches!(call().await, Err(UpstreamError::Malformed(_))), "{nonsense}");
    }
    // None of these is an outage: each was asked.
    assert_eq!(server.asked(), 7);
    let request = &server.asked.lock()[0];
    assert!(request.headers().contains_key(headers::SIDECAR), "the filter can tell who asks");
}

#[tokio::test]
async fn a_long_message_of_a_dependency_is_cut() {
    let server = Server::start("/").await;
    server.answers_json(&json!({"error": {"code": 1, "message": "x".repeat(100_000)}}));
    let error = server.upstream.call::<u64>("m", json!([])).await.unwrap_err();
    assert!(error.to_string().len() < 400);
}

#[tokio::test]
async fn an_answer_through_the_filter_names_the_setting() {
    let server = Server::start("/").await;
    // Also when the filter itself refuses.
    for code in [200, 503] {
        let mut answer = status(code);
        answer.headers_mut().insert(headers::FILTER, "1".parse().unwrap());
        server.answers(answer);
        let error = server.upstream.call::<u64>("m", json!([])).await.unwrap_err();
        assert_eq!(error, UpstreamError::ThroughFilter { setting: "node_execution_rpc" });
        assert!(error.to_string().contains("node_execution_rpc"));
    }
}

#[tokio::test]
async fn after_an_outage_nothing_is_asked_for_a_while() {
    let server = Server::start("/").await;
    server.answers(status(503));
    let call = || server.upstream.call::<u64>("m", json!([]));
    assert_eq!(call().await, Err(UpstreamError::Status(503)));
    let error = call().await.unwrap_err();
    assert_eq!(error, UpstreamError::BackingOff("HTTP status 503".into()));
    assert_eq!(server.asked(), 1);
    let report = server.upstream.report();
    assert_eq!((report.ok, report.failures), (Some(false), 1));
    assert_eq!(report.last_error.unwrap().message, "HTTP status 503");
    assert!(server.metrics.render().contains(r#"requests_total{target="node",outcome="error"} 1"#));
}

#[tokio::test]
async fn a_dependency_that_asks_to_be_left_alone_is() {
    let in_two_minutes = (Timestamp::now() + jiff::Span::new().minutes(2)).to_zoned(TimeZone::UTC);
    let date = in_two_minutes.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (code, header, least, most) in [
        (429, "7", 7, 7),
        (503, "86400", 300, 300),
        (429, date.as_str(), 60, 120),
        (429, "Sun, 06 Nov 1994 08:49:37 GMT", 0, 0),
    ] {
        let server = Server::start("/").await;
        server.answers(
            Response::builder()
                .status(code)
                .header("retry-after", header)
                .body(Body::empty())
                .unwrap(),
        );
        let error = server.get("x").await.unwrap_err();
        let UpstreamError::Throttled { status, retry_after } = error else { panic!("{error}") };
        assert_eq!(status, code);
        assert!((least..=most).contains(&retry_after.as_secs()), "{header}: {retry_after:?}");
        assert!(matches!(server.get("x").await, Err(UpstreamError::BackingOff(_))));
        assert_eq!(server.asked(), 1);
    }
    let server = Server::start("/").await;
    let answer = Response::builder().status(429).header("retry-after", "soon").body(Body::empty());
    server.answers(answer.unwrap());
    assert_eq!(server.get("x").await, Err(UpstreamError::Status(429)));
}

#[tokio::test]
async fn a_long_wait_that_was_asked_for_outlasts_a_success_under_way() {
    let now = std::time::Instant::now();
    let mut health = Health::default();
    let pause = Pause { first: Duration::from_millis(1), least: Duration::from_secs(60) };
    health.failed(&UpstreamError::Status(429), Some(pause));
    health.succeeded();
    assert!(health.too_soon(now + Duration::from_secs(59)).is_some());
    assert!(health.too_soon(now + Duration::from_secs(70)).is_none());
}

#[tokio::test]
async fn more_than_was_asked_for_is_too_much_and_no_fault() {
    let server = Server::start("/").await;
    server.answers(Response::new(Body::from(vec![b' '; 100])));
    let answer = server.upstream.get("x", 99, |body| Ok(body.len())).await;
    assert_eq!(answer, Err(UpstreamError::TooLarge { limit: 99 }));
    assert_eq!(server.upstream.report().failures, 0);
}

#[tokio::test]
async fn not_there_yet_is_no_outage() {
    let server = Server::start("/v1").await;
    server.answers(status(404));
    assert_eq!(server.get("availability/x").await, Err(UpstreamError::Status(404)));
    server.answers(Response::new(Body::from("5")));
    assert_eq!(server.get("status/block-height").await.unwrap(), "5");
    assert_eq!(server.upstream.report().ok, Some(true));
    let asked = server.asked.lock();
    assert_eq!(asked[1].uri().path(), "/v1/status/block-height", "below the base, without //");
    assert!(server.metrics.render().contains(r#"outcome="not_yet"} 1"#));
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let server = Server::start("/").await;
    let chunk = axum::body::Bytes::from(vec![b' '; 1024 * 1024]);
    let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
    server.answers(Response::new(Body::from_stream(endless)));
    assert_eq!(server.get("x").await, Err(UpstreamError::TooLarge { limit: MAX_ANSWER_BYTES }));
}

#[tokio::test]
async fn redirects_are_followed() {
    let server = Server::start("/").await;
    let answer = Response::builder().status(307).header("location", "/v1/y").body(Body::empty());
    server.answers(answer.unwrap());
    server.answers(Response::new(Body::from("{}")));
    assert_eq!(server.get("y").await.unwrap(), "{}");
}

#[tokio::test]
async fn no_error_shows_the_secrets_of_a_url() {
    // Nothing listens on a port that was just released.
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://user:s3cret@{address}/k3y?token=t0ken");
    let upstream = upstream(&url, Duration::ZERO, &Metrics::new());
    let error = upstream.call::<u64>("m", json!([])).await.unwrap_err();
    let shown = format!("{error} {error:?} {upstream:?} {:?}", upstream.report());
    for secret in ["s3cret", "k3y", "t0ken"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(matches!(error, UpstreamError::Connection(_)), "{error:?}");
}
