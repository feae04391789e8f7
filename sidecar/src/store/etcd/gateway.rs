//! etcd's JSON gateway: one question to whichever member answers.

use std::{
    fmt::Write as _,
    pin::pin,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::EtcdLocation;
use crate::{redact::describe, store::engine::EngineError};

/// A question without an answer for this long is also put to the next member, and after the last
/// one to the first one again.
const PATIENCE: Duration = Duration::from_millis(100);
/// The longest question: a member without a quorum never answers by itself.
const LIMIT: Duration = Duration::from_millis(900);
/// The same for a user's token: a member hashes the password for it, on purpose slowly, and each
/// question more makes it hash once more.
const PATIENCE_FOR_TOKEN: Duration = Duration::from_secs(2);
const LIMIT_FOR_TOKEN: Duration = Duration::from_secs(5);
/// A silent member is asked last for this long.
const SILENCE: Duration = Duration::from_secs(5);
/// The longest answer, in bytes: a head and a replica's report have a few hundred.
const LONGEST: usize = 256 * 1024;

/// gRPC's codes for what another member may answer.
const UNAVAILABLE: u64 = 14;
const DEADLINE: u64 = 4;
/// etcd's codes for a token that it does not know any more, one from before the last change of
/// users, and a wrong password.
const UNAUTHENTICATED: u64 = 16;
const INVALID_ARGUMENT: u64 = 3;

/// The members of an etcd.
pub(super) struct Gateway {
    client: Client,
    members: Vec<Url>,
    credentials: Option<(String, String)>,
    token: Mutex<Option<String>>,
    /// Until when each member is asked last.
    silent_until: Mutex<Vec<Option<Instant>>>,
}

/// Why one member gave no usable answer.
#[derive(Debug)]
enum Trouble {
    /// Another one may.
    Silent(String),
    /// It does not know the token.
    Unauthenticated,
    /// It is etcd that refuses: all would say the same.
    Refused(String),
}

impl Gateway {
    pub(super) fn new(location: &EtcdLocation, client: Client) -> Self {
        let EtcdLocation { members, credentials, .. } = location.clone();
        let silent_until = Mutex::new(vec![None; members.len()]);
        Self { client, members, credentials, token: Mutex::new(None), silent_until }
    }

    /// Asks the members one after the other until one answers; the next one is asked without
    /// waiting for the end of a slow one. Every question may be asked twice.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &Value,
    ) -> Result<T, EngineError> {
        if self.credentials.is_some() && self.token.lock().is_none() {
            self.authenticate().await?;
        }
        let answer = match self.ask_members(path, question, PATIENCE, LIMIT).await {
            Err(Trouble::Unauthenticated) => {
                self.authenticate().await?;
                self.ask_members(path, question, PATIENCE, LIMIT).await
            }
            answer => answer,
        };
        Ok(answer?)
    }

    /// Opens a stream of answers at the first member that takes the question.
    pub(super) async fn open(&self, path: &str, question: &Value) -> Result<Response, EngineError> {
        let open = self.in_turn(PATIENCE, |index| {
            let request = self.request(index, path, question);
            async { answer(request?).await }
        });
        Ok(within(LIMIT, open).await?)
    }

    async fn authenticate(&self) -> Result<(), Trouble> {
        let Some((name, password)) = &self.credentials else {
            return Err(Trouble::Refused("it wants a user and a password".into()));
        };
        let question = json!({ "name": name, "password": password });
        let (path, patience) = ("auth/authenticate", PATIENCE_FOR_TOKEN);
        let asked = self.ask_members(path, &question, patience, LIMIT_FOR_TOKEN);
        let answer: Value = match asked.await {
            Err(Trouble::Unauthenticated) => {
                return Err(Trouble::Refused("it knows no such user and password".into()));
            }
            answer => answer?,
        };
        let token = answer.get("token").and_then(Value::as_str);
        let Some(token) = token else {
            return Err(Trouble::Refused("it gives no token for the user".into()));
        };
        *self.token.lock() = Some(token.to_owned());
        Ok(())
    }

    async fn ask_members<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &Value,
        patience: Duration,
        limit: Duration,
    ) -> Result<T, Trouble> {
        let asked = self.in_turn(patience, |index| {
            let request = self.request(index, path, question);
            async {
                let body = read(&mut answer(request?).await?).await?;
                serde_json::from_slice(&body)
                    .map_err(|error| Trouble::Silent(format!("not an answer of etcd: {error}")))
            }
        });
        within(limit, asked).await
    }

    /// The first member's answer. While none answers, the members are asked in turn, again and
    /// again: what one was asked before it lost its leader, it may never answer.
    async fn in_turn<T, A: Future<Output = Result<T, Trouble>>>(
        &self,
        patience: Duration,
        ask: impl Fn(usize) -> A,
    ) -> Result<T, Trouble> {
        let named = async |index, answer: A| (index, answer.await);
        let order = self.order();
        let mut unasked = order.len();
        let (mut asked, mut hanging) = (FuturesUnordered::new(), Vec::new());
        let mut last = Trouble::Silent("there is none".into());
        for index in order.into_iter().cycle() {
            asked.push(named(index, ask(index)));
            hanging.push(index);
            unasked = unasked.saturating_sub(1);
            let mut patience = pin!(tokio::time::sleep(patience));
            loop {
                let (index, answer) = tokio::select! {
                    biased;
                    Some(answer) = asked.next() => answer,
                    () = &mut patience => break,
                };
                match answer {
                    Ok(answer) => {
                        let slow = hanging.into_iter().filter(|slow| *slow != index);
                        slow.for_each(|index| self.blame(index));
                        return Ok(answer);
                    }
                    Err(trouble @ Trouble::Silent(_)) => {
                        self.blame(index);
                        last = trouble;
                        if unasked > 0 {
                            break;
                        }
                        if asked.is_empty() {
                            return Err(last);
                        }
                    }
                    Err(trouble) => return Err(trouble),
                }
            }
        }
        Err(last)
    }

    fn request(
        &self,
        index: usize,
        path: &str,
        question: &Value,
    ) -> Result<RequestBuilder, Trouble> {
        let member = self.members.get(index);
        let mut url = member.ok_or_else(|| Trouble::Silent("there is none".into()))?.clone();
        url.set_path(&format!("/v3/{path}"));
        // A member without a leader refuses what needs one, and is not silent.
        let request = self.client.post(url).header("grpc-metadata-hasleader", "true");
        let request = match &*self.token.lock() {
            Some(token) => request.header("authorization", token),
            None => request,
        };
        Ok(request.json(question))
    }

    /// The members in the order in which they are asked.
    fn order(&self) -> Vec<usize> {
        let now = Instant::now();
        let silent = self.silent_until.lock();
        let is_silent =
            |index: &usize| silent.get(*index).copied().flatten().is_some_and(|until| until > now);
        let mut order: Vec<_> = (0..self.members.len()).collect();
        order.sort_by_key(is_silent);
        order
    }

    fn blame(&self, index: usize) {
        if let Some(until) = self.silent_until.lock().get_mut(index) {
            *until = Instant::now().checked_add(SILENCE);
        }
    }
}

/// An answer in time. None comes if no member has a quorum, or all are frozen.
async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let late = |_| Err(Trouble::Silent(format!("not within {limit:?}")));
    tokio::time::timeout(limit, answer).await.unwrap_or_else(late)
}

/// The answer of a member that does not refuse.
async fn answer(request: RequestBuilder) -> Result<Response, Trouble> {
    let response = request.send().await.map_err(|error| Trouble::Silent(describe(&error)))?;
    if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
}

async fn read(response: &mut Response) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len().saturating_add(chunk.len()) <= LONGEST => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err(Trouble::Silent("its answer is too long".into())),
            Ok(None) => return Ok(body),
            Err(error) => return Err(Trouble::Silent(describe(&error))),
        }
    }
}

async fn refusal(mut response: Response) -> Trouble {
    let status = response.status().as_u16();
    let body = read(&mut response).await.unwrap_or_default();
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = answer.get("code").and_then(Value::as_u64);
    let mut text = format!("HTTP status {status}");
    if let Some(message) = answer.get("error").and_then(Value::as_str) {
        let message: String = message.chars().take(200).collect();
        // Writing to a string does not fail.
        let _ = write!(text, ": {message}");
    }
    match code {
        Some(UNAUTHENTICATED | INVALID_ARGUMENT) => Trouble::Unauthenticated,
        Some(UNAVAILABLE | DEADLINE) => Trouble::Silent(text),
        // Whoever says that, it is not etcd.
        None => Trouble::Silent(text),
        Some(_) => Trouble::Refused(text),
    }
}

impl From<Trouble> for EngineError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Silent(text) => Self::Silent(text),
            Trouble::Unauthenticated => Self::Refused("it does not know the user's token".into()),
            Trouble::Refused(text) => Self::Refused(format!("etcd refuses (store): {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Router, body::Body, http::Response as Answer, routing::post};
    use futures::stream;

    use super::*;

    /// A member that answers every question alike.
    async fn member(answer: impl Fn() -> Answer<Body> + Clone + Send + Sync + 'static) -> String {
        let router = Router::new().fallback(async move || answer());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address.to_string()
    }

    fn says(status: u16, body: &'static str) -> impl Fn() -> Answer<Body> + Clone {
        move || Answer::builder().status(status).body(Body::from(body)).unwrap()
    }

    fn gateway(members: &[String]) -> Arc<Gateway> {
        gateway_at(&format!("etcd://{}", members.join(",")))
    }

    fn gateway_at(location: &str) -> Arc<Gateway> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let location = EtcdLocation::parse(location).unwrap();
        Arc::new(Gateway::new(&location, Client::new()))
    }

    /// A port that something else has, or a proxy in front of a member.
    #[tokio::test]
    async fn a_member_that_is_no_etcd_does_not_keep_the_others_from_answering() {
        let long: &'static str = "x".repeat(LONGEST + 1).leak();
        for (status, body) in [(404, "not here"), (302, ""), (200, "<html>"), (200, long)] {
            let other = member(says(status, body)).await;
            let etcd = member(says(200, r#"{"works":"yes"}"#)).await;
            let gateway = gateway(&[other, etcd]);
            let answer: Result<Value, _> = gateway.ask("kv/range", &json!({})).await;
            assert_eq!(answer.unwrap(), json!({"works": "yes"}), "{status} {body:.10}");
        }
        // What etcd itself refuses is refused at once, and by its words.
        let refusing = says(403, r#"{"code":7,"error":"etcdserver: permission denied"}"#);
        let frozen = member(|| Answer::new(Body::from_stream(never()))).await;
        let gateway = gateway(&[member(refusing).await, frozen]);
        let answer: Result<Value, _> = gateway.ask("kv/range", &json!({})).await;
        assert!(matches!(answer, Err(EngineError::Refused(_))), "{answer:?}");
    }

    fn never() -> stream::Pending<Result<Vec<u8>, std::io::Error>> {
        stream::pending()
    }

    /// A member of which the leader froze: what it had passed on is lost, the next question is not.
    #[tokio::test]
    async fn what_a_member_has_lost_is_asked_again_in_the_same_question() {
        let count = Arc::new(AtomicUsize::new(0));
        let forgets = move || match count.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::new(Body::from_stream(never())),
            _ => says(200, r#"{"works":"yes"}"#)(),
        };
        let hangs = || Answer::new(Body::from_stream(never()));
        let gateway = gateway(&[member(hangs).await, member(forgets).await]);
        let answer: Result<Value, _> = gateway.ask("kv/range", &json!({})).await;
        assert_eq!(answer.unwrap(), json!({"works": "yes"}));
    }

    #[tokio::test]
    async fn a_member_that_begins_to_refuse_and_hangs_does_not_hold_up_a_watch() {
        let hanging = || Answer::builder().status(503).body(Body::from_stream(never())).unwrap();
        let etcd = says(200, "");
        let gateway = gateway(&[member(hanging).await, member(etcd).await]);
        let question = json!({});
        let opened = gateway.open("watch", &question);
        let opened = tokio::time::timeout(Duration::from_secs(20), opened).await;
        assert!(opened.is_ok_and(|opened| opened.is_ok()));
    }

    /// A cost of hashing above etcd's usual one, or a busy machine.
    #[tokio::test]
    async fn a_member_that_hashes_the_password_for_long_is_not_made_to_hash_it_again() {
        let (hashing, mut hashings) = tokio::sync::mpsc::unbounded_channel();
        let (done, hashed) = tokio::sync::watch::channel(false);
        let hash = async move || {
            hashing.send(()).unwrap();
            hashed.clone().wait_for(|done| *done).await.unwrap();
            r#"{"token":"t"}"#
        };
        let router = Router::new()
            .route("/v3/auth/authenticate", post(hash))
            .fallback(async || r#"{"works":"yes"}"#);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let gateway = gateway_at(&format!("etcd://u:p@{address}"));
        let asked = tokio::spawn(async move { gateway.ask::<Value>("kv/range", &json!({})).await });
        hashings.recv().await.unwrap();
        // As long as any other question may take.
        let frozen = self::gateway(&[member(|| Answer::new(Body::from_stream(never()))).await]);
        assert!(frozen.ask::<Value>("kv/range", &json!({})).await.is_err());
        done.send_replace(true);
        assert_eq!(asked.await.unwrap().unwrap(), json!({"works": "yes"}));
        assert!(hashings.len() <= 1, "{} more", hashings.len());
    }
}
