//! Sidecars beside that of a devnet, with settings that do not fit: they say so and have no head.

use std::time::Instant;

use finality_e2e::{
    process,
    sidecar::{Settings, Sidecar},
    wait::PATIENCE,
};
use futures::future::join_all;

/// A case: its name, the code, a word of the reason, and what is wrong.
pub(crate) type Case<'a> = (&'a str, &'a str, &'a str, Box<dyn Fn(&mut Settings) + 'a>);

/// What sidecars say instead of what the cases have.
pub(crate) async fn differences(settings: &Settings, cases: Vec<Case<'_>>) -> Vec<String> {
    let all = join_all(cases.into_iter().map(|case| differs(settings, case))).await;
    all.into_iter().flatten().collect()
}

async fn differs(settings: &Settings, (name, code, word, change): Case<'_>) -> Option<String> {
    let folder = process::folder();
    let mut settings = settings.clone();
    change(&mut settings);
    let sidecar = Sidecar::new(settings, folder.path());
    sidecar.start().await;
    let started = Instant::now();
    loop {
        sidecar.full_round().await;
        let status = sidecar.status().await;
        let ready = sidecar.get("/readyz").await.unwrap().status;
        let reason = status["reason"].as_str().unwrap_or_default();
        let found = &status["reason_code"];
        if found == code && reason.contains(word) && ready == 503 {
            return sidecar.head().await.map(|head| format!("{name}: {head:?}"));
        }
        if started.elapsed() > PATIENCE {
            return Some(format!("{name}: {found}, ready {ready}: {reason}"));
        }
    }
}
