//! What clients write between new text and old: attribution lines, header blocks, separators,
//! signatures, in the languages whose clients we know.
//!
//! Every check looks at one line, or a few joined ones of at most [`ATTRIBUTION_OCTETS`].

/// Longest attribution, its lines joined.
pub(super) const ATTRIBUTION_OCTETS: usize = 500;

/// Words for "wrote" as clients use them, in lower case. Those of scripts without spaces are
/// looked for anywhere, the others as whole words.
const WROTE: &[&str] = &[
    // Germanic
    "wrote",
    "writes",
    "schrieb",
    "schreef",
    "skrev",
    "skrifaði",
    "geschrieben",
    "het geskryf",
    // Romance
    "écrit",
    "ecrit",
    "écrivait",
    "escribió",
    "escribio",
    "ha scritto",
    "scrisse",
    "scritto",
    "escreveu",
    "escrebeu",
    "va escriure",
    "escriure",
    "escribiu",
    "scris",
    "a scris",
    // Slavic
    "pisze",
    "napisał",
    "napisała",
    "napisał(a)",
    "napisal",
    "napsal",
    "napsala",
    "napsal(a)",
    "napísal",
    "napísala",
    "napísal(a)",
    "написал",
    "написала",
    "написал(а)",
    "пишет",
    "писал",
    "писала",
    "пише",
    "написав",
    "написала",
    "написа",
    "piše",
    "napisao",
    "napisala",
    "je napisao/la",
    "je napisal",
    "је написао",
    "је написао/ла",
    // Others in Latin, Greek, Georgian and so on
    "kirjoitti",
    "yazdı",
    "şunları yazdı",
    "şunu yazdı",
    "írta",
    "ezt írta",
    "rašė",
    "parašė",
    "rakstīja",
    "kirjutas",
    "έγραψε",
    "menulis",
    "đã viết",
    "viết",
    "sumulat",
    "skrifa",
    "idatzi du",
    "ysgrifennodd",
    "scríobh",
    "ka shkruar",
    // Semitic, Indic and others written with spaces
    "كتب",
    "كتبت",
    "نوشت",
    "כתב",
    "כתבה",
    "‏כתב",
    "ने लिखा",
    "लिखा",
    "লিখেছেন",
];

const WROTE_DENSE: &[&str] = &[
    "写道",
    "寫道",
    "写了",
    "のメール",
    "は書きました",
    "さんは書き",
    "が書きました",
    "작성",
    "님이 씀",
    "썼습니다",
    "เขียน",
];

/// First words of attribution lines, in lower case.
const OPENERS: &[&str] = &[
    "on",
    "am",
    "le",
    "el",
    "il",
    "em",
    "op",
    "den",
    "på",
    "kl",
    "kl.",
    "dnia",
    "w",
    "dne",
    "dana",
    "dňa",
    "la",
    "în",
    "в",
    "у",
    "на",
    "a",
    "pe",
    "mnt",
    "tarihinde",
    "στις",
    "vào",
    "pada",
    "ב",
    "בתאריך",
    "في",
    "به",
    "em:",
    "date:",
    "ngày",
    "2e",
    "ti",
    "ke",
    "to",
    "pe",
    "ma",
    "su",
    "la",
    "lun.,",
    "mar.,",
    "mer.,",
    "jeu.,",
    "ven.,",
    "sam.,",
    "dim.,",
    "mon,",
    "tue,",
    "wed,",
    "thu,",
    "fri,",
    "sat,",
    "sun,",
    "mo.,",
    "di.,",
    "mi.,",
    "do.,",
    "fr.,",
    "sa.,",
    "so.,",
    "пн,",
    "вт,",
    "ср,",
    "чт,",
    "пт,",
    "сб,",
    "вс,",
    "нд,",
    "pon.,",
    "wt.,",
    "śr.,",
    "czw.,",
    "pt.,",
    "sob.,",
    "niedz.,",
    "po",
    "út",
    "st",
    "čt",
    "pá",
    "so",
    "ne",
];

/// How much a line looks like the first of an attribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Opener {
    No,
    /// A digit, or a short word with a comma or full stop, before a date.
    Maybe,
    /// A word that opens one in some language, before a date.
    Yes,
}

pub(super) fn opener(line: &str) -> Opener {
    let line = start(line, 200);
    let line = line
        .trim_start_matches(['*', '_', '-', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', ' ']);
    let has_digit = line.contains(|c: char| c.is_numeric());
    let Some(first) = line.split_whitespace().next() else { return Opener::No };
    let lower = first.to_lowercase();
    if has_digit && OPENERS.contains(&lower.as_str()) && lower != line {
        return Opener::Yes;
    }
    let short = first.chars().count() <= 6;
    // The end of a wrapped attribution, such as "16:30):", holds no name.
    let dated = line.chars().count() >= 16 && has_date(line);
    if dated
        && (first.starts_with(|c: char| c.is_ascii_digit()) || short && first.ends_with([',', '.']))
    {
        return Opener::Maybe;
    }
    Opener::No
}

/// Whether a line without an opening word can be the first of two: a name and address, or a date.
pub(super) fn begins_attribution(line: &str) -> bool {
    let line = start(line, ATTRIBUTION_OCTETS);
    line.contains('@') || has_date(line)
}

/// Whether an attribution can end with this line: with a colon, or with "wrote" and a date or an
/// address before it.
pub(super) fn can_end(line: &str) -> bool {
    let line = trim(line);
    if line.ends_with([':', '：']) {
        return true;
    }
    // The longest of the words is shorter.
    let mut from = line.len().saturating_sub(40);
    while !line.is_char_boundary(from) {
        from += 1;
    }
    let tail = &line[from..];
    // Clients that leave the colon out write no plain ASCII, but for "napsal(a)".
    if tail.is_ascii() && !tail.ends_with(')') {
        return false;
    }
    let tail = tail.to_lowercase();
    WROTE_DENSE.iter().any(|verb| tail.ends_with(verb))
        || WROTE.iter().any(|verb| ends_with_word(&tail, verb))
}

fn trim(line: &str) -> &str {
    line.trim_matches(|c: char| {
        c.is_whitespace()
            || matches!(c, '*' | '_' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

/// Whether a joined line is an attribution, and whether so clearly that unmarked text below it is
/// a quote.
pub(super) fn attribution(joined: &str, opener: Opener) -> Option<bool> {
    let line = trim(joined);
    let bare = line.trim_end_matches([':', '：', ' ', '\u{a0}']);
    let colon = bare.len() < line.len();
    let lower = bare.to_lowercase();
    let verb_at_end = WROTE.iter().any(|verb| ends_with_word(&lower, verb))
        || WROTE_DENSE.iter().any(|verb| lower.ends_with(verb));
    if !colon && !verb_at_end {
        return None;
    }
    let address = lower.contains('@');
    let date = has_date(&lower);
    let verb = verb_at_end
        || WROTE.iter().any(|verb| has_word(&lower, verb))
        || WROTE_DENSE.iter().any(|verb| lower.contains(verb));
    if !(colon || address || date) {
        return None;
    }
    let strong =
        date && (address && (verb || opener > Opener::No) || verb && opener == Opener::Yes);
    // In any language: a date or an address and a colon, above a quote.
    (strong || verb || address || date).then_some(strong)
}

/// Whether a text has a year, a time of day, or a date in digits.
fn has_date(text: &str) -> bool {
    let chars = text.as_bytes();
    let digit = |at: usize| chars.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = 0;
    while at < chars.len() {
        if !digit(at) {
            at += 1;
            continue;
        }
        let end = (at..chars.len()).find(|end| !digit(*end)).unwrap_or(chars.len());
        let number = &text[at..end];
        if number.len() == 4 && (number.starts_with("19") || number.starts_with("20")) {
            return true;
        }
        let separator =
            chars.get(end).is_some_and(|b| matches!(b, b':' | b'.' | b'/' | b'-' | b'h'));
        if number.len() <= 2 && separator && digit(end + 1) {
            let minutes = (end + 1..chars.len()).find(|end| !digit(*end)).unwrap_or(chars.len());
            // A version number such as 1.2 is no date; 10:30, 10.30 and 1/2/24 are.
            let dated = chars.get(minutes).is_some_and(|b| matches!(b, b'.' | b'/' | b'-'))
                && digit(minutes + 1);
            if minutes - end == 3 && chars[end] != b'-' || dated {
                return true;
            }
        }
        at = end;
    }
    false
}

fn ends_with_word(text: &str, word: &str) -> bool {
    text.strip_suffix(word).is_some_and(|rest| !rest.ends_with(char::is_alphanumeric))
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(char::is_alphanumeric)
            && !text[at + word.len()..].starts_with(char::is_alphanumeric)
    })
}

/// The start of a line, at most `octets` long.
fn start(line: &str, octets: usize) -> &str {
    let mut end = line.len().min(octets);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// A labelled line of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    From,
    Date,
    To,
    Subject,
    Other,
}

/// Labels seen in a block.
#[derive(Default)]
pub(super) struct Labels {
    from: bool,
    date: bool,
    to: bool,
    subject: bool,
}

impl Labels {
    pub fn add(&mut self, label: Label) {
        match label {
            Label::From => self.from = true,
            Label::Date => self.date = true,
            Label::To => self.to = true,
            Label::Subject => self.subject = true,
            Label::Other => (),
        }
    }

    /// Whether this is the header of a mail: who wrote it, and two other things about it.
    pub fn is_header(&self) -> bool {
        self.from && usize::from(self.date) + usize::from(self.to) + usize::from(self.subject) >= 2
    }
}

const FROM: &[&str] = &[
    "from",
    "von",
    "de",
    "da",
    "van",
    "från",
    "fra",
    "frá",
    "od",
    "от",
    "від",
    "gönderen",
    "kimden",
    "lähettäjä",
    "feladó",
    "发件人",
    "寄件者",
    "寄件人",
    "發件人",
    "差出人",
    "送信者",
    "보낸 사람",
    "보낸사람",
    "보낸이",
    "من",
    "المرسل",
    "از",
    "מאת",
    "από",
    "de la",
    "expéditeur",
    "remitente",
    "nadawca",
    "от кого",
    "mittente",
    "afsender",
    "avsender",
    "avsändare",
    "absender",
    "afzender",
    "odesílatel",
    "odosielateľ",
    "nuo",
    "no",
    "saatja",
    "pošiljatelj",
    "šalje",
    "จาก",
    "từ",
    "người gửi",
    "dari",
    "pengirim",
    "nga",
    "remetente",
];
const DATE: &[&str] = &[
    "sent",
    "date",
    "gesendet",
    "gesendet am",
    "datum",
    "envoyé",
    "envoyé le",
    "envoyé",
    "enviado",
    "enviado el",
    "enviada",
    "enviado em",
    "enviada em",
    "data",
    "data invio",
    "inviato",
    "verzonden",
    "skickat",
    "skickades",
    "sendt",
    "dato",
    "wysłano",
    "wysłane",
    "отправлено",
    "дата",
    "надіслано",
    "відправлено",
    "gönderildi",
    "gönderilme tarihi",
    "tarih",
    "lähetetty",
    "päivä",
    "päiväys",
    "elküldve",
    "dátum",
    "发送时间",
    "发送日期",
    "日期",
    "時間",
    "寄件日期",
    "傳送時間",
    "发件时间",
    "送信日時",
    "日時",
    "日付",
    "보낸 날짜",
    "날짜",
    "보낸날짜",
    "تاريخ",
    "تاريخ الإرسال",
    "التاريخ",
    "تم الإرسال",
    "نُشلا",
    "נשלח",
    "תאריך",
    "fecha",
    "odesláno",
    "odoslané",
    "poslano",
    "στάλθηκε",
    "ημερομηνία",
    "trimis",
    "data",
    "išsiųsta",
    "saadetud",
    "ngày",
    "đã gửi",
    "วันที่",
    "ส่ง",
    "tanggal",
    "dikirim",
];
const TO: &[&str] = &[
    "to",
    "an",
    "à",
    "a",
    "para",
    "aan",
    "til",
    "till",
    "do",
    "кому",
    "kime",
    "alıcı",
    "kimə",
    "vastaanottaja",
    "címzett",
    "收件人",
    "收件者",
    "宛先",
    "受信者",
    "받는 사람",
    "받는사람",
    "إلى",
    "אל",
    "προς",
    "către",
    "catre",
    "komu",
    "pentru",
    "kam",
    "prima",
    "za",
    "đến",
    "tới",
    "ถึง",
    "kepada",
    "per",
    "destinataire",
    "destinatario",
    "adresat",
    "modtager",
    "destinatário",
    "κ",
    "به",
];
const SUBJECT: &[&str] = &[
    "subject",
    "betreff",
    "objet",
    "asunto",
    "oggetto",
    "assunto",
    "onderwerp",
    "ämne",
    "emne",
    "temat",
    "тема",
    "konu",
    "aihe",
    "tárgy",
    "主题",
    "主旨",
    "標題",
    "件名",
    "题目",
    "제목",
    "الموضوع",
    "موضوع",
    "נושא",
    "θέμα",
    "subiect",
    "předmět",
    "predmet",
    "zadeva",
    "tema",
    "teema",
    "temats",
    "assumpte",
    "chủ đề",
    "เรื่อง",
    "subjek",
    "perihal",
];
const OTHER: &[&str] = &[
    "cc",
    "bcc",
    "kopie",
    "kopi",
    "kopia",
    "copie à",
    "copie",
    "cci",
    "cópia",
    "copia",
    "抄送",
    "副本",
    "참조",
    "נתונים",
    "importance",
    "wichtigkeit",
    "priority",
    "priorität",
    "attachments",
    "anlagen",
    "reply-to",
    "antwort an",
    "répondre à",
    "pièces jointes",
    "importancia",
    "adjuntos",
    "allegati",
    "priorità",
    "копия",
    "копія",
    "bilgi",
    "másolat",
    "kopie (cc)",
    "添付ファイル",
    "参照",
    "عدد",
    "نسخة",
    "עותק",
    "κοιν",
];

/// The label of a line such as "From: …", in whatever language we know.
pub(super) fn label(line: &str) -> Option<Label> {
    let head = start(line, 60).trim_start_matches(['*', '_', ' ', '\u{200e}', '\u{200f}']);
    let at = head.find([':', '：'])?;
    let name =
        head[..at].trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '_' | '\u{a0}'));
    if name.is_empty() || name.chars().count() > 20 {
        return None;
    }
    let name = name.to_lowercase();
    let is = |list: &[&str]| list.contains(&name.as_str());
    // Words that stand for two things in different languages go by the first that fits.
    if is(FROM) {
        Some(Label::From)
    } else if is(DATE) {
        Some(Label::Date)
    } else if is(SUBJECT) {
        Some(Label::Subject)
    } else if is(TO) {
        Some(Label::To)
    } else {
        is(OTHER).then_some(Label::Other)
    }
}

const FORWARDED: &[&str] = &[
    "forwarded message",
    "begin forwarded message",
    "forwarded by",
    "weitergeleitete nachricht",
    "weitergeleiteten nachricht",
    "message transféré",
    "message transmis",
    "message réexpédié",
    "mensaje reenviado",
    "messaggio inoltrato",
    "mensagem encaminhada",
    "mensagem reencaminhada",
    "doorgestuurd bericht",
    "vidarebefordrat meddelande",
    "vidarebefordrat brev",
    "videresendt melding",
    "videresendt meddelelse",
    "videresendt besked",
    "przekazana wiadomość",
    "wiadomość przekazana",
    "przesłana dalej wiadomość",
    "treść przekazanej wiadomości",
    "пересылаемое сообщение",
    "пересланное сообщение",
    "переадресованного сообщения",
    "переслане повідомлення",
    "yönlendirilmiş ileti",
    "iletilmiş mesaj",
    "iletilen mesaj",
    "přeposlaná zpráva",
    "přeposlané zprávy",
    "preposlaná správa",
    "edelleenlähetetty viesti",
    "välitetty viesti",
    "továbbított üzenet",
    "转发的邮件",
    "已转发邮件",
    "转发邮件",
    "被转发的邮件",
    "轉寄郵件",
    "轉寄的郵件",
    "転送メッセージ",
    "転送されたメッセージ",
    "전달된 메시지",
    "전달된 메일",
    "رسالة معاد توجيهها",
    "الرسالة المعاد توجيهها",
    "הודעה שהועברה",
    "προωθημένο μήνυμα",
    "mesaj redirecționat",
    "missatge reenviat",
    "tin nhắn được chuyển tiếp",
    "thư được chuyển tiếp",
    "pesan terusan",
    "ข้อความที่ส่งต่อ",
];

/// Whether a line begins a forwarded mail: a ruled line, or Apple Mail's sentence.
pub(super) fn is_forward(line: &str) -> bool {
    if line.len() > 160 {
        return false;
    }
    let ruled = line.starts_with("--") || line.starts_with("__") || line.starts_with("==");
    if !ruled && !line.ends_with([':', '：']) {
        return false;
    }
    let lower = line.to_lowercase();
    let bare = lower.trim_matches(|c: char| !c.is_alphanumeric());
    // Without rules the line must say nothing else: "Begin forwarded message:".
    FORWARDED.iter().any(|phrase| {
        lower.contains(phrase) && (ruled || bare.len() <= phrase.len() + 20 && !bare.contains(". "))
    })
}

const ORIGINAL: &[&str] = &[
    "original message",
    "original e-mail",
    "original email",
    "original appointment",
    "reply message",
    "ursprüngliche nachricht",
    "ursprungliche nachricht",
    "originalnachricht",
    "original-nachricht",
    "message d'origine",
    "message d’origine",
    "message original",
    "courriel original",
    "mensaje original",
    "messaggio originale",
    "mensagem original",
    "oorspronkelijk bericht",
    "ursprungligt meddelande",
    "originalmeddelande",
    "opprinnelig melding",
    "oprindelig meddelelse",
    "oprindelig besked",
    "alkuperäinen viesti",
    "wiadomość oryginalna",
    "oryginalna wiadomość",
    "исходное сообщение",
    "оригинальное сообщение",
    "исходное письмо",
    "оригінальне повідомлення",
    "original ileti",
    "orijinal mesaj",
    "özgün ileti",
    "původní zpráva",
    "pôvodná správa",
    "eredeti üzenet",
    "mesaj original",
    "mesajul original",
    "missatge original",
    "izvorna poruka",
    "izvirno sporočilo",
    "原始邮件",
    "原始郵件",
    "邮件原件",
    "元のメッセージ",
    "원본 메시지",
    "원본 메일",
    "الرسالة الأصلية",
    "پیام اصلی",
    "הודעה מקורית",
    "αρχικό μήνυμα",
    "thư gốc",
    "pesan asli",
    "ข้อความต้นฉบับ",
];

/// Whether a line is a rule that says that an earlier mail follows.
pub(super) fn is_original(line: &str) -> bool {
    if line.len() > 160
        || !(line.starts_with("--") || line.starts_with("__") || line.starts_with("=="))
    {
        return false;
    }
    let lower = line.to_lowercase();
    ORIGINAL.iter().any(|phrase| lower.contains(phrase))
}

/// Whether a line is only a rule.
pub(super) fn is_rule(line: &str) -> bool {
    line.len() >= 5
        && line.len() <= 200
        && (line.bytes().all(|b| b == b'_') || line.bytes().all(|b| b == b'-'))
}

/// Whether a line is the long rule that mailing lists and gateways put above their footers.
pub(super) fn is_footer_rule(line: &str) -> bool {
    line.len() >= 30 && is_rule(line) && line.starts_with('_')
}

/// Whether a subject is that of a forward: it begins with a forward prefix of some language.
pub(super) fn is_forward_subject(subject: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "fwd",
        "fw",
        "wg",
        "tr",
        "rv",
        "i",
        "enc",
        "vs",
        "vb",
        "vl",
        "doorst",
        "pd",
        "пересл",
        "ilt",
        "yi",
        "转发",
        "轉寄",
        "轉發",
        "転送",
        "전달",
        "továbbítás",
        "res: enc",
        "préf",
        "tov",
        "fs",
    ];
    let subject = subject.trim_start();
    let Some((prefix, _)) = subject.split_once([':', '：']) else { return false };
    let prefix = prefix.trim().to_lowercase();
    // Lists put "[name]" in front.
    let prefix = prefix.rsplit(']').next().unwrap_or_default().trim();
    PREFIXES.contains(&prefix)
}

const PHONES: &[&str] = &[
    "sent from my",
    "sent from mail for windows",
    "sent from outlook",
    "sent from yahoo mail",
    "sent from proton mail",
    "sent from samsung",
    "sent from a mobile",
    "sent via",
    "sent with proton mail",
    "sent with protonmail",
    "sent with spark",
    "sent using",
    "get outlook for",
    "sent from gmail mobile",
    "sent on the go",
    "von meinem",
    "gesendet von",
    "gesendet mit",
    "diese nachricht wurde von meinem",
    "envoyé de mon",
    "envoyé depuis",
    "envoyé à partir",
    "télécharger outlook",
    "obtenez outlook pour",
    "envoyé avec",
    "enviado desde",
    "enviado do meu",
    "enviado de meu",
    "enviado a partir",
    "enviado de mi",
    "enviado via",
    "obtener outlook para",
    "obter o outlook para",
    "inviato da",
    "inviato dal mio",
    "scarica outlook",
    "verstuurd vanaf",
    "verzonden vanaf",
    "verzonden met",
    "outlook voor",
    "skickat från",
    "hämta outlook för",
    "sendt fra",
    "hent outlook",
    "lähetetty",
    "hanki outlook",
    "wysłane z",
    "wysłano z",
    "pobierz outlook",
    "отправлено с",
    "отправлено из",
    "надіслано з",
    "odesláno z",
    "odoslané z",
    "trimis de pe",
    "trimis din",
    "iphone'umdan gönderildi",
    "iphone’umdan gönderildi",
    "ipad'imden gönderildi",
    "android için outlook",
    "στάλθηκε από",
    "küldve",
    "elküldve",
    "iphoneから送信",
    "ipadから送信",
    "androidから送信",
    "発信元",
    "发自我的",
    "从我的",
    "從我的",
    "傳送自",
    "나의 iphone에서",
    "내 iphone에서",
    "iphone에서 보냄",
    "أُرسلت من",
    "أرسلت من",
    "تم الإرسال من",
    "נשלח מה",
    "נשלח מהאי",
    "đã gửi từ",
    "dikirim dari",
    "ส่งจาก",
];

/// Whether a line is what a client on a phone adds under a mail.
pub(super) fn is_phone_signature(line: &str) -> bool {
    if line.len() > 160 {
        return false;
    }
    let lower = line.to_lowercase();
    let bare = lower.trim_start_matches(|c: char| !c.is_alphanumeric());
    let starts = PHONES.iter().any(|phrase| bare.starts_with(phrase));
    // A sentence of the sender may begin alike; a signature names a device or a program.
    starts && (DEVICES.iter().any(|device| bare.contains(device)))
}

const DEVICES: &[&str] = &[
    "iphone",
    "ipad",
    "ios",
    "android",
    "samsung",
    "galaxy",
    "outlook",
    "windows",
    "yahoo",
    "proton",
    "mobile",
    "mobil",
    "handy",
    "smartphone",
    "phone",
    "telefon",
    "teléfono",
    "móvil",
    "blackberry",
    "huawei",
    "pixel",
    "xiaomi",
    "tablet",
    "gmail",
    "gmx",
    "web.de",
    "mail app",
    "mail-app",
    "k-9",
    "k9",
    "spark",
    "thunderbird",
    "айфон",
    "телефон",
    "手机",
    "スマートフォン",
    "휴대",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributions_of_many_clients_are_strong_and_prose_is_not() {
        for line in [
            "On Tue, Jan 2, 2024 at 10:00 AM Ann Lee <ann@x.example> wrote:",
            "On 2 Jan 2024, at 10:00, Ann Lee <ann@x.example> wrote:",
            "Am 02.01.2024 um 10:00 schrieb Ann Lee:",
            "Am Di., 2. Jan. 2024 um 10:00 Uhr schrieb Ann Lee <ann@x.example>:",
            "Le mar. 2 janv. 2024 à 10:00, Ann Lee <ann@x.example> a écrit :",
            "El mar, 2 ene 2024 a las 10:00, Ann Lee (<ann@x.example>) escribió:",
            "Il giorno mar 2 gen 2024 alle ore 10:00 Ann Lee <ann@x.example> ha scritto:",
            "Em ter., 2 de jan. de 2024 às 10:00, Ann Lee <ann@x.example> escreveu:",
            "Op di 2 jan 2024 om 10:00 schreef Ann Lee <ann@x.example>:",
            "Den tis 2 jan. 2024 kl 10:00 skrev Ann Lee <ann@x.example>:",
            "W dniu 2.01.2024 o 10:00, Ann Lee pisze:",
            "wt., 2 sty 2024 o 10:00 Ann Lee <ann@x.example> napisał(a):",
            "вт, 2 янв. 2024 г. в 10:00, Ann Lee <ann@x.example>:",
            "Ann Lee <ann@x.example> 于2024年1月2日周二 10:00写道：",
            "2024年1月2日(火) 10:00 Ann Lee <ann@x.example>:",
            "2024년 1월 2일 (화) 오전 10:00, Ann Lee <ann@x.example>님이 작성:",
            "út 2. 1. 2024 v 10:00 odesílatel Ann Lee <ann@x.example> napsal:",
        ] {
            assert_eq!(attribution(line, opener(line)), Some(true), "{line}");
        }
        for line in [
            "Ann wrote a letter.",
            "Our system wrote the following to the log in 2024",
            "Please call me at 10:00",
            "The steps are:",
        ] {
            assert_eq!(attribution(line, opener(line)), None, "{line}");
        }
        let line = "The service wrote on 2024-01-02 10:00 to the log:";
        assert_eq!(attribution(line, opener(line)), Some(false));
    }

    #[test]
    fn dates_are_found_and_versions_are_not() {
        for text in ["in 2024", "10:30", "2.1.24", "1/2/24", "10h30"] {
            assert!(has_date(text), "{text}");
        }
        for text in ["version 1.2", "room 12", "120", "3.5 kg", "1-2"] {
            assert!(!has_date(text), "{text}");
        }
    }

    #[test]
    fn signatures_of_phones_name_a_device() {
        assert!(is_phone_signature("Sent from my iPhone"));
        assert!(is_phone_signature("Von meinem iPhone gesendet"));
        assert!(is_phone_signature("发自我的 iPhone"));
        assert!(!is_phone_signature("Sent from my old flat, the parcel never arrived"));
    }

    #[test]
    fn forward_subjects_are_told_from_replies() {
        assert!(
            is_forward_subject("Fwd: x")
                && is_forward_subject("WG: x")
                && is_forward_subject("[list] FW: x")
        );
        assert!(
            !is_forward_subject("Re: Fwd: x")
                && !is_forward_subject("Forward: x")
                && !is_forward_subject("x")
        );
    }
}
