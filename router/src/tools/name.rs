//! The names models know servers' tools by.

use sha2::{Digest, Sha256};

/// What every provider takes.
const NAME_MAX: usize = 64;
/// Between a server's name and its tool's. No server's name has an underscore in it.
const BETWEEN: &str = "__";

/// `server__tool`. A tool's name that models do not take is rewritten and gets a few digits of its hash, so that
/// different tools have different names and the same one always has the same.
pub fn for_model(server: &str, tool: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let room = NAME_MAX - server.len().min(NAME_MAX / 2) - BETWEEN.len();
    if !tool.is_empty() && tool.len() <= room && tool.chars().all(fits) {
        return format!("{server}{BETWEEN}{tool}");
    }
    let mark: String =
        Sha256::digest(tool).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let shown: String =
        tool.chars().take(room - mark.len() - 1).map(|c| if fits(c) { c } else { '_' }).collect();
    format!("{server}{BETWEEN}{shown}-{mark}")
}

/// Whether a name could be one of a server's tools.
pub(super) fn could_be(server: &str, name: &str) -> bool {
    name.strip_prefix(server).is_some_and(|rest| rest.starts_with(BETWEEN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_plain_name_is_kept_and_others_are_told_apart() {
        assert_eq!(for_model("shop", "search"), "shop__search");
        let (dot, slash) = (for_model("shop", "a.b"), for_model("shop", "a/b"));
        assert!(dot.starts_with("shop__a_b-") && slash.starts_with("shop__a_b-"));
        assert_ne!(dot, slash);
        let (one, other) =
            (for_model("shop", &"x".repeat(100)), for_model("shop", &"x".repeat(101)));
        assert_ne!(one, other);
        assert!(could_be("shop", "shop__search"));
        assert!(!could_be("shop", "shop-2__search") && !could_be("shop", "shop_search"));
    }

    proptest! {
        #[test]
        fn every_name_is_one_that_models_take(server in "[a-z0-9-]{1,20}", tool in any::<String>()) {
            let name = for_model(&server, &tool);
            prop_assert!(name.len() <= NAME_MAX, "{}", name);
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'));
            prop_assert!(could_be(&server, &name));
        }
    }
}
