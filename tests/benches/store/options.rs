//! What is measured, and for how long.

use std::time::Duration;

const PARTS: [&str; 6] = ["puts", "reads", "watch", "failover", "million", "overwrite"];

/// The command line.
pub struct Options {
    parts: Vec<String>,
    pub time: Duration,
    pub rounds: usize,
    pub clients: Vec<usize>,
    pub servers: Vec<usize>,
    pub kills: usize,
    pub objects: usize,
    pub overwrite: Duration,
}

impl Options {
    /// Reads it; the words that cargo adds are left out.
    pub fn of(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            parts: Vec::new(),
            time: Duration::from_secs(3),
            rounds: 2,
            clients: vec![1, 16, 64, 1000],
            servers: vec![1, 3],
            kills: 12,
            objects: 1_000_000,
            overwrite: Duration::from_secs(30),
        };
        let mut words = words.filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                if !PARTS.contains(&word.as_str()) {
                    return Err(format!("{word:?} is none of {}", PARTS.join(", ")));
                }
                options.parts.push(word);
                continue;
            };
            let value = words.next().ok_or(format!("--{name} wants a value"))?;
            let numbers: Result<Vec<usize>, _> = value.split(',').map(str::parse).collect();
            let numbers = numbers.map_err(|_| format!("--{name} wants numbers, not {value:?}"))?;
            let seconds = Duration::from_secs(numbers[0] as u64);
            match name {
                "seconds" => options.time = seconds,
                "rounds" => options.rounds = numbers[0].max(1),
                "clients" => options.clients = numbers,
                "servers" => options.servers = numbers,
                "kills" => options.kills = numbers[0],
                "objects" => options.objects = numbers[0],
                "overwrite" => options.overwrite = seconds,
                _ => return Err(format!("--{name} is not known")),
            }
        }
        Ok(options)
    }

    /// Whether that part is to be measured.
    pub fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}
