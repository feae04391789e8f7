//! Killed at any moment: the head never falls, and nothing that was visible is lost.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
};

use finality_core::head::Source;
use finality_sidecar::store::{FileStore, Record, Store, read};

use crate::support::{
    canned::{Chain, Fakes, Signer},
    process::{STORE, Sidecar},
};

/// Names the state file for the writer, which is this program again.
const WRITER: &str = "FINALITY_TEST_STORE";
const WRITER_KILLS: u64 = 300;
const SIDECAR_KILLS: u64 = 40;

fn stored(path: &Path) -> Option<u64> {
    read(path).unwrap().map(|file| file.record.number)
}

/// Not a test by itself: saves one number after the other and says so, until it is killed.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let mut store = FileStore::open(Path::new(&path)).unwrap();
    let first = store.record().map_or(0, |record| record.number);
    for number in first + 1.. {
        let record = Record {
            generation: 0,
            moment: None,
            number,
            hash: None,
            l1_origin: None,
            source: Source::Espresso,
            restart_height: Some(number),
            fallback_height: None,
            batchers: None,
            identity: None,
            updated_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            samples: Vec::new(),
            audit: finality_sidecar::store::Audit::default(),
        };
        store.save(record).unwrap();
        eprintln!("saved {number}");
    }
}

#[test]
fn hundreds_of_killed_writers_never_lower_the_number_nor_lose_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    let mut known = 0;
    for kill in 0..WRITER_KILLS {
        let mut writer = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["kills::writer", "--exact", "--nocapture"])
            .env(WRITER, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stderr.take().unwrap()).lines();
        let mut saved = None;
        // Killed in the middle of whatever follows; each time after another number of writes.
        for line in lines.by_ref().take((kill % 7 + 1) as usize) {
            saved = line.unwrap().strip_prefix("saved ").map(|number| number.parse().unwrap());
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        // What it said between the last look and its end counts too.
        for line in lines.map_while(Result::ok) {
            saved = line.strip_prefix("saved ").and_then(|text| text.parse().ok()).or(saved);
        }
        let saved: u64 = saved.expect("it saved something");
        assert!(saved > known, "{saved} after {known}");
        let found = stored(&path).unwrap();
        assert!(found >= saved, "{found} on the disk after {saved}");
        known = found;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_killed_at_any_call_never_lowers_its_head_nor_loses_one() {
    const BLOCKS: u64 = SIDECAR_KILLS * 2;
    let chain = Chain::new(BLOCKS, 0, |number| number / 4);
    let fakes = Fakes::start(chain, BLOCKS, Signer::new(7)).await;
    let mut arguments = fakes.arguments();
    arguments.push("--verification-interval=1ms".into());
    let mut batches: Vec<_> = (1..=BLOCKS).map(|number| fakes.signed(number)).collect();
    // Some come before their turn: what waits must be found again.
    for pair in batches.chunks_mut(5) {
        pair.reverse();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(STORE);
    let mut batches = batches.into_iter();
    let mut known = 0;
    for kill in 0..SIDECAR_KILLS {
        for batch in batches.by_ref().take(2) {
            fakes.post(vec![batch]);
        }
        let sidecar = Sidecar::start(folder.path(), &arguments, &[]);
        let (reached, wait) = mpsc::channel();
        // From before the first confirmation to some rounds after the last one.
        let mut left = 8 + kill % 4 * 30 + kill % 13;
        fakes.watch(move |_| {
            left = left.saturating_sub(1);
            if left == 0 {
                _ = reached.send(());
            }
        });
        tokio::task::spawn_blocking(move || wait.recv().unwrap()).await.unwrap();
        let visible =
            if known == 0 || kill % 2 == 0 { None } else { sidecar.head_above(known - 1).await };
        sidecar.kill();
        if let Some(visible) = visible {
            assert!(visible >= known, "{visible} visible after {known}");
            assert!(stored(&path).unwrap() >= visible, "{visible} was visible");
        }
        let found = stored(&path).unwrap_or(0);
        assert!(found >= known, "{found} on the disk after {known}");
        known = found;
    }
    let sidecar = Sidecar::start(folder.path(), &arguments, &[]);
    sidecar.head_reaches(BLOCKS).await;
    assert!(known > 0, "something was confirmed in between");
}
