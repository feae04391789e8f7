//! The live view of a devnet, and the commands to try on it.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{IsTerminal, Write as _, stdout},
    time::Duration,
};

use finality_core::head::HeadReport;
use serde_json::Value;
use tokio::time::{Instant, interval};

use crate::{accounts::SENDER, block::BLOCK_TIME, devnet::Devnet, rollup::Rollup};

const REFRESH: Duration = Duration::from_secs(1);
/// Confirmations per second are counted over this many refreshes.
const RATE_WINDOW: usize = 10;

/// What is shown.
struct Snapshot {
    l1_latest: u64,
    l1_finalized: u64,
    sequencer: u64,
    node: u64,
    hotshot: u64,
    through_envoy: Option<u64>,
    report: Option<HeadReport>,
    rate: Option<f64>,
}

/// Refreshes the view forever.
pub(super) async fn show(net: &Devnet<impl Rollup>) {
    let live = stdout().is_terminal();
    println!("\n{}\nCtrl-C stops everything.\n", commands(net));
    let mut rate = Rate::default();
    let mut clock = interval(REFRESH);
    let mut lines = 0;
    loop {
        clock.tick().await;
        let snapshot = Snapshot::take(net, &mut rate).await;
        let mut out = String::new();
        if live {
            let text = snapshot.block();
            if lines > 0 {
                // Up over the last picture, and clear it.
                let _ = write!(out, "\x1b[{lines}A\x1b[J");
            }
            lines = text.lines().count();
            out.push_str(&text);
        } else {
            out = snapshot.line();
        }
        print!("{out}");
        let _ = stdout().flush();
    }
}

/// What a reader can type in another terminal.
pub(super) fn commands(net: &Devnet<impl Rollup>) -> String {
    let envoy = net.envoy.url();
    let node = net.direct().url().to_owned();
    let curl = |url: &str, body: &str| {
        format!("  curl -s {url} -H 'content-type: application/json' -d '{body}'")
    };
    let block = |tag: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["{tag}",false]}}"#
        )
    };
    let balance = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["{}","espresso"]}}"#,
        SENDER
    );
    let lines = [
        "try, in another terminal:".into(),
        "# the block at the head, through Envoy (add -i to see x-finality-head)".into(),
        curl(&envoy, &block("espresso")),
        curl(&envoy, &balance),
        "# the node itself does not know the tag".into(),
        curl(&node, &block("espresso")),
        "# the sidecar; in a browser, its status page".into(),
        format!("  {}", net.sidecar.url("/")),
        format!("  curl -s {}", net.sidecar.url("/v1/head")),
        format!("  curl -s {}", net.sidecar.url("/v1/status")),
        format!("  curl -s {}", net.sidecar.url("/metrics")),
    ];
    lines.join("\n")
}

impl Snapshot {
    async fn take(net: &Devnet<impl Rollup>, rate: &mut Rate) -> Self {
        let confirmed =
            net.sidecar.metric("espresso_verifier_batches_total{result=\"confirmed\"}").await;
        Self {
            l1_latest: net.l1.latest().await.number,
            l1_finalized: net.l1.finalized().await.number,
            sequencer: net.height().await,
            node: net.node_height().await,
            hotshot: net.hotshot.height(),
            through_envoy: net.head().await,
            report: net.sidecar.head().await,
            rate: rate.add(confirmed),
        }
    }

    fn lag(&self) -> Option<u64> {
        Some(self.node.saturating_sub(self.report.as_ref()?.number))
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let unknown = || "–".to_owned();
        let report = self.report.as_ref();
        let fact = |fact: fn(&HeadReport) -> Value| {
            report.map_or_else(unknown, |report| match fact(report) {
                Value::String(text) => text,
                other => other.to_string(),
            })
        };
        vec![
            ("L1", format!("latest {}, finalized {}", self.l1_latest, self.l1_finalized)),
            ("L2", format!("sequencer {}, full node {}", self.sequencer, self.node)),
            ("HotShot", format!("{} blocks", self.hotshot)),
            (
                "head",
                format!(
                    "{} through Envoy, {} at the sidecar, source {}",
                    self.through_envoy.map_or_else(unknown, |head| head.to_string()),
                    fact(|report| report.number.into()),
                    fact(|report| serde_json::to_value(report.source).unwrap_or_default()),
                ),
            ),
            ("mode", fact(|report| serde_json::to_value(report.mode).unwrap_or_default())),
            ("status", fact(|report| report.status.as_str().into())),
            (
                "lag",
                self.lag().map_or_else(unknown, |blocks| {
                    format!("{blocks} blocks ({} s)", blocks * BLOCK_TIME)
                }),
            ),
            (
                "confirmed",
                self.rate.map_or_else(unknown, |rate| format!("{rate:.1} batches a second")),
            ),
        ]
    }

    /// The picture for a terminal.
    fn block(&self) -> String {
        self.rows().iter().fold(String::new(), |mut out, (name, value)| {
            let _ = writeln!(out, "  {name:<10} {value}");
            out
        })
    }

    /// The same as one line.
    fn line(&self) -> String {
        let rows: Vec<String> =
            self.rows().iter().map(|(name, value)| format!("{name}: {value}")).collect();
        rows.join("; ") + "\n"
    }
}

/// The speed of a counter.
#[derive(Default)]
struct Rate(VecDeque<(Instant, f64)>);

impl Rate {
    fn add(&mut self, count: Option<f64>) -> Option<f64> {
        self.0.push_back((Instant::now(), count?));
        if self.0.len() > RATE_WINDOW {
            self.0.pop_front();
        }
        let (first, last) = (self.0.front()?, self.0.back()?);
        let seconds = (last.0 - first.0).as_secs_f64();
        (seconds > 0.0).then(|| (last.1 - first.1).max(0.0) / seconds)
    }
}
