//! Few open files, and more clients than those.

use std::net::TcpStream;

use crate::support::{
    canned::{Chain, Fakes, Signer},
    process::Sidecar,
};

const BLOCKS: u64 = 20;
const FILES: u64 = 200;
const CLIENTS: usize = 600;

#[tokio::test(flavor = "multi_thread")]
async fn idle_clients_leave_open_files_to_verification_and_probes() {
    let chain = Chain::new(BLOCKS, 0, |number| number / 4);
    let fakes = Fakes::start(chain, BLOCKS, Signer::new(7)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = fakes.arguments();
    arguments.push("--verification-interval=1ms".into());
    let sidecar = Sidecar::start_with_files(Some(FILES), folder.path(), &arguments, &[]);
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| TcpStream::connect(&sidecar.address).unwrap()).collect();
    assert_eq!(sidecar.get("/livez").code, 200);
    for number in 1..=BLOCKS {
        fakes.post(vec![fakes.signed(number)]);
    }
    sidecar.head_reaches(BLOCKS).await;
    assert_eq!(sidecar.get("/readyz").code, 200);
    drop(clients);
}
