//! The two promises, watched through Envoy during a whole scenario: the head never moves backwards; it
//! advances only to blocks where the node equals what Espresso confirmed or, with source `ethereum`, up
//! to the node's admitted `finalized`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::B256;
use finality_core::head::{HeadReport, Source};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::{Answer, CallError, Client, hash, quantity};
use crate::hotshot::Hotshot;
use crate::l2::L2Node;
use crate::op_node::OpNode;
use crate::sidecar::Sidecar;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

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

/// The parts of the devnet that know the truth.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The full node.
    pub node: Arc<L2Node>,
    /// Its RPC ports.
    pub op_node: Arc<OpNode>,
    /// HotShot.
    pub hotshot: Arc<Hotshot>,
}

impl Truth {
    /// Whether HotShot confirmed this block and the node has, or had, the same.
    fn verified(&self, number: u64, hash: B256) -> bool {
        self.hotshot.confirmed(number).contains(&hash) && self.node.ever_had(number, hash)
    }

    /// Whether the head may be at that number at all.
    fn may_reach(&self, number: u64) -> bool {
        number <= self.op_node.highest_finalized()
            || self.hotshot.confirmed(number).iter().any(|hash| self.node.ever_had(number, *hash))
    }

    fn may_answer(&self, number: u64, hash: B256) -> bool {
        number <= self.op_node.highest_finalized() || self.verified(number, hash)
    }
}

#[derive(Debug)]
struct Shared {
    truth: Truth,
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
    /// Begins to watch `tag` through Envoy, and the sidecar's own report.
    #[must_use]
    pub fn start(envoy: Client, tag: &str, sidecar: Arc<Sidecar>, truth: Truth) -> Self {
        let shared = Arc::new(Shared {
            truth,
            seen: Mutex::default(),
            node_may_differ: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let task = tokio::spawn(watch(Arc::clone(&shared), envoy, tag.into(), sidecar));
        Self { shared, task }
    }

    /// Says that from now on the node's block at the head may be another one, until the sidecar has
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
    while !shared.stop.load(Ordering::SeqCst) {
        let may_differ = shared.node_may_differ.load(Ordering::SeqCst);
        let answer = envoy.ask("eth_getBlockByNumber", json!([tag, false])).await;
        // Judged only when the scenario allowed no difference before and after.
        let strict = !may_differ && !shared.node_may_differ.load(Ordering::SeqCst);
        shared.look(answer, strict);
        if let Some(report) = sidecar.head().await {
            shared.look_at_report(&mut reported, &report);
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Shared {
    fn look(&self, answer: Result<Answer, CallError>, strict: bool) {
        let mut seen = self.seen.lock().unwrap();
        let Ok(answer) = answer else {
            seen.unanswered += 1;
            return;
        };
        match answer.result() {
            Err(CallError::Rpc { status: 503, error }) if error["code"] == -32055 => {
                seen.refused += 1;
                if let Some(head) = answer.head() {
                    seen.violations.push(format!("a refusal bears the head {head}: {error}"));
                }
            }
            Err(CallError::NotJsonRpc { .. } | CallError::Transport(_)) => seen.unanswered += 1,
            Err(error) => seen.violations.push(format!("unexpected answer: {error}")),
            Ok(block) => self.look_at_block(&mut seen, answer.head(), &block, strict),
        }
    }

    fn look_at_block(&self, seen: &mut Seen, head: Option<u64>, block: &Value, strict: bool) {
        let Some(head) = head else {
            seen.violations.push("a tagged request was answered without x-finality-head".into());
            return;
        };
        match seen.heads.last() {
            Some(last) if head < *last => {
                seen.violations.push(format!("the head went back from {last} to {head}"));
            }
            Some(last) if head == *last => {}
            _ => {
                seen.heads.push(head);
                if !self.truth.may_reach(head) {
                    seen.violations.push(format!(
                        "the head is {head}, which is neither verified nor finalized"
                    ));
                }
            }
        }
        if block.is_null() {
            seen.without_block += 1;
            if strict {
                seen.violations.push(format!("the node has no block at the head {head}"));
            }
            return;
        }
        seen.answered += 1;
        let (number, hash) = (quantity(&block["number"]), hash(&block["hash"]));
        if number != head {
            seen.violations.push(format!("the tag became {head}, the answer is block {number}"));
        }
        if strict && !self.truth.may_answer(number, hash) {
            seen.violations
                .push(format!("answered with block {number} {hash}, which is not verified"));
        }
    }

    fn look_at_report(&self, last: &mut Option<u64>, report: &HeadReport) {
        let mut seen = self.seen.lock().unwrap();
        if let Some(last) = last.filter(|last| report.number < *last) {
            seen.violations.push(format!("the sidecar went back from {last} to {}", report.number));
        }
        *last = Some(report.number);
        let lawful = match report.source {
            Source::Ethereum => report.number <= self.truth.op_node.highest_finalized(),
            Source::Espresso => report
                .hash
                .as_deref()
                .and_then(|hash| hash.parse().ok())
                .is_some_and(|hash| self.truth.verified(report.number, hash)),
        };
        if !lawful {
            seen.violations.push(format!("the sidecar reports what nobody confirmed: {report:?}"));
        }
    }
}
