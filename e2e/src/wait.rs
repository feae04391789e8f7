//! Waiting for events instead of sleeping.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a test waits for something that should happen soon. Only a failure takes that long.
pub const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(15);

/// Asks again and again until `probe` answers; `what` completes the sentence "waited for …".
///
/// # Panics
/// When nothing came within `limit`.
pub async fn until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s for {what}", limit.as_secs());
        sleep(POLL).await;
    }
}
