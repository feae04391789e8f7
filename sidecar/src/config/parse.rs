//! What a value must look like. Each function says what is wrong in words, without the setting's name.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use alloy_primitives::Address;

use super::{Problem, Problems, Setting, Values};
use crate::telemetry::log::Format;

/// Reads values one after the other and collects what is wrong.
pub(super) struct Reader<'a> {
    values: &'a Values,
    problems: Problems,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a Values) -> Self {
        Self { values, problems: values.problems.clone() }
    }

    /// A value that must be there.
    pub(super) fn value<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let reported = self.problems.iter().any(|problem| problem.setting == name);
        if self.values.get(name).is_none() && !reported {
            let sources = Setting::named(name).map_or_else(String::new, |setting| {
                format!(": give --{}, {} or {name} in the file", setting.flag(), setting.variable())
            });
            self.problems.add(Problem::of(name, None, format!("missing{sources}")));
        }
        self.optional(name, parse)
    }

    /// A value that may be missing.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.values.get(name)?;
        parse(&value.text)
            .map_err(|text| {
                self.problems.add(Problem::of(name, Some(value.source.clone()), text));
            })
            .ok()
    }

    /// The result, if nothing was wrong.
    pub(super) fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, Problems> {
        if self.problems.is_empty() { build().ok_or(self.problems) } else { Err(self.problems) }
    }
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not an IP address with a port, such as 127.0.0.1:8090 or [::]:8090")
    })
}

pub(super) fn address(text: &str) -> Result<Address, String> {
    let address: Address = text
        .parse()
        .map_err(|_| format!("{text:?} is not an address, 0x and 40 hexadecimal digits"))?;
    if address.is_zero() { Err("the zero address is nobody's".into()) } else { Ok(address) }
}

/// The elements of a list.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|element| !element.is_empty())
}

pub(super) fn addresses(text: &str) -> Result<Vec<Address>, String> {
    let mut addresses = list(text).map(address).collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() {
        return Err("at least one address is needed".into());
    }
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

pub(super) fn namespace(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number from 0 to {}", u32::MAX))
}

pub(super) fn height(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a height, a whole number from 0"))
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err(format!("{text:?} is not a whole number from 1 to 1000000")),
    }
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("the path is empty".into()) } else { Ok(text.into()) }
}

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is not a duration, such as 5s, 250ms or 1m30s"))?;
    if duration > LONGEST { Err(format!("{text:?} is longer than a day")) } else { Ok(duration) }
}

/// A duration above zero.
pub(super) fn pause(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be above zero".into()),
        duration => Ok(duration),
    }
}

pub(super) fn log_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // The filter itself would take a misspelt level for the name of a target.
    let is_level = |text: &str| LEVELS.contains(&text.to_ascii_lowercase().as_str());
    let accepted = !text.trim().is_empty()
        && text.split(',').all(|part| match part.rsplit_once('=') {
            Some((target, level)) => !target.trim().is_empty() && is_level(level.trim()),
            None => is_level(part.trim()),
        });
    if accepted && tracing_subscriber::EnvFilter::try_new(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is neither one of {} nor a list of target=level", LEVELS.join(", ")))
    }
}

pub(super) fn log_format(text: &str) -> Result<Format, String> {
    match text {
        "auto" => Ok(Format::Auto),
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err(format!("{text:?} is none of auto, text, json")),
    }
}
