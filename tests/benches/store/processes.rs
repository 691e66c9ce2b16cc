//! What a process uses.

use std::path::Path;

/// Processor time that processes have used, in seconds.
pub fn processor_seconds(ids: &[u32]) -> f64 {
    /// Ticks of a second in `/proc`; Linux on x86-64 and aarch64 has no other.
    const TICKS: f64 = 100.0;
    let ticks = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name, in parentheses, may hold spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<f64>().ok()).sum::<f64>()
    };
    ids.iter().map(ticks).sum::<f64>() / TICKS
}

/// Resident memory of a process, in bytes.
pub fn resident(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}

/// What a directory takes on disk, in bytes.
pub fn on_disk(dir: &Path) -> f64 {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0.0;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        // A file may go away while it is looked at.
        let Ok(metadata) = entry.metadata() else { continue };
        sum += if metadata.is_dir() { on_disk(&entry.path()) } else { metadata.blocks() as f64 * 512.0 };
    }
    sum
}
