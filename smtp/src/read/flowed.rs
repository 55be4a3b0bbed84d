//! `format=flowed` (RFC 3676): soft line breaks are undone, quote marks stay.

/// Joins flowed lines of `text`, which has LF line ends. With `delsp` the blank before a soft break
/// goes too (section 4.1).
pub(super) fn unflow(text: &str, delsp: bool) -> String {
    let mut out = String::with_capacity(text.len());
    // Depth of the open paragraph, if its last line ended softly.
    let mut open: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let depth = line.len() - line.trim_start_matches('>').len();
        // Section 4.4: one blank is stuffing.
        let content = &line[depth..];
        let content = content.strip_prefix(' ').unwrap_or(content);
        // Section 4.3: the signature separator is never soft.
        let signature = content == "-- ";
        let joined = open == Some(depth) && !signature;
        if !joined {
            if open.is_some() || !out.is_empty() {
                out.push('\n');
            }
            out.extend(std::iter::repeat_n('>', depth));
            if depth > 0 && !content.is_empty() {
                out.push(' ');
            }
        }
        let soft = content.ends_with(' ') && !signature;
        out.push_str(if soft && delsp { &content[..content.len() - 1] } else { content });
        open = soft.then_some(depth);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_breaks_join_lines_of_one_depth() {
        let check =
            |text: &str, expected: &str| assert_eq!(unflow(text, false), expected, "{text}");
        check("a \nb\nc\n", "a b\nc\n");
        check("> a \n> b\nc \n> d\n", "> a b\nc \n> d\n");
        check("x \n-- \nme\n", "x \n-- \nme\n");
        check(" >not quoted\n", ">not quoted\n");
        check("a\n\nb\n", "a\n\nb\n");
        assert_eq!(unflow("日本 \n語\n", true), "日本語\n");
    }
}
