//! What the operating system says of this process, as Prometheus' client libraries tell it.

use pal_resources::metrics::single;

/// Ticks of the clock by which Linux tells processes' times to their users, whatever its own is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds what can be read; nothing where there is no `/proc`.
pub(super) fn told(text: &mut String) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    if let Some(seconds) = cpu_seconds(&read("stat")) {
        let help = "Total user and system CPU time spent in seconds.";
        single(text, "process_cpu_seconds_total", "counter", help, seconds);
    }
    let status = read("status");
    for (field, name, help) in [
        ("VmRSS:", "process_resident_memory_bytes", "Resident memory size in bytes."),
        ("VmSize:", "process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ] {
        if let Some(bytes) = kilobytes(&status, field) {
            single(text, name, "gauge", help, bytes * 1024);
        }
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        single(text, "process_open_fds", "gauge", "Number of open file descriptors.", open.count());
    }
    if let Some(most) = most_files(&read("limits")) {
        single(text, "process_max_fds", "gauge", "Maximum number of open file descriptors.", most);
    }
}

/// The times in `/proc/self/stat`. The name of the program, in brackets, may have spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

fn kilobytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().split(' ').next()?.parse().ok()
}

fn most_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        let stat = "7 (a b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1000 10";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("nothing"), None);
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(most_files("Max open files            1024                 4096                 files"), Some(1024));
    }
}
