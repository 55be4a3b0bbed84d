//! Which language a text is in, as far as the tables here care.

/// A language with tables of its own. Everything else is [`Lang::Other`] and passes through with
/// language-neutral rules only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// German.
    De,
    /// French.
    Fr,
    /// Spanish.
    Es,
    /// Italian: sentence splitting only.
    It,
    /// Portuguese: sentence splitting only.
    Pt,
    /// Dutch: sentence splitting only.
    Nl,
    /// Any other language.
    Other,
}

/// A language and the region whose habits (the order of a slashed date) apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Locale {
    /// The language.
    pub lang: Lang,
    /// The ISO 3166 region in upper case, if the tag named one.
    pub region: Option<[u8; 2]>,
}

impl Locale {
    /// Reads a BCP 47 tag such as `en-US`, `de_AT` or `zh-Hant-TW`. Case does not matter; an unknown
    /// language becomes [`Lang::Other`].
    pub fn from_tag(tag: &str) -> Self {
        let mut subtags = tag.split(['-', '_']);
        let lang = match subtags.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "en" | "eng" => Lang::En,
            "de" | "deu" | "ger" => Lang::De,
            "fr" | "fra" | "fre" => Lang::Fr,
            "es" | "spa" => Lang::Es,
            "it" | "ita" => Lang::It,
            "pt" | "por" => Lang::Pt,
            "nl" | "nld" | "dut" => Lang::Nl,
            _ => Lang::Other,
        };
        let region = subtags
            .filter_map(|subtag| <[u8; 2]>::try_from(subtag.as_bytes()).ok())
            .find(|bytes| bytes.iter().all(u8::is_ascii_alphabetic))
            .map(|bytes| bytes.map(|byte| byte.to_ascii_uppercase()));
        Self { lang, region }
    }

    /// Whether `3/4/2025` means the fourth of March: so in the United States and in English without
    /// a region, which here means American English as most models write it.
    pub fn month_first(&self) -> bool {
        match self.region {
            Some(region) => matches!(&region, b"US" | b"PH" | b"FM" | b"PW"),
            None => self.lang == Lang::En,
        }
    }
}

impl From<Lang> for Locale {
    fn from(lang: Lang) -> Self {
        Self { lang, region: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_a_language_and_perhaps_a_region() {
        for (tag, lang, region) in [
            ("en", Lang::En, None),
            ("EN-us", Lang::En, Some(*b"US")),
            ("de_AT", Lang::De, Some(*b"AT")),
            ("zh-Hant-TW", Lang::Other, Some(*b"TW")),
            ("pt-BR", Lang::Pt, Some(*b"BR")),
            ("", Lang::Other, None),
        ] {
            assert_eq!(Locale::from_tag(tag), Locale { lang, region }, "{tag}");
        }
    }

    #[test]
    fn only_some_regions_put_the_month_first() {
        assert!(Locale::from_tag("en").month_first());
        assert!(Locale::from_tag("en-US").month_first());
        assert!(!Locale::from_tag("en-GB").month_first());
        assert!(!Locale::from_tag("de").month_first());
    }
}
