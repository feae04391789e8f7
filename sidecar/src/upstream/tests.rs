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
        self.upstream.get(path, Question::BLOCK, |body| Ok(body.clone())).await
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
    let refused = UpstreamError::Status { status: 503, answer: String::new() };
    assert_eq!(call().await, Err(refused.clone()));
    let report = server.upstream.report();
    assert_eq!((report.ok, report.failures), (Some(false), 1));
    let last_error = report.last_error.unwrap();
    assert_eq!((last_error.code, &*last_error.message), ("status", "HTTP status 503"));
    // What is shown stays the fault and its time, whatever a request that was under way ends in.
    for _ in 0..3 {
        let error = call().await.unwrap_err();
        assert_eq!((error.code(), error.to_string()), (refused.code(), refused.to_string()));
        assert_eq!(error, UpstreamError::BackingOff(Box::new(refused.clone())));
        assert_eq!(server.asked(), 1);
        let last_error_now = server.upstream.report().last_error.unwrap();
        assert_eq!((last_error_now.at, last_error_now.code), (last_error.at, "status"));
    }
    server.upstream.blame(&UpstreamError::Distrusted("late".into()));
    assert_eq!(call().await.unwrap_err().code(), "status");
    assert!(!UpstreamError::CODES.contains(&"backing_off"), "a pause has no code of its own");
    assert_eq!(UpstreamError::CODES.last(), Some(&"distrusted"));
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
    assert!(matches!(server.get("x").await, Err(UpstreamError::Status { status: 429, .. })));
}

#[tokio::test]
async fn a_long_wait_that_was_asked_for_outlasts_a_success_under_way() {
    let now = std::time::Instant::now();
    let mut health = Health::default();
    let pause = Pause { first: Duration::from_millis(1), least: Duration::from_secs(60) };
    let busy = UpstreamError::Status { status: 429, answer: String::new() };
    health.failed(&busy, Some(pause));
    health.succeeded();
    assert!(health.too_soon(now + Duration::from_secs(59)).is_some());
    assert!(health.too_soon(now + Duration::from_secs(70)).is_none());
}

#[tokio::test]
async fn more_than_was_asked_for_is_too_much_and_no_fault() {
    let server = Server::start("/").await;
    server.answers(Response::new(Body::from(vec![b' '; 100])));
    let answer = server
        .upstream
        .get("x", Question { limit: 99, ..Question::BLOCKS }, |body| Ok(body.len()))
        .await;
    assert_eq!(answer, Err(UpstreamError::TooLarge { limit: 99 }));
    assert_eq!(server.upstream.report().failures, 0);
}

#[tokio::test]
async fn not_there_yet_is_no_outage() {
    let server = Server::start("/v1").await;
    server.answers(status(404));
    assert_eq!(server.get("availability/x").await, Err(UpstreamError::Absent(String::new())));
    server.answers(Response::new(Body::from("5")));
    assert_eq!(server.get("status/block-height").await.unwrap(), "5");
    assert_eq!(server.upstream.report().ok, Some(true));
    let asked = server.asked.lock();
    assert_eq!(asked[1].uri().path(), "/v1/status/block-height", "below the base, without //");
    assert!(server.metrics.render().contains(r#"outcome="not_yet"} 1"#));
}

fn refusal(code: u16, body: &'static str) -> Response<Body> {
    Response::builder().status(code).body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn what_no_dependency_answers_is_a_fault_with_a_code_and_the_first_words() {
    const PAGE: &str = "<html>\n<head><title>Sign in</title>";
    for (status, body, code) in [
        (404, "404 page not found\n", "wrong_path"),
        (405, "", "wrong_path"),
        (401, "token expired", "access_denied"),
        (403, "invalid host\tspecified", "access_denied"),
        (415, "unsupported content type", "not_json"),
        (200, PAGE, "not_json"),
        (200, "OK", "not_json"),
        (200, "", "not_json"),
        (418, "teapot", "status"),
    ] {
        let server = Server::start("/").await;
        server.answers(refusal(status, body));
        let error = server.upstream.call::<u64>("m", json!([])).await.unwrap_err();
        assert_eq!(error.code(), code, "{status} {body}");
        let words: Vec<_> = body.split_whitespace().collect();
        assert!(error.to_string().ends_with(&words.join(" ")), "{error}");
        let report = server.upstream.report();
        assert_eq!((report.ok, report.failures), (Some(false), 1), "{status} {body}");
        assert_eq!(report.last_error.unwrap().code, code);
        assert!(server.metrics.render().contains(r#"outcome="error"} 1"#));
        if code != "status" {
            assert!(error.to_string().contains("(node_execution_rpc)"), "{error}");
        }
    }
    // Where a block may not exist yet, a page is no answer either, and an id of a path is one.
    let server = Server::start("/").await;
    server.answers(refusal(404, PAGE));
    assert_eq!(server.get("x").await.unwrap_err().code(), "wrong_path");
    let height = Question::SMALL;
    server.answers(refusal(404, "no such path"));
    let answer = server.upstream.get("status/block-height", height, |_| Ok(())).await;
    assert_eq!(answer.unwrap_err().code(), "wrong_path");
}

#[tokio::test]
async fn the_first_words_show_no_secret_and_are_cut() {
    let server = Server::start("/k3yk3y").await;
    let text = format!("no access to /k3yk3y for user s3cret: {}", "word ".repeat(100_000));
    server.answers(Response::builder().status(403).body(Body::from(text)).unwrap());
    let error = server.upstream.call::<u64>("m", json!([])).await.unwrap_err().to_string();
    assert!(error.contains("no access to /… for … …: word word"), "{error}");
    assert!(error.chars().count() < 400, "{error}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let server = Server::start("/").await;
    let chunk = axum::body::Bytes::from(vec![b' '; 1024 * 1024]);
    let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
    server.answers(Response::new(Body::from_stream(endless)));
    assert_eq!(server.get("x").await, Err(UpstreamError::TooLarge { limit: LARGE }));
}

#[tokio::test]
async fn redirects_are_followed_within_one_service() {
    let server = Server::start("/").await;
    let to = |target: &str| {
        Response::builder().status(307).header("location", target).body(Body::empty()).unwrap()
    };
    server.answers(to("/v1/y"));
    server.answers(Response::new(Body::from("{}")));
    assert_eq!(server.get("y").await.unwrap(), "{}");

    // Neither to another host, nor to another port or scheme of this one.
    let other = Server::start("/").await;
    let address = other.upstream.url().expose().socket_addrs(|| None).unwrap()[0];
    for target in
        [format!("http://{address}/"), format!("https://{address}/"), "//elsewhere.test/".into()]
    {
        server.answers(to(&target));
        let error = server.get("y").await.unwrap_err();
        assert_eq!(error, UpstreamError::Redirected { setting: "node_execution_rpc" }, "{target}");
    }
    assert_eq!(other.asked(), 0);
    for _ in 0..=MOST_REDIRECTS {
        server.answers(to("/again"));
    }
    assert_eq!(server.get("y").await.unwrap_err().code(), "redirected", "without an end");
    assert_eq!(server.upstream.report().ok, Some(false));
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

/// Two calls in one request.
async fn two(server: &Server) -> Result<(u64, Option<String>), UpstreamError> {
    let calls = [Call::new("first", json!([])), Call::new("second", json!([1]))];
    server.upstream.batch(&calls).await
}

#[tokio::test]
async fn the_answers_of_a_batch_are_matched_by_id() {
    let server = Server::start("/").await;
    let first = json!({"jsonrpc": "2.0", "id": 1, "result": 5});
    let second = json!({"id": 2, "result": "x"});
    for answers in [json!([first, second]), json!([second, first])] {
        server.answers_json(&answers);
        assert_eq!(two(&server).await, Ok((5, Some("x".into()))));
    }
    server.answers_json(&json!([{"id": 2, "result": null}, first]));
    assert_eq!(two(&server).await, Ok((5, None)));
    let error = json!({"id": 2, "error": {"code": -32000, "message": "no"}});
    server.answers_json(&json!([error, first]));
    let no = UpstreamError::Rpc { code: -32000, message: "no".into() };
    assert_eq!(two(&server).await, Err(no));
    assert_eq!(server.asked(), 4);
    assert!(server.metrics.render().contains(r#"calls_total{target="node",purpose="other"} 8"#));
}

#[tokio::test]
async fn a_batch_with_missing_double_or_foreign_ids_is_malformed() {
    let server = Server::start("/").await;
    // Each is good for the call that it answers: only the ids are wrong.
    let answer = |id: Value| match id == json!(1) {
        true => json!({"id": id, "result": 5}),
        false => json!({"id": id, "result": "x"}),
    };
    for ids in [
        vec![json!(1)],
        vec![json!(1), json!(1)],
        vec![json!(1), json!(2), json!(2)],
        vec![json!(1), json!(2), json!(3)],
        vec![json!(0), json!(1)],
        vec![json!("1"), json!("2")],
        vec![json!(1), json!(null)],
        vec![],
        vec![json!(3); 1000],
    ] {
        server.answers_json(&ids.iter().cloned().map(answer).collect());
        let answer = two(&server).await;
        assert!(matches!(answer, Err(UpstreamError::Malformed(_))), "{ids:?}: {answer:?}");
    }
    server.answers_json(&json!([{"result": 5}, answer(json!(2))]));
    assert!(matches!(two(&server).await, Err(UpstreamError::Malformed(_))));
    server.answers_json(&json!([answer(json!(2)), answer(json!(1))]));
    assert_eq!(two(&server).await, Ok((5, Some("x".into()))));
    assert_eq!(server.asked(), 11, "nothing is asked again");
}

#[tokio::test]
async fn an_endpoint_that_refuses_batches_is_asked_singly() {
    let refused = json!({"id": null, "error": {"code": -32005, "message": "no batches"}});
    let refusals = [
        Response::new(Body::from(refused.to_string())),
        status(400),
        status(413),
        Response::new(Body::from("no batches")),
    ];
    for refusal in refusals {
        let server = Server::start("/").await;
        server.answers(refusal);
        for _ in 0..4 {
            server.answers_json(&json!({"id": 1, "result": 5}));
        }
        let calls = [Call::new("first", json!([])), Call::new("second", json!([1]))];
        assert_eq!(server.upstream.batch::<(u64, u64)>(&calls).await, Ok((5, 5)));
        assert_eq!(server.asked(), 3);
        assert_eq!(server.upstream.batch::<(u64, u64)>(&calls).await, Ok((5, 5)));
        assert_eq!(server.asked(), 5, "it is remembered");
    }
    // An outage is no refusal.
    let server = Server::start("/").await;
    server.answers(status(503));
    assert!(two(&server).await.is_err());
    assert_eq!(server.asked(), 1);
    // Nor is an error that the endpoint has for single calls, too.
    let server = Server::start("/").await;
    for _ in 0..3 {
        server.answers_json(&refused);
    }
    assert!(matches!(two(&server).await, Err(UpstreamError::Rpc { .. })));
    assert!(server.upstream.inner.batches_refused.lock().is_none());
}
