//! The two promises, watched through Envoy during a whole scenario: the head never moves backwards;
//! it advances only to blocks where the node equals what Espresso confirmed or, with source
//! `ethereum`, up to the node's admitted `finalized`.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use alloy_primitives::B256;
use finality_core::head::{HeadReport, Source};
use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    client::{Answer, CallError, Client, hash, quantity},
    hotshot::Hotshot,
    rollup::Rollup,
    sidecar::Sidecar,
};

/// Pause between two looks; the filter and the verifier change a head less often.
const LOOK: Duration = Duration::from_millis(40);

/// What was seen through Envoy.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Every head, in the order of its first answer.
    pub heads: Vec<u64>,
    /// Tagged requests that were answered with a block.
    pub answered: u64,
    /// Tagged requests that the node answered without a block.
    pub without_block: u64,
    /// Tagged requests that the filter refused.
    pub refused: u64,
    /// Tagged requests without any sensible answer, as when Envoy is down.
    pub unanswered: u64,
    /// Broken promises, in words.
    pub violations: Vec<String>,
}

/// What really happened.
pub trait Truth: std::fmt::Debug + Send + Sync + 'static {
    /// The hashes under which HotShot confirmed that L2 block and the full node has, or had, it.
    fn verified(&self, number: u64) -> Vec<B256>;
    /// Whether that block is final on L1, whatever the full node says.
    fn is_finalized(&self, number: u64) -> BoxFuture<'_, bool>;
}

/// The parts of a devnet that know.
#[derive(Debug)]
pub struct DevnetTruth<R> {
    /// L2.
    pub rollup: Arc<R>,
    /// HotShot.
    pub hotshot: Arc<Hotshot>,
}

impl<R: Rollup> Truth for DevnetTruth<R> {
    fn verified(&self, number: u64) -> Vec<B256> {
        let confirmed = self.hotshot.confirmed(number).into_iter();
        confirmed.filter(|hash| self.rollup.ever_had(number, *hash)).collect()
    }

    fn is_finalized(&self, number: u64) -> BoxFuture<'_, bool> {
        self.rollup.is_finalized(number).boxed()
    }
}

#[derive(Debug)]
struct Shared {
    truth: Box<dyn Truth>,
    seen: Mutex<Seen>,
    node_may_differ: AtomicBool,
    stop: AtomicBool,
}

/// The watcher.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts watching `tag` through Envoy, and the sidecar's own report.
    #[must_use]
    pub fn start(envoy: Client, tag: &str, sidecar: Arc<Sidecar>, truth: impl Truth) -> Self {
        let shared = Arc::new(Shared::new(truth));
        let task = tokio::spawn(watch(Arc::clone(&shared), envoy, tag.into(), sidecar));
        Self { shared, task }
    }

    /// Declares that from now on the node's block at the head may differ, until the sidecar has
    /// noticed: the scenario makes it so.
    pub fn node_may_differ(&self, may: bool) {
        self.shared.node_may_differ.store(may, Ordering::SeqCst);
    }

    /// What was seen up to now.
    ///
    /// # Panics
    /// When a promise was broken.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let seen = self.shared.seen.lock().unwrap().clone();
        assert!(seen.violations.is_empty(), "promises broken: {:#?}", seen.violations);
        seen
    }

    /// Stops watching.
    ///
    /// # Panics
    /// When a promise was broken, or nothing was ever seen.
    pub async fn finish(self) -> Seen {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        let shared = self.shared;
        let seen = shared.seen.lock().unwrap().clone();
        assert!(seen.violations.is_empty(), "promises broken: {:#?}", seen.violations);
        assert!(seen.answered > 0, "no tagged request was ever answered: {seen:?}");
        seen
    }
}

async fn watch(shared: Arc<Shared>, envoy: Client, tag: String, sidecar: Arc<Sidecar>) {
    let mut reported = None;
    let mut last = false;
    // One more look after the stop signal, so that it has seen the end of the scenario.
    while !last {
        last = shared.stop.load(Ordering::SeqCst);
        let may_differ = shared.node_may_differ.load(Ordering::SeqCst);
        let answer = envoy.ask("eth_getBlockByNumber", json!([tag, false])).await;
        // Judged only when the scenario allowed no difference before and after.
        let strict = !may_differ && !shared.node_may_differ.load(Ordering::SeqCst);
        shared.look(answer, strict).await;
        if let Some(report) = sidecar.head().await {
            shared.look_at_report(&mut reported, &report).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Shared {
    fn new(truth: impl Truth) -> Self {
        Self {
            truth: Box::new(truth),
            seen: Mutex::default(),
            node_may_differ: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    fn broken(&self, violation: String) {
        self.seen.lock().unwrap().violations.push(violation);
    }

    /// Whether the head may be there.
    async fn is_lawful(&self, number: u64) -> bool {
        !self.truth.verified(number).is_empty() || self.truth.is_finalized(number).await
    }

    async fn look(&self, answer: Result<Answer, CallError>, strict: bool) {
        let count = |count: fn(&mut Seen) -> &mut u64| *count(&mut self.seen.lock().unwrap()) += 1;
        let Ok(answer) = answer else {
            return count(|seen| &mut seen.unanswered);
        };
        match answer.result() {
            Err(CallError::Rpc { status: 503, error }) if error["code"] == -32055 => {
                count(|seen| &mut seen.refused);
                if let Some(head) = answer.head() {
                    self.broken(format!("a refusal carries the head {head}: {error}"));
                }
            }
            Err(CallError::NotJsonRpc { .. } | CallError::Transport(_)) => {
                count(|seen| &mut seen.unanswered);
            }
            // Envoy has no node.
            Err(error) if error.reason() == Some("unavailable") => {
                count(|seen| &mut seen.unanswered);
            }
            Err(error) => self.broken(format!("unexpected answer: {error}")),
            Ok(block) => self.look_at_block(answer.head(), &block, strict).await,
        }
    }

    async fn look_at_block(&self, head: Option<u64>, block: &Value, strict: bool) {
        let Some(head) = head else {
            return self.broken("a tagged request was answered without x-finality-head".into());
        };
        let last = self.seen.lock().unwrap().heads.last().copied();
        if let Some(last) = last.filter(|last| head < *last) {
            self.broken(format!("the head went back from {last} to {head}"));
        } else if last != Some(head) {
            self.seen.lock().unwrap().heads.push(head);
            if !self.is_lawful(head).await {
                self.broken(format!("the head is {head}, which is neither verified nor finalized"));
            }
        }
        if block.is_null() {
            self.seen.lock().unwrap().without_block += 1;
            if strict {
                self.broken(format!("the node has no block at the head {head}"));
            }
            return;
        }
        self.seen.lock().unwrap().answered += 1;
        let (number, hash) = (quantity(&block["number"]), hash(&block["hash"]));
        if number != head {
            self.broken(format!("the tag became {head}, the answer is block {number}"));
        }
        if strict
            && !self.truth.verified(number).contains(&hash)
            && !self.truth.is_finalized(number).await
        {
            self.broken(format!("answered with block {number} {hash}, which is not verified"));
        }
    }

    async fn look_at_report(&self, last: &mut Option<HeadReport>, report: &HeadReport) {
        let head = |report: &HeadReport| (report.number, report.source, report.hash.clone());
        if let Some(last) = last.replace(report.clone()) {
            if report.number < last.number {
                let (from, to) = (last.number, report.number);
                self.broken(format!("the sidecar went back from {from} to {to}"));
            } else if head(&last) == head(report) {
                return;
            }
        }
        let lawful = match report.source {
            Source::Ethereum => self.truth.is_finalized(report.number).await,
            Source::Espresso => report
                .hash
                .as_deref()
                .and_then(|hash| hash.parse().ok())
                .is_some_and(|hash| self.truth.verified(report.number).contains(&hash)),
        };
        if !lawful {
            self.broken(format!("the sidecar reports an unconfirmed block: {report:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use finality_core::head::{Mode, Status, hex_number};
    use reqwest::header::HeaderMap;

    use super::*;

    /// Blocks up to 3 are final, 5 is verified as 0x0505…
    #[derive(Debug)]
    struct Known;

    impl Truth for Known {
        fn verified(&self, number: u64) -> Vec<B256> {
            if number == 5 { vec![B256::repeat_byte(5)] } else { Vec::new() }
        }

        fn is_finalized(&self, number: u64) -> BoxFuture<'_, bool> {
            std::future::ready(number <= 3).boxed()
        }
    }

    fn answer(status: u16, head: Option<&str>, body: &Value) -> Result<Answer, CallError> {
        let mut headers = HeaderMap::new();
        if let Some(head) = head {
            headers.insert(finality_core::headers::HEAD, head.parse().unwrap());
        }
        Ok(Answer { status, headers, body: body.to_string().into_bytes() })
    }

    fn block(head: u64, number: u64, hash: u8) -> Result<Answer, CallError> {
        let block = json!({"number": hex_number(number), "hash": B256::repeat_byte(hash)});
        answer(200, Some(&head.to_string()), &json!({"id": 1, "result": block}))
    }

    async fn violations(answers: Vec<Result<Answer, CallError>>) -> Vec<String> {
        let shared = Shared::new(Known);
        for answer in answers {
            shared.look(answer, true).await;
        }
        shared.seen.into_inner().unwrap().violations
    }

    #[tokio::test]
    async fn lawful_answers_pass() {
        let refusal = json!({"id": 1, "error": {"code": -32055, "message": ""}});
        let answers = vec![
            block(2, 2, 9),
            answer(503, None, &refusal),
            Err(CallError::Transport(String::new())),
            block(3, 3, 9),
            block(5, 5, 5),
            block(5, 5, 5),
        ];
        assert_eq!(violations(answers).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn every_broken_promise_is_noticed() {
        let null = json!({"id": 1, "result": null});
        let error = json!({"id": 1, "error": {"code": -32000, "message": ""}});
        let refusal = json!({"id": 1, "error": {"code": -32055, "message": ""}});
        for (what, answers) in [
            ("went back", vec![block(3, 3, 9), block(2, 2, 9)]),
            ("neither verified nor finalized", vec![block(4, 4, 4)]),
            ("not verified", vec![block(5, 5, 6)]),
            ("the answer is block", vec![block(3, 2, 9)]),
            ("without x-finality-head", vec![answer(200, None, &null)]),
            ("no block at the head", vec![answer(200, Some("3"), &null)]),
            ("unexpected answer", vec![answer(200, Some("3"), &error)]),
            ("unexpected answer", vec![answer(200, None, &refusal)]),
            ("carries the head", vec![answer(503, Some("3"), &refusal)]),
        ] {
            let found = violations(answers).await;
            assert!(found.iter().any(|text| text.contains(what)), "{what}: {found:?}");
        }
    }

    #[tokio::test]
    async fn unlawful_reports_are_noticed() {
        let report = |number: u64, source: Source, hash: u8| HeadReport {
            number,
            hex: hex_number(number),
            hash: Some(B256::repeat_byte(hash).to_string()),
            source,
            mode: Mode::Espresso,
            status: Status::Ok,
            espresso: None,
            ethereum: None,
            chain_id: 1,
            updated_at: String::new(),
            generation: 0,
            store: None,
            confirmed: None,
            proven: None,
            block: None,
        };
        for (lawful, reports) in [
            (true, vec![report(3, Source::Ethereum, 9), report(5, Source::Espresso, 5)]),
            (false, vec![report(4, Source::Ethereum, 9)]),
            (false, vec![report(5, Source::Espresso, 6)]),
            (false, vec![report(3, Source::Ethereum, 9), report(2, Source::Ethereum, 9)]),
        ] {
            let shared = Shared::new(Known);
            let mut last = None;
            for report in &reports {
                shared.look_at_report(&mut last, report).await;
            }
            let violations = shared.seen.into_inner().unwrap().violations;
            assert_eq!(violations.is_empty(), lawful, "{violations:?}");
        }
    }
}
