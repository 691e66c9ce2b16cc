//! What a command that takes a while shows: on a terminal a short list that ticks off, elsewhere plain lines.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The list.
pub struct Progress {
    bars: Option<MultiProgress>,
}

/// One line of it.
pub struct Step {
    bar: Option<ProgressBar>,
    title: String,
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
        Step { bar, title }
    }
}

impl Step {
    /// Says how far it is.
    pub fn note(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {text}", self.title));
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
