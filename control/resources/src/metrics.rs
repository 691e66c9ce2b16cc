//! Figures in the text form that Prometheus reads.

use std::fmt::{Display, Write as _};
use std::time::Duration;

/// What introduces a metric. Writing to a String cannot fail.
pub fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A metric of one value.
pub fn single(text: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    head(text, name, kind, help);
    let _ = writeln!(text, "{name} {value}");
}

/// One value of a metric, with its labels as they are written: `a="1",b="2"`.
pub fn sample(text: &mut String, name: &str, labels: &str, value: impl Display) {
    let _ = writeln!(text, "{name}{{{labels}}} {value}");
}

/// How long things took.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Upper bounds in seconds, rising.
    bounds: &'static [f64],
    /// Not cumulated; the last is beyond all bounds.
    counts: Vec<u64>,
    total: Duration,
}

impl Histogram {
    /// Nothing yet; `bounds` are seconds and rise.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], total: Duration::ZERO }
    }

    /// One thing more took that long.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[self.bounds.partition_point(|bound| *bound < seconds)] += 1;
        self.total += took;
    }

    /// How many things there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Its samples; the labels are written as those of [`sample`], or there are none.
    pub fn told(&self, text: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut sum = 0;
        for (at, count) in self.counts.iter().enumerate() {
            sum += count;
            let _ = match self.bounds.get(at) {
                Some(bound) => writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {sum}"),
                None => writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {sum}"),
            };
        }
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        let _ = writeln!(text, "{name}_sum{open}{labels}{close} {}", self.total.as_secs_f64());
        let _ = writeln!(text, "{name}_count{open}{labels}{close} {sum}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_longer_is_counted_above() {
        let mut histogram = Histogram::new(&[0.1, 1.0]);
        for milliseconds in [50, 100, 500, 5000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let mut text = String::new();
        histogram.told(&mut text, "x", "a=\"b\"");
        let expected = [
            "x_bucket{a=\"b\",le=\"0.1\"} 2",
            "x_bucket{a=\"b\",le=\"1\"} 3",
            "x_bucket{a=\"b\",le=\"+Inf\"} 4",
            "x_sum{a=\"b\"} 5.65",
            "x_count{a=\"b\"} 4",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        let mut text = String::new();
        Histogram::new(&[]).told(&mut text, "x", "");
        assert_eq!(text, "x_bucket{le=\"+Inf\"} 0\nx_sum 0\nx_count 0\n");
    }
}
