//! Whether markup hides text. Rules:
//! - the attribute `hidden`; `display:none`; `visibility:hidden` or `collapse`; `opacity:0`;
//!   `max-height`, `height` or `width` of 0 together with `overflow:hidden`; `text-indent` or an
//!   absolute position far outside; `clip:rect(0…)`;
//! - a font size of at most one pixel or point, and `color:transparent` (both inherited);
//! - a colour equal to the background declared beside it, or white where neither the element nor
//!   one around it declares a background and the mail has no style sheet;
//! - a class or id that a top-level rule of a style sheet in the mail hides by these rules. Media
//!   queries are ignored: they hide the phone version on desktops and the other way round.

use std::collections::HashSet;

/// Class and id names kept from style sheets.
const NAMES: usize = 512;

/// What a style declares, as far as hiding goes. `None` inherits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub hidden: bool,
    pub tiny: Option<bool>,
    pub invisible: Option<bool>,
    pub color: Option<Color>,
    pub background: Option<Color>,
    pub borderless: bool,
}

/// A colour as far as it can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Color {
    Rgb(u8, u8, u8),
    Transparent,
    Unknown,
}

impl Style {
    pub fn parse(declarations: &str) -> Style {
        let mut style = Style::default();
        let (mut clipped, mut flat) = (false, false);
        for declaration in declarations.split(';').take(64) {
            let Some((property, value)) = declaration.split_once(':') else { continue };
            let property = property.trim().to_ascii_lowercase();
            let value = value.trim().to_ascii_lowercase();
            let value = value.trim_end_matches("!important").trim();
            match property.as_str() {
                "display" => style.hidden |= value == "none",
                "visibility" => {
                    style.invisible = Some(matches!(value, "hidden" | "collapse"));
                }
                "opacity" => style.hidden |= number(value).is_some_and(|(n, _)| n <= 0.01),
                "font-size" => {
                    style.tiny = number(value)
                        .map(|(n, unit)| n == 0.0 || matches!(unit, "" | "px" | "pt") && n <= 1.0);
                }
                "overflow" => clipped |= value == "hidden",
                "max-height" | "height" | "width" | "max-width" => {
                    flat |= number(value).is_some_and(|(n, _)| n == 0.0);
                }
                "text-indent" | "left" | "top" | "margin-left" => {
                    style.hidden |= number(value).is_some_and(|(n, _)| n <= -500.0);
                }
                "clip" => {
                    style.hidden |= value.starts_with("rect(0") || value.starts_with("rect(1px")
                }
                "color" => style.color = Some(color(value)),
                "background-color" => style.background = Some(color(value)),
                "background" => {
                    style.background = Some(color(value.split(' ').next().unwrap_or(value)));
                }
                "border" | "border-left" => {
                    style.borderless |= matches!(value, "none" | "0" | "0px")
                }
                _ => (),
            }
        }
        style.hidden |= clipped && flat;
        style.hidden |= style.color == Some(Color::Transparent);
        style.hidden |= matches!(
            (style.color, style.background),
            (Some(Color::Rgb(..)), Some(Color::Rgb(..))) if style.color == style.background
        );
        style
    }
}

pub(super) const WHITE: Color = Color::Rgb(255, 255, 255);

pub(super) fn color(value: &str) -> Color {
    let value = value.trim();
    if let Some(hex) = value.strip_prefix('#') {
        let digit = |at: usize| hex.as_bytes().get(at).and_then(|b| (*b as char).to_digit(16));
        let pair = |at: usize| Some(digit(at)? * 16 + digit(at + 1)?);
        let rgb = match hex.len() {
            3 => (|| Some((digit(0)? * 17, digit(1)? * 17, digit(2)? * 17)))(),
            6 => (|| Some((pair(0)?, pair(2)?, pair(4)?)))(),
            _ => None,
        };
        return rgb.map_or(Color::Unknown, |(r, g, b)| Color::Rgb(r as u8, g as u8, b as u8));
    }
    if let Some(list) = value.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')')) {
        let mut parts = list.split(',').map(|part| part.trim().parse::<u8>());
        if let (Some(Ok(r)), Some(Ok(g)), Some(Ok(b))) = (parts.next(), parts.next(), parts.next())
        {
            return Color::Rgb(r, g, b);
        }
    }
    match value.to_ascii_lowercase().as_str() {
        "white" => WHITE,
        "black" => Color::Rgb(0, 0, 0),
        "transparent" => Color::Transparent,
        _ => Color::Unknown,
    }
}

fn number(value: &str) -> Option<(f32, &str)> {
    let end = value
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))
        .unwrap_or(value.len());
    Some((value[..end].parse().ok()?, value[end..].trim()))
}

/// Names that a style sheet hides.
#[derive(Default)]
pub(super) struct Sheet {
    /// With their `.` or `#`, in lower case.
    hidden: HashSet<String>,
    pub any: bool,
}

impl Sheet {
    /// Reads the content of a `style` element.
    pub fn read(&mut self, css: &str) {
        self.any |= css.contains('{');
        let mut rest = css;
        while let Some(open) = rest.find('{') {
            let selectors = rest[..open].trim();
            rest = &rest[open + 1..];
            if selectors.starts_with('@') && !selectors.starts_with("@font-face") {
                rest = after_block(rest);
                continue;
            }
            let Some(close) = rest.find('}') else { return };
            if Style::parse(&rest[..close]).hidden {
                self.hide(selectors);
            }
            rest = &rest[close + 1..];
        }
    }

    fn hide(&mut self, selectors: &str) {
        for selector in selectors.split(',') {
            // The subject of the selector: its last compound.
            let subject = selector.split_whitespace().last().unwrap_or_default();
            // Pseudo-classes depend on a state, attribute selectors on a client.
            if subject.contains([':', '[']) {
                continue;
            }
            if let Some(at) = subject.find(['.', '#'])
                && self.hidden.len() < NAMES
            {
                self.hidden.insert(subject[at..].to_ascii_lowercase());
            }
        }
    }

    pub fn hides(&self, sign: char, names: &str) -> bool {
        !self.hidden.is_empty()
            && names
                .split_ascii_whitespace()
                .take(32)
                .any(|name| self.hidden.contains(&format!("{sign}{}", name.to_ascii_lowercase())))
    }
}

/// What follows the block whose opening brace was just read.
fn after_block(css: &str) -> &str {
    let mut depth = 1usize;
    for (at, byte) in css.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return &css[at + 1..];
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_hides_and_its_ordinary_neighbour_does_not() {
        for hidden in [
            "display:none",
            "DISPLAY : NONE !important",
            "opacity: 0",
            "max-height:0; overflow:hidden",
            "text-indent:-9999px",
            "position:absolute;left:-10000px",
            "color:#fff;background-color:#ffffff",
            "color:transparent",
        ] {
            assert!(Style::parse(hidden).hidden, "{hidden}");
        }
        for shown in [
            "display:block",
            "opacity:0.9",
            "height:0",
            "overflow:hidden",
            "color:#fff;background:#c00",
            "margin-left:-8px",
        ] {
            assert!(!Style::parse(shown).hidden, "{shown}");
        }
        assert_eq!(Style::parse("font-size:1px").tiny, Some(true));
        assert_eq!(Style::parse("font-size:0").tiny, Some(true));
        assert_eq!(Style::parse("font-size:1em").tiny, Some(false));
        assert_eq!(Style::parse("font-size:13px").tiny, Some(false));
    }

    #[test]
    fn sheets_hide_by_class_outside_media_queries() {
        let mut sheet = Sheet::default();
        sheet.read(
            "p{color:red} div.Pre, #x { display:none } @media (max-width:1px){.m{display:none}} \
             .late{visibility:visible} a:hover.h{display:none}",
        );
        assert!(sheet.hides('.', "a pre"));
        assert!(sheet.hides('#', "x"));
        assert!(!sheet.hides('.', "m late h"));
    }
}
