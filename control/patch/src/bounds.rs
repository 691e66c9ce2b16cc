//! What a JSON patch may grow a value to: a short one can copy and move it into a huge or very deep one.

use serde_json::Value;

use crate::PatchError;
use crate::json::Step;

/// How many bytes copies may add: the size of the largest body, as in kube-apiserver.
const MAX_COPIED: usize = 3 << 20;
/// Deeper values are not built, and values half as deep are not built further.
const MAX_DEPTH: usize = 200;
/// Looking takes time in proportion to the value: no patch that means well needs it that often.
const MAX_LOOKS: usize = 100;
/// How many items of lists make room for others, or close up behind them, with all operations together.
const MAX_SHIFTED: usize = 50_000_000;

pub(crate) struct Bounds {
    copied: usize,
    /// The value is at most that deep.
    depth: usize,
    /// How often all of the value was looked at.
    looks: usize,
    shifted: usize,
}

impl Bounds {
    pub(crate) fn new(value: &Value) -> Self {
        Self { copied: 0, depth: depth(value), looks: 0, shifted: 0 }
    }

    /// Counts a copy of the value.
    pub(crate) fn copy(&mut self, value: &Value) -> Result<(), PatchError> {
        self.copied += size(value);
        if self.copied > MAX_COPIED {
            return Err(PatchError::Unfit(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {}, \
                 exceeding the limit {MAX_COPIED}",
                self.copied
            )));
        }
        Ok(())
    }

    /// Counts the items of a list that make room for one, or close up behind one.
    pub(crate) fn shift(&mut self, items: usize) -> Result<(), PatchError> {
        self.shifted += items;
        if self.shifted > MAX_SHIFTED {
            return Err(PatchError::Unfit(format!(
                "Unable to complete the patch, its operations shift more than {MAX_SHIFTED} items of lists"
            )));
        }
        Ok(())
    }

    /// Whether the value may become as deep as the operation may make it.
    pub(crate) fn deepen(&mut self, step: &Step<'_>, value: &Value) -> Result<(), PatchError> {
        self.depth = depth_after(step, self.depth);
        if self.depth > MAX_DEPTH {
            // The bound is only a bound; the truth takes a look at all of the value, so not each time.
            self.depth = depth_after(step, depth(value));
            self.looks += 1;
            if self.depth > MAX_DEPTH / 2 || self.looks > MAX_LOOKS {
                return Err(PatchError::Unfit("exceeded max depth".to_owned()));
            }
        }
        Ok(())
    }
}

/// How deep a value of that depth is after the operation, at most.
fn depth_after(step: &Step<'_>, before: usize) -> usize {
    let below = |path: Option<&str>| path.map_or(0, |path| path.matches('/').count());
    let added = match step.name {
        "add" | "replace" => below(step.path) + depth(&step.value()),
        "copy" | "move" => below(step.path) + before.saturating_sub(below(step.from)),
        _ => 0,
    };
    before.max(added)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// About as many bytes as the value takes in JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(list) => 2 + list.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Value::Object(map) => 2 + map.iter().map(|(key, item)| 4 + key.len() + size(item)).sum::<usize>(),
        Value::String(text) => 2 + text.len(),
        _ => 4,
    }
}
