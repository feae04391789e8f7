//! Data that all workers of this Envoy share: values with versions, changed by compare-and-swap.

use proxy_wasm::hostcalls;

use super::{HostError, Result};

/// The version of a value in shared data, for compare-and-swap. Envoy gives none the number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(u32);

/// A value of the data that all workers of this Envoy share, and its version. Envoy refuses only
/// keys that were never set ("not found"), which are `Ok(None)`.
///
/// # Errors
/// The host's error.
pub fn shared_data(key: &str) -> Result<Option<(Vec<u8>, Version)>> {
    // The SDK returns no bytes for an empty value, too: the version distinguishes the two.
    let (value, version) = hostcalls::get_shared_data(key)?;
    Ok(version.map(|version| (value.unwrap_or_default(), Version(version))))
}

/// Sets shared data if it still has that version, or unconditionally without one. Envoy refuses
/// only another version.
///
/// The host has no "create if absent": seed a key without a version, only after [`shared_data`] has
/// returned nothing and only where no other writer can be seeding it.
///
/// # Errors
/// [`HostError::CAS_MISMATCH`] if another writer was faster, or another error of the host.
pub fn set_shared_data(key: &str, value: &[u8], version: Option<Version>) -> Result<()> {
    let version = version.map(|Version(version)| version);
    Ok(hostcalls::set_shared_data(key, Some(value), version)?)
}
/// configured: Envoy does that on its main thread before any worker, so that this write cannot undo
/// another one.
pub fn seed_shared_data(key: &str, first: &[u8]) {
    if matches!(shared_data(key), Ok(None)) {
        let _ = set_shared_data(key, first, None);
    }
}

/// Changes shared data by a rule that gives the new value and the result. Tries again when another
/// writer was faster, up to 16 times. Where there is no value, the rule starts from `first`.
///
/// # Errors
/// Those of the rule; [`HostError::CAS_MISMATCH`] if other writers were always faster, or another
/// error of the host. The value is then unchanged.
pub fn compare_and_swap<R, E: From<HostError>>(
    key: &str,
    first: &[u8],
    rule: impl Fn(&[u8]) -> std::result::Result<(Vec<u8>, R), E>,
) -> std::result::Result<R, E> {
    let mut result = Err(HostError::CAS_MISMATCH.into());
    swap(key, first, &mut |before| match rule(before) {
        Ok((after, changed)) => {
            result = Ok(changed);
            Some(after)
        }
        Err(error) => {
            result = Err(error);
            None
        }
    })?;
    result
}

/// [`compare_and_swap`] for any rule, so that the module has this once. None changes nothing.
fn swap(key: &str, first: &[u8], rule: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>) -> Result<()> {
    const ATTEMPTS: usize = 16;
    for _ in 0..ATTEMPTS {
        let Some((before, version)) = shared_data(key)? else {
            seed_shared_data(key, first);
            continue;
        };
        let Some(after) = rule(&before) else { return Ok(()) };
        match set_shared_data(key, &after, Some(version)) {
            Err(HostError::CAS_MISMATCH) => {}
            result => return result,
        }
    }
    Err(HostError::CAS_MISMATCH)
}
