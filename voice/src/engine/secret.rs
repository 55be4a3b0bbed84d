//! Keys of services.

use serde::Deserialize;
use std::fmt;

/// A key for a service. Never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Secret(String);

impl Secret {
    /// The key itself, for the request it belongs to.
    #[cfg_attr(not(feature = "remote"), allow(dead_code, reason = "only remote engines use keys"))]
    pub(crate) fn reveal(&self) -> &str {
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
