//! The body of an answer, within its bounds.

use alloy_primitives::bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use reqwest::Response;

use super::{LARGE, LONGEST_BLOCK, SMALL, UpstreamError, long_texts::LongTexts};

/// What was resident for the last long answer is kept for the next if it is at most so much.
pub(crate) const SPARE: usize = 4 * 1024 * 1024;

/// The room of the last answer of at most [`LARGE`] bytes. There is one such answer at a time,
/// whichever dependency gives it.
static ROOM: Mutex<Option<BytesMut>> = Mutex::new(None);

/// Reads a body of at most so many bytes.
///
/// # Errors
/// [`UpstreamError::TooLarge`], and what `failed` makes of a body that does not come.
pub(super) async fn read(
    mut response: Response,
    limit: usize,
    failed: impl Fn(reqwest::Error) -> UpstreamError,
) -> Result<Bytes, UpstreamError> {
    // A length that is told is not needed, but saves reading in vain, and moving what was read.
    let length = response.content_length().map_or(Some(0), |length| length.try_into().ok());
    let Some(length) = length.filter(|length| *length <= limit) else {
        return Err(UpstreamError::TooLarge { limit });
    };
    let (mut body, mut long_texts) = (room(limit, length), LongTexts::default());
    while let Some(chunk) = response.chunk().await.map_err(&failed)? {
        if body.len() + chunk.len() > limit {
            return Err(UpstreamError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
        if body.len() > SMALL {
            long_texts.empty(&mut body);
        }
    }
    Ok(body.freeze())
}

/// The room for an answer of at most `limit` bytes, probably of `length` bytes.
///
/// One that is read alone gets [`LARGE`] at once, of which only what arrives becomes resident.
/// glibc maps that much apart and gives it back as soon as it is freed; when anything shorter is
/// freed, it keeps twice as much from then on, for each thread. One after the other, such answers
/// get the same room: fresh memory costs as much as reading them.
fn room(limit: usize, length: usize) -> BytesMut {
    match limit {
        ..LONGEST_BLOCK => BytesMut::with_capacity(length),
        LONGEST_BLOCK..LARGE => BytesMut::with_capacity(LARGE),
        LARGE.. => ROOM.lock().take().unwrap_or_else(|| BytesMut::with_capacity(limit)),
    }
}

/// Takes the body of an answer of at most `limit` bytes back, after it was read.
pub(super) fn take_back(body: Bytes, limit: usize) {
    if limit < LARGE || body.len() > SPARE {
        return;
    }
    if let Ok(mut room) = body.try_into_mut() {
        room.clear();
        *ROOM.lock() = Some(room);
    }
}
