//! Keys of the telephone become a turn when `#` is pressed or none follows.

use super::Ms;

/// The longest number taken; further keys are dropped until it is sent.
const LONGEST: usize = 64;

/// Keys pressed so far.
#[derive(Debug, Default)]
pub(super) struct Keypad {
    keys: String,
    last: Ms,
}

impl Keypad {
    /// Takes a key, and gives the number when this key ended it.
    pub fn press(&mut self, key: char, now: Ms) -> Option<String> {
        match key {
            '#' => return self.take(),
            '0'..='9' | '*' | 'A'..='D' if self.keys.len() < LONGEST => self.keys.push(key),
            _ => {}
        }
        self.last = now;
        None
    }

    /// When the number ends if no key follows.
    pub fn deadline(&self, gap: Ms) -> Option<Ms> {
        (!self.keys.is_empty()).then(|| self.last + gap)
    }

    /// The number, if there is one.
    pub fn take(&mut self) -> Option<String> {
        (!self.keys.is_empty()).then(|| std::mem::take(&mut self.keys))
    }
}
