//! What the figures were measured on, as Linux tells it.

use super::{Report, stats::Samples};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

/// Clock ticks a second in /proc/self/stat: USER_HZ, which is 100 on every Linux architecture that
/// Rust runs servers on.
const TICKS: f64 = 100.0;

/// Writes that are timed to know the disk.
const DISK_SAMPLES: usize = 300;

/// Adds processor, build, load and disk to the conditions. Call it before the load begins.
pub(super) fn describe(report: &mut Report, dir: &Path) -> io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    report.condition("processor", format!("{}, {cores} cores", processor()));
    let build = if cfg!(debug_assertions) {
        "debug: the figures mean nothing"
    } else {
        "release (optimised)"
    };
    report.condition("build", build);
    report.condition("load before", load());
    let [p50, p99] = disk(dir)?.millis([50.0, 99.0]);
    report.condition(
        "disk",
        format!("append 4 KiB + fdatasync: p50 {p50:.2} ms, p99 {p99:.2} ms ({})", dir.display()),
    );
    Ok(())
}

fn processor() -> String {
    fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The load averages; other people's work on the machine shows here.
pub(super) fn load() -> String {
    fs::read_to_string("/proc/loadavg")
        .map(|text| text.split(' ').take(3).collect::<Vec<_>>().join(" "))
        .unwrap_or_default()
}

/// How long the disk takes to keep 4 KiB.
fn disk(dir: &Path) -> io::Result<Samples> {
    let path = dir.join("fdatasync");
    let mut file = File::create(&path)?;
    let mut samples = Samples::default();
    for number in 0..DISK_SAMPLES {
        let started = Instant::now();
        file.write_all(&[number as u8; 4096])?;
        file.sync_data()?;
        samples.add(started.elapsed());
    }
    drop(file);
    fs::remove_file(path)?;
    Ok(samples)
}

/// Memory of this process in bytes: resident now, and the most it was since [`forget_peak`].
pub(super) fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    (field("VmRSS:").unwrap_or(0) * 1024, field("VmHWM:").unwrap_or(0) * 1024)
}

/// Starts the high-water mark of memory anew. Fails where the system does not allow it.
pub(super) fn forget_peak() -> io::Result<()> {
    // 5 resets the peak resident set size (proc(5), clear_refs).
    fs::write("/proc/self/clear_refs", "5")
}

/// Processor time of the whole process.
pub(super) fn process_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in brackets may hold spaces; the fields after it do not.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let tick = |n: usize| {
        fields.split(' ').nth(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0)
    };
    Duration::from_secs_f64((tick(11) + tick(12)) / TICKS)
}

/// Processor time of the calling thread.
pub(super) fn thread_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
