//! Keys of providers.

use std::fmt;

/// A key of a provider. It is shown nowhere and leaves only in the header of a request to its provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The key itself.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        // Keys are often read from files that end in a new line.
        Self(text.trim().to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_without_its_new_line_and_never_shown() {
        let key = Secret::from("sk-123\n".to_owned());
        assert_eq!(key.reveal(), "sk-123");
        assert_eq!(format!("{key:?}"), "Secret");
    }
}
