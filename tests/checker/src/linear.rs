//! The search for an order of the operations on one key.
//!
//! Wing and Gong's search with Lowe's memory of what was tried: the same set of operations with the same value afterwards is
//! not tried twice. A read is taken as soon as it fits, for taking it later can only be harder; and
//! a value that somebody has yet to see is not written over when it cannot come back.

use std::collections::{HashMap, HashSet};

use crate::history::Value;

/// What an operation saw of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Exactly(Option<Value>),
    Present,
    Not(Value),
}

impl Seen {
    pub(crate) fn fits(self, state: Option<Value>) -> bool {
        match self {
            Seen::Exactly(value) => state == value,
            Seen::Present => state.is_some(),
            Seen::Not(value) => state != Some(value),
        }
    }
}

/// What one operation is to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub called: u64,
    /// `None`: it may happen at any time, or never.
    pub returned: Option<u64>,
    /// All of these must fit when it happens.
    pub sees: Vec<Seen>,
    pub writes: Option<Option<Value>>,
    /// Its place in the history, for the report.
    pub operation: usize,
}

impl Step {
    fn apply(&self, state: Option<Value>) -> Option<Option<Value>> {
        self.sees.iter().all(|seen| seen.fits(state)).then(|| self.writes.unwrap_or(state))
    }

    /// The values that it must see: one, or it cannot happen.
    fn values(&self) -> impl Iterator<Item = Value> {
        let mut values =
            self.sees.iter().filter_map(|seen| if let Seen::Exactly(value) = seen { *value } else { None });
        values.next().into_iter()
    }
}

/// What the search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Order,
    None,
    /// It was given up.
    Undecided,
}

fn needed(steps: &[Step]) -> HashMap<Value, usize> {
    let mut writers: HashMap<Value, usize> = HashMap::new();
    for value in steps.iter().filter_map(|step| step.writes.flatten()) {
        *writers.entry(value).or_default() += 1;
    }
    let once = writers.into_iter().filter(|(_, writers)| *writers == 1);
    let mut needed: HashMap<Value, usize> = once.map(|(value, _)| (value, 0)).collect();
    for step in steps.iter().filter(|step| step.returned.is_some()) {
        for value in step.values() {
            needed.entry(value).and_modify(|needed| *needed += 1);
        }
    }
    needed
}

/// Looks for an order, in at most so many steps.
pub(crate) fn search(steps: &[Step], limit: u64) -> Found {
    let mut left = limit;
    Search::new(steps).run(&mut left)
}

/// The same, taking what it does from what is left.
pub(crate) fn search_within(steps: &[Step], left: &mut u64) -> Found {
    Search::new(steps).run(left)
}

/// A call or a return, in a list of those that are not placed yet.
#[derive(Clone, Copy)]
struct Node {
    step: usize,
    is_return: bool,
    previous: usize,
    next: usize,
}

/// The list's two ends.
const HEAD: usize = 0;
const END: usize = 1;

struct Search<'a> {
    steps: &'a [Step],
    nodes: Vec<Node>,
    call_of: Vec<usize>,
    return_of: Vec<Option<usize>>,
    taken: Taken,
    state: Option<Value>,
    /// Steps that must still be placed.
    left: usize,
    /// What was placed, and the value before it.
    placed: Vec<(usize, Option<Value>)>,
    tried: HashSet<(Key, Option<Value>)>,
    /// Of each value that only one step writes: how many steps that are left must see it.
    needed: HashMap<Value, usize>,
}

impl<'a> Search<'a> {
    fn new(steps: &'a [Step]) -> Search<'a> {
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * steps.len());
        for (at, step) in steps.iter().enumerate() {
            events.push((step.called, false, at));
            events.extend(step.returned.map(|returned| (returned, true, at)));
        }
        // At the same instant calls come first: then the two may have overlapped.
        events.sort_unstable();
        let mut nodes = vec![Node { step: usize::MAX, is_return: false, previous: HEAD, next: END }; 2];
        let mut call_of = vec![0; steps.len()];
        let mut return_of = vec![None; steps.len()];
        let mut taken = Taken::default();
        for (_, is_return, step) in events {
            let at = nodes.len();
            if is_return {
                return_of[step] = Some(at);
            } else {
                call_of[step] = at;
                taken.number(step, steps[step].returned.is_some(), steps.len());
            }
            let previous = nodes[END].previous;
            nodes.push(Node { step, is_return, previous, next: END });
            nodes[previous].next = at;
            nodes[END].previous = at;
        }
        let left = steps.iter().filter(|step| step.returned.is_some()).count();
        let (placed, tried, needed) = (Vec::new(), HashSet::new(), needed(steps));
        Search { steps, nodes, call_of, return_of, taken, state: None, left, placed, tried, needed }
    }

    fn run(mut self, left: &mut u64) -> Found {
        let mut cursor = self.nodes[HEAD].next;
        while *left > 0 {
            *left -= 1;
            if self.left == 0 {
                return Found::Order;
            }
            // While something is left its return stands in the way of the list's end.
            let node = self.nodes[cursor];
            cursor = if !node.is_return && cursor != END {
                if self.place(node.step) { self.nodes[HEAD].next } else { node.next }
            } else {
                match self.back() {
                    Some(next) => next,
                    None => return Found::None,
                }
            };
        }
        Found::Undecided
    }

    /// Places a step next if it fits and this was not tried before.
    fn place(&mut self, step: usize) -> bool {
        let Some(state) = self.steps[step].apply(self.state) else { return false };
        // What nobody must see and changes nothing need not happen.
        if state == self.state && self.steps[step].returned.is_none() {
            return false;
        }
        if state != self.state && self.is_needed(step) {
            return false;
        }
        self.taken.set(step, true);
        if !self.tried.insert((self.taken.key(), state)) {
            self.taken.set(step, false);
            return false;
        }
        self.placed.push((step, self.state));
        self.state = state;
        self.unlink(self.call_of[step]);
        if let Some(at) = self.return_of[step] {
            self.unlink(at);
            self.left -= 1;
            self.count_needs(step, usize::wrapping_sub);
        }
        true
    }

    /// Takes back the last choice; the node to go on with, or `None` when there was no choice left.
    fn back(&mut self) -> Option<usize> {
        loop {
            let (step, before) = self.placed.pop()?;
            // A write may matter elsewhere even if it changed nothing here.
            let was_choice = self.steps[step].writes.is_some();
            self.taken.set(step, false);
            self.state = before;
            if let Some(at) = self.return_of[step] {
                self.relink(at);
                self.left += 1;
                self.count_needs(step, usize::wrapping_add);
            }
            self.relink(self.call_of[step]);
            if was_choice {
                return Some(self.nodes[self.call_of[step]].next);
            }
        }
    }

    /// Whether a step other than this one must still see the present value.
    fn is_needed(&self, step: usize) -> bool {
        let Some(value) = self.state else { return false };
        let sees = self.return_of[step].is_some() && self.steps[step].values().any(|seen| seen == value);
        self.needed.get(&value).is_some_and(|needed| *needed > usize::from(sees))
    }

    fn count_needs(&mut self, step: usize, change: fn(usize, usize) -> usize) {
        for value in self.steps[step].values() {
            self.needed.entry(value).and_modify(|needed| *needed = change(*needed, 1));
        }
    }

    fn unlink(&mut self, at: usize) {
        let Node { previous, next, .. } = self.nodes[at];
        self.nodes[previous].next = next;
        self.nodes[next].previous = previous;
    }

    fn relink(&mut self, at: usize) {
        let Node { previous, next, .. } = self.nodes[at];
        self.nodes[previous].next = at;
        self.nodes[next].previous = at;
    }
}

/// Which steps are placed. Those that must be are numbered by the time of their call, so all but a window of them is
/// nothing but placed or nothing but not placed; the others are numbered apart, for most of them never are.
#[derive(Default)]
struct Taken {
    certain: Vec<u64>,
    uncertain: Vec<u64>,
    place: Vec<(bool, usize)>,
    counts: (usize, usize),
    /// All words of `certain` before this one are full.
    full: usize,
    /// No word of `certain` from this one on has a bit.
    end: usize,
}

/// The set in few words: where the window begins, its words, and the uncertain ones.
type Key = (usize, Box<[u64]>, Box<[u64]>);

impl Taken {
    fn number(&mut self, step: usize, is_certain: bool, steps: usize) {
        self.place.resize(steps, (false, 0));
        let count = if is_certain { &mut self.counts.0 } else { &mut self.counts.1 };
        self.place[step] = (is_certain, *count);
        *count += 1;
        self.certain.resize(self.counts.0.div_ceil(64), 0);
        self.uncertain.resize(self.counts.1.div_ceil(64), 0);
    }

    fn set(&mut self, step: usize, value: bool) {
        let (is_certain, at) = self.place[step];
        let (word, bit) = (at / 64, 1 << (at % 64));
        let words = if is_certain { &mut self.certain } else { &mut self.uncertain };
        if value {
            words[word] |= bit;
        } else {
            words[word] &= !bit;
        }
        if !is_certain {
            return;
        }
        if value {
            self.end = self.end.max(word + 1);
            while self.full < self.certain.len() && self.certain[self.full] == u64::MAX {
                self.full += 1;
            }
        } else {
            self.full = self.full.min(word);
            while self.end > 0 && self.certain[self.end - 1] == 0 {
                self.end -= 1;
            }
        }
    }

    fn key(&self) -> Key {
        let window = self.certain.get(self.full..self.end).unwrap_or_default();
        let used = self.uncertain.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        (self.full, window.into(), self.uncertain[..used].into())
    }
}
