//! What is wrong with an object, within bounds: a list of a million bad entries has millions of faults.

use std::ops::Deref;

use crate::FieldError;

/// How many faults are told.
const MOST: usize = 200;
/// How long they may be together, in bytes: each may show a whole list.
const MOST_BYTES: usize = 1024 * 1024;

/// The faults of an object so far, each once; of very many the first.
#[derive(Debug, Default)]
pub(super) struct Errors {
    told: Vec<FieldError>,
    bytes: usize,
}

impl Errors {
    /// Tells a fault, unless it was told already, as of a template that is wrong twice in the same way, or there are too many.
    pub(super) fn push(&mut self, error: FieldError) {
        if self.are_many() {
            return;
        }
        // What is told already counts too: it was made.
        self.bytes += error.message.len();
        if !self.told.contains(&error) {
            self.told.push(error);
        }
    }

    /// Whether there are so many that no more are told: who would look for more need not.
    pub(super) fn are_many(&self) -> bool {
        self.told.len() >= MOST || self.bytes >= MOST_BYTES
    }
}

impl Extend<FieldError> for Errors {
    fn extend<I: IntoIterator<Item = FieldError>>(&mut self, errors: I) {
        for error in errors {
            if self.are_many() {
                return;
            }
            self.push(error);
        }
    }
}

impl Deref for Errors {
    type Target = [FieldError];

    fn deref(&self) -> &[FieldError] {
        &self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldPath;

    #[test]
    fn each_fault_is_told_once_and_of_very_many_the_first() {
        let check = |errors: &mut dyn Iterator<Item = FieldError>, expected: usize| {
            let mut told = Errors::default();
            told.extend(errors);
            assert_eq!(told.len(), expected);
        };
        let at = |index: usize| FieldPath::new("spec").index(index);
        check(&mut (0..5).map(|place| FieldError::required(&at(place % 2), "")), 2);
        check(&mut (0..).map(|place| FieldError::required(&at(place), "")), MOST);
        let long = "x".repeat(256 * 1024);
        check(&mut (0..).map(|place| FieldError::invalid(&at(place), long.as_str(), "")), MOST_BYTES / long.len());
        check(&mut (0..).map(|_| FieldError::invalid(&at(0), long.as_str(), "")), 1);
    }
}
