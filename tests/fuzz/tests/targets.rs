//! Every target on its corpus, and on what a seeded chance makes of it, for a moment.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use pal_fuzz::{TARGETS, Target};

/// How long each target is tried; `PAL_FUZZ_SECONDS` says otherwise.
const MOMENT: Duration = Duration::from_millis(700);
/// Longer inputs take time and find little.
const LONGEST: usize = 4096;
/// What one input may take on a busy machine.
const SLOW: Duration = Duration::from_secs(20);

/// What the grammars are made of.
const LETTERS: &[u8] = b"0123456789-+.eE{}[]()\"':,\\/$*&!=<> \n\0";

/// xorshift64*
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    fn range(&mut self, of: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(of.len() + 1);
        start..start + self.below((of.len() - start).min(32) + 1)
    }
}

/// An input made of two others.
fn mutated(one: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut input = one.to_vec();
    for _ in 0..=chance.below(4) {
        let part = chance.range(&input);
        match chance.below(6) {
            0 => drop(input.drain(part)),
            1 => {
                let copied = input[part.clone()].repeat(chance.below(4));
                input.splice(part.start..part.start, copied);
            }
            2 => {
                let taken = chance.range(other);
                input.splice(part, other[taken].iter().copied());
            }
            3 => input.insert(part.start, chance.below(256) as u8),
            4 => input.insert(part.start, LETTERS[chance.below(LETTERS.len())]),
            _ => {
                if let Some(byte) = input.get_mut(part.start) {
                    *byte ^= 1 << chance.below(8);
                }
            }
        }
    }
    input.truncate(LONGEST);
    input
}

fn run(name: &str, target: Target, input: &[u8]) {
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    assert!(outcome.is_ok(), "{name} fails for {:?}", String::from_utf8_lossy(input));
    assert!(began.elapsed() < SLOW, "{name} takes {:?} for {:?}", began.elapsed(), String::from_utf8_lossy(input));
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a file")).collect()
}

/// What the product's threads have of it.
const STACK_BYTES: usize = 8 * 1024 * 1024;

fn check(targets: &'static [(&'static str, Target)]) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| try_each(targets));
    if let Err(panic) = thread.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

fn try_each(targets: &[(&str, Target)]) {
    let seconds = std::env::var("PAL_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let moment = seconds.map_or(MOMENT, Duration::from_secs);
    let seed = std::env::var("PAL_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for (name, target) in targets {
        let mut inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has a corpus");
        for input in &inputs {
            run(name, *target, input);
        }
        let (mut chance, mut runs, began) = (Chance(seed), 0, Instant::now());
        while began.elapsed() < moment {
            let (one, other) = (chance.below(inputs.len()), chance.below(inputs.len()));
            let input = mutated(&inputs[one], &inputs[other], &mut chance);
            run(name, *target, &input);
            runs += 1;
            // Some go on as what others are made of.
            if runs % 16 == 0 && inputs.len() < 1_000 {
                inputs.push(input);
            }
        }
        println!("{name}: {runs} inputs with seed {seed}");
    }
}

#[test]
fn bodies_of_any_bytes_are_read_or_refused() {
    check(&TARGETS[..3]);
}

#[test]
fn patches_of_any_bytes_are_carried_out_or_refused() {
    check(&TARGETS[3..8]);
}

#[test]
fn texts_and_definitions_of_any_bytes_are_read_or_refused() {
    check(&TARGETS[8..16]);
}

#[test]
fn requests_streams_and_files_of_any_bytes_are_read_or_refused() {
    check(&TARGETS[16..]);
}
