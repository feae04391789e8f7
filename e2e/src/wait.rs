//! Waiting for events instead of sleeping.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a test waits for something that should happen soon. Only a failure takes that long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Pauses between two questions get longer: what comes soon is soon noticed, and long waits leave
/// the processor to what they wait for.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(60)];

/// Asks again and again until `probe` answers; `what` completes the sentence "waited for …".
///
/// # Panics
/// When nothing came within `limit`.
pub async fn until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    let [mut pause, longest] = PAUSES;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s for {what}", limit.as_secs());
        sleep(pause).await;
        pause = longest.min(pause * 3 / 2);
    }
}
