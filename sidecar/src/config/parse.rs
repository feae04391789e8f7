//! What a value must look like. Each error says what is wrong, without the setting's name.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use alloy_primitives::Address;

use super::{HotshotProofs, NitroRequire, RollupKind};
use crate::{
    batchers::BatcherTenure, redact::SecretUrl, store::engine::Quorum, telemetry::log::Format,
};

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let hint = if text.starts_with(':') {
            "; clients now connect to Envoy's listener, not to this address"
        } else {
            ""
        };
        format!(
            "{text:?} is not an IP address with a port, such as 127.0.0.1:8090 or 0.0.0.0:8090{hint}"
        )
    })
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

pub(super) fn address(text: &str) -> Result<Address, String> {
    let address: Address = text
        .parse()
        .map_err(|_| format!("{text:?} is not an address (0x and 40 hexadecimal digits)"))?;
    if address.is_zero() { Err("must not be the zero address".into()) } else { Ok(address) }
}

/// The elements of a list.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|element| !element.is_empty())
}

/// At least one batcher.
pub(super) fn tenures(text: &str) -> Result<Vec<BatcherTenure>, String> {
    let mut tenures = list(text).map(tenure).collect::<Result<Vec<_>, _>>()?;
    if tenures.is_empty() {
        return Err("expected at least one address".into());
    }
    tenures.sort_unstable();
    tenures.dedup();
    Ok(tenures)
}

/// `ADDRESS`, or `ADDRESS@FIRST..END` with L1 blocks, both bounds optional.
fn tenure(text: &str) -> Result<BatcherTenure, String> {
    let Some((batcher, range)) = text.split_once('@') else {
        return address(text).map(BatcherTenure::always);
    };
    let batcher = address(batcher)?;
    let block = |digits: &str| match digits {
        "" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let ends = range.split_once("..").and_then(|(from, until)| Some((block(from)?, block(until)?)));
    match ends {
        Some((from, until)) if until.is_none_or(|until| from.unwrap_or(0) < until) => {
            Ok(BatcherTenure { batcher, from: from.unwrap_or(0), until })
        }
        _ => Err(format!(
            "{range:?} is not a range of L1 blocks, such as 100..200 (200 excluded), 100.. or ..200"
        )),
    }
}

/// At least one URL, none twice.
pub(super) fn urls(text: &str) -> Result<Vec<SecretUrl>, String> {
    let urls = list(text).map(SecretUrl::parse).collect::<Result<Vec<_>, _>>()?;
    for (index, url) in urls.iter().enumerate() {
        if urls.iter().take(index).any(|earlier| earlier == url) {
            return Err(format!("duplicate URL {url}"));
        }
    }
    if urls.is_empty() { Err("expected at least one URL".into()) } else { Ok(urls) }
}

/// At least one URL of a WebSocket, as that of the HTTP request that opens it.
pub(super) fn sockets(text: &str) -> Result<Vec<SecretUrl>, String> {
    let as_http = |url: &str| match url.split_once("://") {
        Some(("ws", rest)) => Ok(format!("http://{rest}")),
        Some(("wss", rest)) => Ok(format!("https://{rest}")),
        _ => Err("the scheme must be ws or wss".to_owned()),
    };
    let as_http: Vec<_> = list(text).map(as_http).collect::<Result<_, _>>()?;
    urls(&as_http.join(","))
}

/// At least one URL, each of another service, since each is a vote.
pub(super) fn voters(text: &str) -> Result<Vec<SecretUrl>, String> {
    let urls = urls(text)?;
    for (index, url) in urls.iter().enumerate() {
        if urls.iter().take(index).any(|earlier| earlier.is_same_service(url)) {
            return Err(format!("{url} is named twice: one service has one vote"));
        }
    }
    Ok(urls)
}

/// At least one name, without a port.
pub(super) fn hosts(text: &str) -> Result<Vec<String>, String> {
    let hosts: Vec<_> = list(text).map(str::to_owned).collect();
    match hosts.iter().find(|host| host.contains(['/', ':', ' ', '*'])) {
        Some(host) => Err(format!("{host:?} is not a host name, such as sidecar.example")),
        None if hosts.is_empty() => Err("expected at least one host name".into()),
        None => Ok(hosts),
    }
}

/// A whole number, also as Go writes it: `0x10`, `1_000`.
fn whole(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits.strip_prefix('_').unwrap_or(digits), 16),
        None => (text, 10),
    };
    let is_digits = |part: &str| !part.is_empty() && part.chars().all(|char| char.is_digit(radix));
    digits.split('_').all(is_digits).then_some(())?;
    u64::from_str_radix(&digits.replace('_', ""), radix).ok()
}

pub(super) fn namespace(text: &str) -> Result<u32, String> {
    let number = whole(text).and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("{text:?} is not a whole number from 0 to {}", u32::MAX))
}

pub(super) fn height(text: &str) -> Result<u64, String> {
    whole(text).ok_or_else(|| format!("{text:?} is not a height (a whole number)"))
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err(format!("{text:?} is not a whole number from 1 to 1000000")),
    }
}

pub(super) fn quorum(text: &str) -> Result<Quorum, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Quorum::All),
        (_, Ok(1)) => Ok(Quorum::One),
        (_, Ok(count @ 2..=1000)) => Ok(Quorum::Of(count)),
        _ => Err(format!("{text:?} is neither a whole number from 1 to 1000 nor `all`")),
    }
}

/// A share, from 0 to 1.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("{text:?} is not a number from 0 to 1, such as 0.05")),
    }
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("the path is empty".into()) } else { Ok(text.into()) }
}

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is not a duration, such as 5s, 250ms or 1m30s"))?;
    if duration > LONGEST { Err(format!("{text:?} is longer than one day")) } else { Ok(duration) }
}

/// A duration above zero.
pub(super) fn pause(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be greater than zero".into()),
        duration => Ok(duration),
    }
}

/// The level that shows as much as one of Go's with an offset, such as `warn+1`.
fn go_level(text: &str) -> Option<&'static str> {
    let (name, offset) = text.split_at_checked(text.find(['+', '-'])?)?;
    let base = match name.to_ascii_lowercase().as_str() {
        "debug" => -4,
        "info" => 0,
        "warn" => 4,
        "error" => 8,
        _ => return None,
    };
    Some(match offset.parse::<i32>().ok()?.saturating_add(base) {
        ..=-5 => "trace",
        -4 => "debug",
        -3..=0 => "info",
        1..=4 => "warn",
        _ => "error",
    })
}

pub(super) fn log_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    if let Some(level) = go_level(text) {
        return Ok(level.to_owned());
    }
    // `EnvFilter` would take a misspelled level for the name of a target.
    let is_level = |text: &str| LEVELS.contains(&text.to_ascii_lowercase().as_str());
    let accepted = !text.trim().is_empty()
        && text.split(',').all(|part| match part.rsplit_once('=') {
            Some((target, level)) => !target.trim().is_empty() && is_level(level.trim()),
            None => is_level(part.trim()),
        });
    if accepted && tracing_subscriber::EnvFilter::try_new(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!("expected {} or a list of target=level, got {text:?}", LEVELS.join(", ")))
    }
}

/// In YAML, off is false.
pub(super) fn hotshot_proofs(text: &str) -> Result<HotshotProofs, String> {
    match text {
        "off" | "false" => Ok(HotshotProofs::Off),
        "payload" => Ok(HotshotProofs::Payload),
        "root" => Ok(HotshotProofs::Root),
        _ => Err(format!("{text:?} is neither off, payload nor root")),
    }
}

pub(super) fn rollup(text: &str) -> Result<RollupKind, String> {
    match text {
        "op" => Ok(RollupKind::Op),
        "nitro" => Ok(RollupKind::Nitro),
        _ => Err(format!("{text:?} is neither op nor nitro")),
    }
}

pub(super) fn nitro_require(text: &str) -> Result<NitroRequire, String> {
    match text {
        "hash" => Ok(NitroRequire::Hash),
        "inputs" => Ok(NitroRequire::Inputs),
        _ => Err(format!("{text:?} is neither hash nor inputs")),
    }
}

pub(super) fn log_format(text: &str) -> Result<Format, String> {
    match text {
        "auto" => Ok(Format::Auto),
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err(format!("expected auto, text or json, got {text:?}")),
    }
}
