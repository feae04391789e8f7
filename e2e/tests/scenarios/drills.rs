//! Scenario 20: each dependency, Envoy and the sidecar go away and hang, and the disk is full. What
//! an operator sees of it: code, status, readiness, and which alerts fire. The shipped rules, and
//! the queries of the dashboard, run in promtool over what was recorded.

use std::{fs, path::Path, sync::Arc};

use finality_core::head::Status;
use finality_e2e::{
    devnet::Devnet,
    link::{Link, Links, Way},
    process::folder,
    recording::{Recording, Scrape},
    tools,
    wait::{PATIENCE, until},
};
use serde_json::Value;

/// Long enough for every alert of an outage, and too short for a head that is only old.
const OUTAGE: u64 = 30;
/// After which what an outage has left in the windows of the queries is over.
const QUIET: u64 = 40;
/// Rises once a second, with an answer to the filter.
const CONTACT: &str = "finality_filter_head_contact_timestamp_seconds";
const FILES: &str = "envoy/kubernetes/chart/files";

/// A devnet, and what is recorded of it.
struct Drill {
    net: Devnet,
    links: Arc<Links>,
    recording: Recording,
}

/// What an operator sees while something is out of order.
struct Sight {
    code: &'static str,
    is_ready: bool,
    firing: &'static [&'static str],
}

impl Drill {
    async fn start() -> Self {
        let links = Arc::<Links>::default();
        let devnet = Devnet::emulated().links(Arc::clone(&links)).filter(r#""long_poll": "1s""#);
        Self { net: devnet.start().await, links, recording: Recording::default() }
    }

    async fn scrape(&self) -> Scrape {
        let text = |answer: finality_e2e::client::Answer| answer.text();
        let sidecar = self.net.sidecar.get("/metrics").await.map(text).ok();
        Scrape { sidecar, envoy: Some(self.net.envoy.prometheus().await) }
    }

    /// The sum of the series with that beginning.
    async fn count(&self, series: &str) -> f64 {
        let scrape = self.scrape().await;
        let texts = [scrape.sidecar, scrape.envoy].into_iter().flatten();
        let lines = |text: &String| {
            let found = text.lines().filter(|line| line.starts_with(series));
            found.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>()
        };
        texts.map(|text| lines(&text)).sum()
    }

    /// Waits until each of these has risen.
    async fn rise(&self, series: &[&str]) {
        for series in series {
            let before = self.count(series).await;
            until(&format!("{series} to rise"), PATIENCE, async || {
                (self.count(series).await > before).then_some(())
            })
            .await;
        }
    }

    async fn shows(&self, code: &str, is_ready: bool) {
        let status = self.net.sidecar.reason(code).await;
        assert_eq!(status["head"]["status"], Status::Ok.as_str(), "{status}");
        let ready = self.net.sidecar.get("/readyz").await.unwrap();
        assert_eq!(ready.status == 200, is_ready, "{code}: {}", ready.text());
    }

    /// All is well: blocks are confirmed, tags are served, and no alert fires.
    async fn is_quiet(&mut self) {
        self.net.produce(1).await;
        self.net.head_reaches(self.net.height().await).await;
        self.shows("up_to_date", true).await;
        // Envoy has counted what it refused before, too.
        self.rise(&[CONTACT]).await;
        let before = self.scrape().await;
        self.net.produce(1).await;
        self.net.head_reaches(self.net.height().await).await;
        self.shows("up_to_date", true).await;
        self.rise(&[CONTACT]).await;
        self.recording.phase(QUIET, &before, &self.scrape().await, &[]);
    }

    /// An outage, during which blocks are produced, until the sidecar shows it and goes on
    /// counting.
    async fn outage(&mut self, sight: &Sight, counted: &[&str]) {
        self.net.produce(1).await;
        self.shows(sight.code, sight.is_ready).await;
        let before = self.scrape().await;
        self.rise(counted).await;
        self.rise(&[CONTACT]).await;
        self.net.assert_tagged_equals_direct().await;
        self.shows(sight.code, sight.is_ready).await;
        self.recording.phase(OUTAGE, &before, &self.scrape().await, sight.firing);
    }

    /// A dependency goes away, and hangs; between the two, all is well.
    async fn dependency(&mut self, link: impl Fn(&Links) -> &Link, target: &str, sight: Sight) {
        for (way, outcome) in [(Way::Away, "error"), (Way::Hangs, "timeout")] {
            link(&self.links).set(way);
            let failed = format!(
                "espresso_upstream_requests_total{{target=\"{target}\",outcome=\"{outcome}\"}}"
            );
            let failed = failed.as_str();
            self.outage(&sight, &[failed, failed]).await;
            link(&self.links).set(Way::Open);
            self.is_quiet().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_drills_show_code_readiness_and_alerts() {
    let mut drill = Drill::start().await;
    drill.is_quiet().await;

    let stalled = |code, firing| Sight { code, is_ready: true, firing };
    let failing = &["FinalityDependencyFails", "FinalityStalled"][..];
    let l1 = &["FinalityDependencyFails", "FinalityL1Down", "FinalityStalled"][..];
    drill.dependency(|links| &links.l1, "l1", stalled("l1_unavailable", l1)).await;
    drill.dependency(|links| &links.node, "node", stalled("node_unavailable", failing)).await;
    drill
        .dependency(|links| &links.query_service, "query", stalled("feed_unavailable", failing))
        .await;
    // Espresso goes on without it.
    let only_fails = &["FinalityDependencyFails"][..];
    drill.dependency(|links| &links.op_node, "consensus", stalled("up_to_date", only_fails)).await;

    // Every save fails, as on a full disk.
    let store = drill.net.sidecar.store();
    let (own, gone) =
        (store.parent().unwrap().to_owned(), store.parent().unwrap().with_extension("gone"));
    fs::rename(&own, &gone).unwrap();
    let sight = Sight {
        code: "store_unwritable",
        is_ready: false,
        firing: &["FinalityNeedsPerson", "FinalityStoreWriteFails"],
    };
    drill.outage(&sight, &["espresso_store_writes_total{result=\"error\"}"]).await;
    fs::rename(&gone, &own).unwrap();
    drill.is_quiet().await;

    envoy_is_away_and_hangs(&mut drill).await;
    sidecar_is_away_and_hangs(&mut drill).await;

    // Every panel had something to show.
    for query in queries() {
        // A catch-up takes 2,000 HotShot blocks.
        drill.recording.query(&query, !query.contains("hotshot_catch_up"));
    }
    let (root, folder) = (Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap(), folder());
    let promtool = tools::promtool().unwrap_or_else(|error| panic!("{error}"));
    let rules = root.join(FILES).join("alerts.yaml");
    drill
        .recording
        .judge(&promtool, &rules, folder.path())
        .unwrap_or_else(|problems| panic!("{problems}"));
}

/// The head is not affected.
async fn envoy_is_away_and_hangs(drill: &mut Drill) {
    for hangs in [false, true] {
        let before = Scrape { envoy: None, ..drill.scrape().await };
        if hangs {
            drill.net.envoy.pause();
        } else {
            drill.net.envoy.stop().await;
        }
        drill.net.produce(1).await;
        let height = drill.net.height().await;
        drill.net.report("the new block", |report| report.number == height).await;
        drill.shows("up_to_date", true).await;
        let metrics = drill.net.sidecar.get("/metrics").await.unwrap();
        let after = Scrape { sidecar: Some(metrics.text()), envoy: None };
        drill.recording.phase(OUTAGE, &before, &after, &["FinalityEnvoyDown"]);
        if hangs {
            drill.net.envoy.resume();
        } else {
            drill.net.envoy.start().await;
        }
        drill.is_quiet().await;
    }
}

/// Tags keep the last head.
async fn sidecar_is_away_and_hangs(drill: &mut Drill) {
    for hangs in [false, true] {
        let head = drill.net.head().await;
        if hangs {
            drill.net.sidecar.pause();
        } else {
            drill.net.sidecar.kill();
        }
        let envoy = async |drill: &Drill| Scrape {
            sidecar: None,
            envoy: Some(drill.net.envoy.prometheus().await),
        };
        let before = envoy(drill).await;
        assert_eq!(drill.net.head().await, head);
        let after = envoy(drill).await;
        let firing = ["FinalityFilterWithoutHead", "FinalitySidecarAbsent", "FinalitySidecarDown"];
        drill.recording.phase(OUTAGE, &before, &after, &firing);
        if hangs {
            drill.net.sidecar.resume();
        } else {
            drill.net.sidecar.start().await;
        }
        drill.is_quiet().await;
    }
}

/// The queries of the dashboard, with its variables as Grafana fills them in.
fn queries() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let dashboard = fs::read_to_string(root.join(FILES).join("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| {
        let query = target["expr"].as_str().unwrap();
        query.replace("$__rate_interval", "5m").replace("$sidecar", ".*").replace("$envoy", ".*")
    });
    let queries: Vec<_> = queries.collect();
    assert!(queries.len() > 40, "{}", queries.len());
    queries
}
