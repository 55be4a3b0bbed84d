//! Quoting the mail answered. Off unless asked for: agents answer without a copy, because every
//! quoting round lengthens the mail and the recipient has the original.

/// Appends an attribution and the quoted text of the mail answered to `answer`.
///
/// `attribution` is one line such as `On 3 May 2026, Ann wrote:`. Lines already quoted get a further
/// `>`; at most `max_lines` lines are quoted, and a cut is marked.
#[must_use]
pub fn quote_answered(answer: &str, attribution: &str, quoted: &str, max_lines: usize) -> String {
    let attribution = super::HeaderText::lossy(attribution);
    let quoted = super::body::canonical(quoted);
    let mut out =
        format!("{}\n\n{attribution}\n", super::body::canonical(answer).replace('\r', ""));
    let mut lines = quoted.split("\r\n");
    for line in lines.by_ref().take(max_lines) {
        out.push('>');
        if !line.is_empty() && !line.starts_with('>') {
            out.push(' ');
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if lines.next().is_some() {
        out.push_str("> [...]\n");
    }
    out
}
