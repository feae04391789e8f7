//! Metrics of the process, under the names that Prometheus clients use. What the system does not
//! provide (only Linux has `/proc`) is not exported.

use std::{fmt, fs};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
    registry::Unit,
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

use super::encode::{gauge, gauge_with_unit};

/// The process; its start time is when this is created.
#[derive(Debug)]
pub(super) struct Process {
    began: Timestamp,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { began: Timestamp::now() }
    }
}

/// Processor time of all threads, in seconds.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory, in bytes.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Open files, except the one used to count them.
fn open_files() -> Option<u64> {
    let listed = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(listed).ok()?.checked_sub(1)
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        gauge_with_unit(
            &mut encoder,
            "process_start_time",
            "Unix time at which the process started",
            Unit::Seconds,
            self.began.as_millisecond() as f64 / 1000.0,
        )?;
        let cpu = encoder.encode_descriptor(
            "process_cpu",
            "One for each second that the process kept a processor busy",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        ConstCounter::new(cpu_seconds()).encode(cpu)?;
        if let Some(bytes) = resident_bytes() {
            let help = "Resident memory of the process";
            gauge_with_unit(
                &mut encoder,
                "process_resident_memory",
                help,
                Unit::Bytes,
                bytes as f64,
            )?;
        }
        if let Some(open) = open_files() {
            let help = "Open files of the process, connections included";
            gauge(&mut encoder, "process_open_fds", help, open)?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            let help = "Limit of open files of the process";
            gauge(&mut encoder, "process_max_fds", help, most)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_reports_memory_files_and_processor_time() {
        assert!(resident_bytes().unwrap() > 1024 * 1024);
        assert!(cpu_seconds() > 0.0);
        let held: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        // Other tests open and close files meanwhile, fewer than these.
        assert!(open_files().unwrap() >= u64::try_from(held.len()).unwrap());
    }
}
