//! df: how large what is mounted is, and how much of it is taken.

use super::list::human;
use super::{Call, Outcome};
use crate::files::{Mount, mount_of, mounts, read_text};

/// What the node says of each mount: its place, and of its size, what is taken and what is free, in KiB.
const SIZES: &str = "/proc/sizes";

#[derive(Clone, Copy)]
struct Sizes {
    all: u64,
    used: u64,
    free: u64,
}

impl Sizes {
    fn of(place: &str, table: &str) -> Option<Self> {
        table.lines().find_map(|line| match line.rsplitn(4, ' ').collect::<Vec<_>>().as_slice() {
            [free, used, all, of] if *of == place => {
                Some(Self { all: all.parse().ok()?, used: used.parse().ok()?, free: free.parse().ok()? })
            }
            _ => None,
        })
    }

    fn percent(self) -> u64 {
        let reachable = self.used + self.free;
        (self.used * 100 + reachable / 2).checked_div(reachable).unwrap_or(0)
    }
}

pub async fn run(call: &Call) -> Outcome {
    let options = call.options("hkmPTa", "")?;
    let (typed, posix) = (options.has('T'), options.has('P'));
    let unit = match () {
        () if options.has('h') => "     Size",
        () if options.has('m') => "1M-blocks",
        () if posix => "1024-blocks",
        () => "1K-blocks",
    };
    let shown = |kib: u64| match unit {
        "     Size" => human(kib * 1024),
        "1M-blocks" => kib.div_ceil(1024).to_string(),
        _ => kib.to_string(),
    };
    let kind = |kind: &str| if typed { format!(" {kind:<10}") } else { String::new() };
    let share = if posix { "Capacity" } else { "Use%" };
    call.print(format!("Filesystem          {} {unit:<15}Used Available {share} Mounted on\n", kind("Type"))).await?;
    let table = read_text(SIZES).unwrap_or_default();
    let mut status = 0;
    let mut wanted = mounts();
    if !options.rest.is_empty() {
        wanted = Vec::new();
        for name in &options.rest {
            let path = call.path(name);
            match std::fs::metadata(&path).map(|_| mount_of(&path)) {
                Ok(found) => wanted.extend(found),
                Err(error) => {
                    call.complain(&format!("{name}: can't find mount point: {}", crate::files::why(&error))).await;
                    status = 1;
                }
            }
        }
    }
    for Mount { what, place, kind: of, .. } in wanted {
        let Some(sizes) = Sizes::of(&place, &table) else { continue };
        let (all, used, free) = (shown(sizes.all), shown(sizes.used), shown(sizes.free));
        let (of, percent) = (kind(&of), sizes.percent());
        call.print(format!("{what:<20}{of} {all:>9} {used:>9} {free:>9} {percent:>3}% {place}\n")).await?;
    }
    Ok(status)
}
