//! WAV: reading the stream a synthesiser writes, and writing uploads and recordings.
//!
//! RIFF WAVE, PCM, 16 bit; the layout is that of Microsoft's "Multimedia Programming Interface and
//! Data Specifications 1.0" (1991).

/// Longest header before the samples; synthesisers write 44 bytes, some add a `LIST` chunk.
const MAX_HEADER: usize = 4 * 1024;

/// Reads a WAV that arrives in pieces. The lengths in it are not believed: who streams does not know them.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    header: Vec<u8>,
    rate: Option<u32>,
    odd: Option<u8>,
}

impl Reader {
    /// Takes bytes and appends the samples in them to `samples`.
    pub fn push(&mut self, bytes: &[u8], samples: &mut Vec<i16>) -> Result<(), &'static str> {
        if self.rate.is_some() {
            self.samples(bytes, samples);
            return Ok(());
        }
        self.header.extend_from_slice(bytes);
        let Some((rate, at)) = header(&self.header)? else {
            return if self.header.len() > MAX_HEADER {
                Err("the WAV never starts")
            } else {
                Ok(())
            };
        };
        self.rate = Some(rate);
        let body = std::mem::take(&mut self.header);
        self.samples(&body[at..], samples);
        Ok(())
    }

    /// The rate, once the header has been read.
    pub fn rate(&self) -> Option<u32> {
        self.rate
    }

    fn samples(&mut self, mut bytes: &[u8], samples: &mut Vec<i16>) {
        if let (Some(low), Some((high, rest))) = (self.odd, bytes.split_first()) {
            samples.push(i16::from_le_bytes([low, *high]));
            self.odd = None;
            bytes = rest;
        }
        let (pairs, rest) = bytes.as_chunks::<2>();
        samples.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
        if let [low] = rest {
            self.odd = Some(*low);
        }
    }
}

/// The rate and where the samples start; nothing while the header is not complete.
fn header(bytes: &[u8]) -> Result<Option<(u32, usize)>, &'static str> {
    if bytes.len() < 12 {
        return Ok(None);
    }
    if &bytes[..4] != b"RIFF" || &bytes[8..12] != b"WAVE" {
        return Err("it is not a WAV");
    }
    let mut rate = None;
    let mut at = 12_usize;
    loop {
        let Some(head) = bytes.get(at..at + 8) else { return Ok(None) };
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let body = at + 8;
        match &head[..4] {
            b"data" => return rate.map(|rate| Some((rate, body))).ok_or("the WAV has no format"),
            b"fmt " => {
                let Some(format) = bytes.get(body..body + 16) else { return Ok(None) };
                let word = |i: usize| u16::from_le_bytes([format[i], format[i + 1]]);
                let hz = u32::from_le_bytes([format[4], format[5], format[6], format[7]]);
                // 1 is PCM.
                if (word(0), word(2), word(14)) != (1, 1, 16) || !(8_000..=48_000).contains(&hz) {
                    return Err("the WAV is not mono 16-bit PCM at 8 to 48 kHz");
                }
                rate = Some(hz);
            }
            _ => {}
        }
        // Chunks are padded to even lengths.
        at = match body.checked_add(length).and_then(|end| end.checked_add(length % 2)) {
            Some(next) if next <= MAX_HEADER => next,
            _ => return Err("the WAV's header is too long"),
        };
    }
}

/// Bytes before the first sample of what is written here.
pub(crate) const HEADER: usize = 44;

/// A complete WAV of mono samples.
#[cfg_attr(not(feature = "remote"), allow(dead_code, reason = "only remote engines upload"))]
pub(crate) fn write(rate: u32, samples: &[i16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + samples.len() * 2);
    out.extend_from_slice(&header_of(rate, 1, samples.len() as u64));
    out.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    out
}

/// The header of a file of so many 16-bit samples, those of all channels together. A length that has no room
/// in it is cut; players then play to the end of the file.
pub(crate) fn header_of(rate: u32, channels: u16, samples: u64) -> [u8; HEADER] {
    let length = u32::try_from(samples * 2).unwrap_or(u32::MAX - HEADER as u32);
    let frame = channels * 2;
    let mut out = [0; HEADER];
    let fields: [&[u8]; 13] = [
        b"RIFF",
        &(length + HEADER as u32 - 8).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16_u32.to_le_bytes(),
        // PCM.
        &1_u16.to_le_bytes(),
        &channels.to_le_bytes(),
        &rate.to_le_bytes(),
        &(rate * u32::from(frame)).to_le_bytes(),
        &frame.to_le_bytes(),
        &16_u16.to_le_bytes(),
        b"data",
        &length.to_le_bytes(),
    ];
    let mut at = 0;
    for field in fields {
        out[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], piece: usize) -> Result<(Option<u32>, Vec<i16>), &'static str> {
        let mut reader = Reader::default();
        let mut samples = Vec::new();
        for piece in bytes.chunks(piece) {
            reader.push(piece, &mut samples)?;
        }
        Ok((reader.rate(), samples))
    }

    #[test]
    fn what_is_written_is_read_however_it_is_cut() {
        let samples: Vec<i16> = (-500..500).map(|n| n * 60).collect();
        let wav = write(22_050, &samples);
        for piece in [1, 2, 3, 43, 44, 45, 5_000] {
            assert_eq!(read(&wav, piece), Ok((Some(22_050), samples.clone())), "{piece}");
        }
    }

    #[test]
    fn a_stream_that_does_not_know_its_length_and_one_with_extra_chunks_are_read() {
        let mut wav = write(16_000, &[1, 2, 3]);
        wav[40..44].copy_from_slice(&0x7fff_f000_u32.to_le_bytes());
        assert_eq!(read(&wav, 7), Ok((Some(16_000), vec![1, 2, 3])));
        let mut extra = wav[..36].to_vec();
        extra.extend_from_slice(b"LIST\x03\0\0\0abc\0");
        extra.extend_from_slice(&wav[36..]);
        assert_eq!(read(&extra, 5), Ok((Some(16_000), vec![1, 2, 3])));
    }

    #[test]
    fn what_is_no_mono_wav_is_refused_without_reading_on_for_ever() {
        assert!(read(b"ID3 an mp3, not a wav", 4).is_err());
        let mut stereo = write(16_000, &[1]);
        stereo[22] = 2;
        assert!(read(&stereo, 10).is_err());
        let mut endless = write(16_000, &[])[..36].to_vec();
        endless.extend_from_slice(b"LIST\xff\xff\xff\xff");
        assert!(read(&endless, 10).is_err());
        let no_format = b"RIFF\0\0\0\0WAVEdata\0\0\0\0";
        assert!(read(no_format, 3).is_err());
    }
}
