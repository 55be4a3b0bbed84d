//! Messages to send: each with its own Message-ID, author and text, and an RSA-2048 signature.

use anyhow::Context as _;
use bytes::Bytes;
use frontdesk_smtp::sign::{DkimKeys, Signer};
use jiff::Timestamp;
use std::{fmt::Write as _, net::Ipv4Addr};

use super::dns::Zone;

/// The domain that the mail is from.
pub(super) const SENDER_DOMAIN: &str = "sender.test";

/// The name with which the load generator greets.
pub(super) const HELO: &str = "mta.sender.test";

/// Where the mail goes.
pub(super) const RECIPIENT: &str = "bench@desk.test";

const SELECTOR: &str = "bench";

/// A mail as it goes over the wire, the final dot included.
pub(super) struct Ready {
    pub(super) reverse_path: String,
    pub(super) data: Bytes,
}

/// The domain that sends.
pub(super) struct SenderDomain {
    keys: DkimKeys,
    signer: Signer,
}

impl SenderDomain {
    /// With new keys. Takes up to seconds of computation.
    pub(super) fn new() -> anyhow::Result<Self> {
        let keys = DkimKeys::generate()?;
        let signer = Signer::new(SENDER_DOMAIN, SELECTOR, &keys)?;
        Ok(Self { keys, signer })
    }

    /// What it publishes: SPF that names loopback alone, the DKIM key, a strict DMARC policy, and a
    /// reverse name for the peer.
    pub(super) fn zone(&self) -> anyhow::Result<Zone> {
        let [rsa, ed25519] = self.keys.dns_records(SELECTOR, SENDER_DOMAIN)?;
        let loopback = Ipv4Addr::LOCALHOST;
        Ok(Zone::default()
            .txt(SENDER_DOMAIN, "v=spf1 ip4:127.0.0.1 -all")
            .txt(HELO, "v=spf1 ip4:127.0.0.1 -all")
            .txt(&format!("_dmarc.{SENDER_DOMAIN}"), "v=DMARC1; p=reject")
            .txt(&rsa.name, &rsa.value)
            .txt(&ed25519.name, &ed25519.value)
            .a(HELO, loopback)
            .ptr("1.0.0.127.in-addr.arpa", HELO))
    }

    /// Writes and signs mails of about `size` octets, on all cores, before any clock runs.
    /// Correspondents take turns.
    pub(super) fn mails(
        &self,
        count: usize,
        size: usize,
        correspondents: usize,
    ) -> anyhow::Result<Vec<Ready>> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = count.div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..count)
                .step_by(share)
                .map(|first| {
                    scope.spawn(move || {
                        (first..(first + share).min(count))
                            .map(|number| self.mail(number, size, number % correspondents.max(1)))
                            .collect::<anyhow::Result<Vec<_>>>()
                    })
                })
                .collect();
            let mut mails = Vec::with_capacity(count);
            for worker in workers {
                let part = worker.join().map_err(|_| anyhow::anyhow!("signing panicked"))?;
                mails.extend(part?);
            }
            Ok(mails)
        })
    }

    fn mail(&self, number: usize, size: usize, correspondent: usize) -> anyhow::Result<Ready> {
        let mut message = head(number, correspondent);
        message.push_str("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
        write!(message, "Request {number}.\r\n\r\n").context("format")?;
        // What the signature adds.
        prose(&mut message, number as u64, size.saturating_sub(700));
        self.ready(message, correspondent)
    }

    /// One mail with an attachment that makes it about `size` octets in all.
    pub(super) fn large(&self, size: usize) -> anyhow::Result<Ready> {
        let mut message = head(usize::MAX, 0);
        message.push_str(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n\
             --=_b\r\nContent-Type: text/plain\r\n\r\nSee the scan.\r\n\
             --=_b\r\nContent-Type: application/pdf; name=\"scan.pdf\"\r\n\
             Content-Disposition: attachment; filename=\"scan.pdf\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n",
        );
        message.reserve(size);
        let mut random = Random(7);
        while message.len() < size {
            let line: [u8; 57] = std::array::from_fn(|_| random.next() as u8);
            data_encoding::BASE64.encode_append(&line, &mut message);
            message.push_str("\r\n");
        }
        message.push_str("--=_b--\r\n");
        self.ready(message, 0)
    }

    fn ready(&self, message: String, correspondent: usize) -> anyhow::Result<Ready> {
        let fields = self.signer.fields(message.as_bytes(), Timestamp::now())?;
        // The signer makes two fields; the second, with RSA, is the one that all senders have.
        let rsa = fields
            .windows(15)
            .rposition(|window| window == b"DKIM-Signature:")
            .context("the signer made no signature")?;
        let mut data = Vec::with_capacity(message.len() + fields.len());
        data.extend(&fields[rsa..]);
        data.extend(message.as_bytes());
        data.extend(b".\r\n");
        Ok(Ready { reverse_path: author(correspondent), data: data.into() })
    }
}

fn author(correspondent: usize) -> String {
    format!("person{correspondent}@{SENDER_DOMAIN}")
}

fn head(number: usize, correspondent: usize) -> String {
    format!(
        "From: Person {correspondent} <{}>\r\nTo: Bench <{RECIPIENT}>\r\n\
         Subject: Request {number}\r\nMessage-ID: <{number}.bench@{SENDER_DOMAIN}>\r\n\
         Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n",
        author(correspondent)
    )
}

/// Lines of words up to a length, different for every seed. No line begins with a dot.
fn prose(text: &mut String, seed: u64, length: usize) {
    const SYLLABLES: [&str; 32] = [
        "ba", "con", "der", "el", "fi", "gra", "hen", "in", "jo", "ka", "lum", "men", "nor", "or",
        "pre", "qui", "ras", "sto", "ter", "un", "ver", "wil", "ex", "yon", "zed", "al", "bro",
        "cen", "du", "est", "for", "get",
    ];
    let mut random = Random(seed);
    let mut column = 0;
    while text.len() < length {
        let before = text.len();
        // One to three syllables: 33,000 words, short ones most often, as in a language.
        for _ in 0..=(random.next() % 3) {
            text.push_str(SYLLABLES[(random.next() % 32) as usize]);
        }
        column += text.len() - before + 1;
        if column > 70 {
            text.push_str("\r\n");
            column = 0;
        } else {
            text.push(' ');
        }
    }
    text.push_str("\r\n");
}

/// SplitMix64: numbers that look random and are the same in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
