//! Letters that go in, and the captured answers that came out.

use std::path::Path;

/// A mail to write.
#[derive(Debug, Clone)]
pub struct Letter {
    pub from: String,
    pub to: String,
    pub subject: String,
    pub message_id: String,
    /// Further header lines, without line ends.
    pub extra: Vec<String>,
    pub text: String,
}

impl Letter {
    pub fn new(from: &str, to: &str, text: &str) -> Self {
        // Unique within a test binary, which is what deduplication asks for.
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        Self {
            from: from.into(),
            to: to.into(),
            subject: "Where is my order?".into(),
            message_id: format!("letter-{number}@{domain}"),
            extra: Vec::new(),
            text: text.into(),
        }
    }

    pub fn subject(mut self, subject: &str) -> Self {
        self.subject = subject.into();
        self
    }

    pub fn header(mut self, line: impl Into<String>) -> Self {
        self.extra.push(line.into());
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "From: {}\r\nTo: {}\r\nSubject: {}\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n\
             Message-ID: <{}>\r\n",
            self.from, self.to, self.subject, self.message_id
        );
        for line in &self.extra {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
        for line in self.text.lines() {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.into_bytes()
    }
}

/// A captured mail.
#[derive(Debug, Clone)]
pub struct Captured {
    /// The number in the name of its file, which is that of its delivery.
    pub delivery: u64,
    /// As a peer would get it, without the envelope lines in front.
    pub raw: Vec<u8>,
    pub reverse_path: String,
    pub delivered_to: String,
}

impl Captured {
    fn read(path: &Path) -> Self {
        let content = std::fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&content).into_owned();
        let mut lines = text.split_inclusive('\n');
        let reverse_path = lines.next().unwrap();
        let delivered_to = lines.next().unwrap();
        let envelope = reverse_path.len() + delivered_to.len();
        let value = |line: &str, name: &str| line.strip_prefix(name).unwrap().trim().to_owned();
        let reverse_path = value(reverse_path, "Return-Path:");
        Self {
            delivery: path.file_stem().unwrap().to_str().unwrap().parse().unwrap(),
            raw: content[envelope..].to_vec(),
            reverse_path: reverse_path.trim_matches(['<', '>']).to_owned(),
            delivered_to: value(delivered_to, "Delivered-To:"),
        }
    }

    /// The value of a header field, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.raw);
        let head = text.split("\r\n\r\n").next().unwrap().replace("\r\n\t", " ");
        let head = head.replace("\r\n ", " ");
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// Where Reply-To says that answers go.
    pub fn reply_to(&self) -> String {
        let value = self.header("Reply-To").expect("every mail of ours has a Reply-To");
        match value.rsplit_once('<') {
            Some((_, address)) => address.trim_end_matches('>').to_owned(),
            None => value,
        }
    }

    /// The Message-ID without its brackets.
    pub fn id(&self) -> String {
        self.header("Message-ID").unwrap().trim_matches(['<', '>']).to_owned()
    }

    /// The first plain text.
    pub fn text(&self) -> String {
        let message = mail_parser::MessageParser::default().parse(&self.raw).unwrap();
        message.body_text(0).unwrap().into_owned()
    }

    /// An answer as mail clients write it: to the reply address, with In-Reply-To and References,
    /// and what is answered quoted under its attribution.
    pub fn answer(&self, from: &str, text: &str) -> Letter {
        let mut letter = Letter::new(from, &self.reply_to(), "");
        let subject = self.header("Subject").unwrap();
        letter.subject =
            if subject.starts_with("Re:") { subject } else { format!("Re: {subject}") };
        let references = self.header("References").unwrap_or_default();
        letter.extra = vec![
            format!("In-Reply-To: <{}>", self.id()),
            format!("References: {references} <{}>", self.id()),
        ];
        let author = self.header("From").unwrap();
        letter.text = format!("{text}\n\nOn Fri, 20 Nov 2026 at 10:00, {author} wrote:\n");
        for line in self.text().lines() {
            letter.text.push_str(&format!("> {line}\n"));
        }
        letter
    }
}

/// Everything captured so far, in the order of deliveries.
pub fn captured(data: &Path) -> Vec<Captured> {
    let Ok(folder) = std::fs::read_dir(data.join("outgoing")) else { return Vec::new() };
    let mut mails: Vec<Captured> = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .map(|path| Captured::read(&path))
        .collect();
    mails.sort_by_key(|mail| mail.delivery);
    mails
}
