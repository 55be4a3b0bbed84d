//! G.711: speech in eight bits at 8 kHz, as the telephone carries it.
//!
//! Both laws cut the range into eight segments on each side of zero, every one twice as wide as the one
//! before, and each into sixteen equal steps (ITU-T G.711, tables 1 and 2). Here 16-bit samples stand for
//! the 14-bit (mu-law) and 13-bit (A-law) values of the recommendation, times 4 and 8. A magnitude that
//! lies on a decision value belongs to the upper interval, on both sides of zero.

use serde::{Deserialize, Serialize};

/// One of the two companding laws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// North America and Japan (PCMU); Twilio Media Streams.
    Mu,
    /// Everywhere else (PCMA).
    A,
}

impl Law {
    /// The code for a sample.
    #[must_use]
    pub const fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => encode_mu(sample),
            Self::A => encode_a(sample),
        }
    }

    /// The sample a code stands for.
    #[must_use]
    pub const fn decode(self, code: u8) -> i16 {
        match self {
            Self::Mu => MU_LAW[code as usize],
            Self::A => A_LAW[code as usize],
        }
    }

    /// Appends the codes for `samples`.
    pub fn encode_all(self, samples: &[i16], out: &mut Vec<u8>) {
        out.extend(samples.iter().map(|sample| self.encode(*sample)));
    }

    /// Appends the samples that `codes` stand for.
    pub fn decode_all(self, codes: &[u8], out: &mut Vec<i16>) {
        out.extend(codes.iter().map(|code| self.decode(*code)));
    }
}

/// Shifts the first, shorter mu-law segment so that all segments begin at a power of two: 33 on the
/// 14-bit scale.
const MU_BIAS: u32 = 33 * 4;

/// The largest magnitude that does not overflow the last mu-law segment: 8159 is its end.
const MU_CLIP: u32 = 8159 * 4 - 1;

const MU_LAW: [i16; 256] = table(Law::Mu);
const A_LAW: [i16; 256] = table(Law::A);

const fn encode_mu(sample: i16) -> u8 {
    let magnitude = sample.unsigned_abs() as u32;
    let magnitude = if magnitude > MU_CLIP { MU_CLIP } else { magnitude } + MU_BIAS;
    // Biased magnitudes lie in 2^7..2^15.
    let segment = magnitude.ilog2() - 7;
    let step = (magnitude >> (segment + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    // All bits are inverted on the line (table 2a, note 2).
    !(sign | (segment << 4 | step) as u8)
}

const fn encode_a(sample: i16) -> u8 {
    let magnitude = sample.unsigned_abs() as u32;
    let magnitude = if magnitude > 0x7fff { 0x7fff } else { magnitude };
    let code = if magnitude < 256 {
        magnitude >> 4
    } else {
        let segment = magnitude.ilog2() - 7;
        segment << 4 | (magnitude >> (segment + 3)) & 0x0f
    };
    let sign = if sample < 0 { 0 } else { 0x80 };
    // Even bits are inverted on the line (table 1a, note 2).
    (sign | code as u8) ^ 0x55
}

/// Every code's sample: the middle of its interval, but zero for the innermost of mu-law.
const fn table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let (plain, negative) = match law {
            Law::Mu => (!(code as u8), !(code as u8) & 0x80 != 0),
            Law::A => (code as u8 ^ 0x55, (code as u8 ^ 0x55) & 0x80 == 0),
        };
        let segment = (plain >> 4 & 0x07) as u32;
        let step = (plain & 0x0f) as i32;
        let magnitude = match law {
            Law::Mu => (((step * 2 + 33) << segment) - 33) * 4,
            Law::A if segment == 0 => step * 16 + 8,
            Law::A => (step * 16 + 264) << (segment - 1),
        };
        table[code] = if negative { -magnitude } else { magnitude } as i16;
        code += 1;
    }
    table
}
