//! What a command that takes a while shows: on a terminal a short list that ticks off, elsewhere plain lines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The list.
pub struct Progress {
    bars: Option<MultiProgress>,
}

/// How often a step that takes long says so where there is no terminal.
const NOTE_EVERY: Duration = Duration::from_secs(3);

/// One line of it.
pub struct Step {
    bar: Option<ProgressBar>,
    title: String,
    /// When it last said something, where it cannot show it.
    told: Mutex<Instant>,
}

impl Progress {
    /// A list on standard error; plain lines where that is no terminal.
    pub fn new() -> Self {
        use std::io::IsTerminal;
        Self { bars: std::io::stderr().is_terminal().then(MultiProgress::new) }
    }

    /// Begins a step.
    pub fn step(&self, title: impl Into<String>) -> Step {
        let title = title.into();
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style.tick_strings(&["⠋", "⠙", "⠸", "⠴", "⠦", "⠇", "✓"]));
            }
            bar.set_message(title.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Step { bar, title, told: Mutex::new(Instant::now()) }
    }

    /// Says something that stays, above the list.
    pub fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) if bars.println(text).is_ok() => {}
            _ => eprintln!("{text}"),
        }
    }
}

impl Step {
    /// Says how far it is.
    pub fn note(&self, text: &str) {
        let text = format!("{}: {text}", self.title);
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => {
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.elapsed() >= NOTE_EVERY {
                    *told = Instant::now();
                    eprintln!("{text}");
                }
            }
        }
    }

    /// Ticks it off, with what came of it.
    pub fn done(self, text: impl Into<String>) {
        let text = text.into();
        match self.bar {
            Some(bar) => bar.finish_with_message(text),
            None => eprintln!("{text}"),
        }
    }
}
