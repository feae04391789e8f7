//! More clients than open files, and a log that nothing reads.

use std::net::TcpStream;

use tempfile::TempDir;

use crate::support::{
    PATIENCE,
    canned::{Chain, Fakes, Signer},
    process::{Conditions, Sidecar},
};

const BLOCKS: u64 = 20;
const FILES: u64 = 200;
const CLIENTS: usize = 600;

/// A sidecar with everything but batches.
async fn start(conditions: &Conditions, arguments: &[&str]) -> (Sidecar, Fakes, TempDir) {
    let chain = Chain::new(BLOCKS, 0, |number| number / 4);
    let fakes = Fakes::start(chain, BLOCKS, Signer::new(7)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut all = fakes.arguments();
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    all.push("--verification-interval=1ms".into());
    (Sidecar::start_under(conditions, folder.path(), &all, &[]), fakes, folder)
}

/// Posts the batches one by one, each when the one before is confirmed.
async fn confirm_all(sidecar: &Sidecar, fakes: &Fakes) {
    for number in 1..=BLOCKS {
        fakes.post(vec![fakes.signed(number)]);
        let reached = tokio::time::timeout(PATIENCE, sidecar.head_reaches(number));
        reached.await.expect("the head advances");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_clients_leave_open_files_to_verification_and_probes() {
    let conditions = Conditions { open_files: Some(FILES), ..Conditions::default() };
    let (sidecar, fakes, _folder) = start(&conditions, &[]).await;
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| TcpStream::connect(&sidecar.address).unwrap()).collect();
    assert_eq!(sidecar.get("/livez").code, 200);
    confirm_all(&sidecar, &fakes).await;
    assert_eq!(sidecar.get("/readyz").code, 200);
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nothing_reads_stops_nothing() {
    let conditions = Conditions { unread: true, ..Conditions::default() };
    let (sidecar, fakes, _folder) = start(&conditions, &["--log-level=trace"]).await;
    // A pipe holds 64 KiB, and each block writes more than a line.
    confirm_all(&sidecar, &fakes).await;
    for _ in 0..200 {
        assert_eq!(sidecar.get("/livez").code, 200);
    }
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0));
    assert!(log.iter().map(String::len).sum::<usize>() > 60_000, "the pipe was full");
}
