//! Makes a model file for Whisper: the layout of whisper.cpp's ggml files and the true dimensions of
//! tiny.en, with random weights. It loads, takes the time and the memory of the real one, and talks
//! nonsense: tests and benchmarks need no download.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// `ggml` in the first four bytes.
const MAGIC: u32 = 0x6767_6d6c;

// The dimensions of tiny.en.
const VOCABULARY: i32 = 51_864;
const WORDS: i32 = 50_257;
const AUDIO_CONTEXT: i32 = 1_500;
const TEXT_CONTEXT: i32 = 448;
const WIDTH: i32 = 384;
const HEADS: i32 = 6;
const LAYERS: i32 = 4;
const MELS: i32 = 80;
/// Bins of a Fourier transform over 400 samples.
const BINS: i32 = 201;

/// The file type of 16-bit weights, and the types of tensors.
const F32: i32 = 0;
const F16: i32 = 1;

/// Writes the model, 78 MB.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn write(path: &Path) -> io::Result<()> {
    let mut out = Out { file: BufWriter::new(File::create(path)?), random: Random(0x2545_f491) };
    out.file.write_all(&MAGIC.to_le_bytes())?;
    for number in [
        VOCABULARY,
        AUDIO_CONTEXT,
        WIDTH,
        HEADS,
        LAYERS,
        TEXT_CONTEXT,
        WIDTH,
        HEADS,
        LAYERS,
        MELS,
        F16,
    ] {
        out.int(number)?;
    }
    out.filters()?;
    out.words()?;
    out.encoder()?;
    out.decoder()?;
    out.file.flush()
}

struct Out {
    file: BufWriter<File>,
    random: Random,
}

impl Out {
    fn int(&mut self, number: i32) -> io::Result<()> {
        self.file.write_all(&number.to_le_bytes())
    }

    /// Triangles over the bins, as mel filters are, though evenly spaced.
    fn filters(&mut self) -> io::Result<()> {
        self.int(MELS)?;
        self.int(BINS)?;
        for mel in 0..MELS {
            let middle = (mel as f32 + 1.0) * BINS as f32 / (MELS as f32 + 2.0);
            for bin in 0..BINS {
                let height = (1.0 - (bin as f32 - middle).abs() / 2.5).max(0.0) * 0.02;
                self.file.write_all(&height.to_le_bytes())?;
            }
        }
        Ok(())
    }

    /// The words that decoding looks up, and then words of three letters; the special tokens after them
    /// are the loader's own.
    fn words(&mut self) -> io::Result<()> {
        self.int(WORDS)?;
        for word in [" ", " -", " '"] {
            self.int(word.len() as i32)?;
            self.file.write_all(word.as_bytes())?;
        }
        for number in 3..WORDS as u32 {
            let letter = |place: u32| b'a' + (number / 26_u32.pow(place) % 26) as u8;
            self.int(4)?;
            self.file.write_all(&[b' ', letter(2), letter(1), letter(0)])?;
        }
        Ok(())
    }

    fn encoder(&mut self) -> io::Result<()> {
        self.random("encoder.positional_embedding", F32, &[WIDTH, AUDIO_CONTEXT])?;
        self.random("encoder.conv1.weight", F16, &[3, MELS, WIDTH])?;
        self.same("encoder.conv1.bias", 0.0, &[1, WIDTH])?;
        self.random("encoder.conv2.weight", F16, &[3, WIDTH, WIDTH])?;
        self.same("encoder.conv2.bias", 0.0, &[1, WIDTH])?;
        for layer in 0..LAYERS {
            let block = format!("encoder.blocks.{layer}");
            self.attention(&format!("{block}.attn"))?;
            self.network(&block)?;
        }
        self.norm("encoder.ln_post")
    }

    fn decoder(&mut self) -> io::Result<()> {
        self.random("decoder.positional_embedding", F32, &[WIDTH, TEXT_CONTEXT])?;
        self.random("decoder.token_embedding.weight", F16, &[WIDTH, VOCABULARY])?;
        for layer in 0..LAYERS {
            let block = format!("decoder.blocks.{layer}");
            self.attention(&format!("{block}.attn"))?;
            self.attention(&format!("{block}.cross_attn"))?;
            self.network(&block)?;
        }
        self.norm("decoder.ln")
    }

    fn attention(&mut self, name: &str) -> io::Result<()> {
        self.norm(&format!("{name}_ln"))?;
        for part in ["query", "key", "value", "out"] {
            self.random(&format!("{name}.{part}.weight"), F16, &[WIDTH, WIDTH])?;
            // Keys have no bias in Whisper.
            if part != "key" {
                self.same(&format!("{name}.{part}.bias"), 0.0, &[WIDTH])?;
            }
        }
        Ok(())
    }

    fn network(&mut self, block: &str) -> io::Result<()> {
        self.norm(&format!("{block}.mlp_ln"))?;
        self.random(&format!("{block}.mlp.0.weight"), F16, &[WIDTH, 4 * WIDTH])?;
        self.same(&format!("{block}.mlp.0.bias"), 0.0, &[4 * WIDTH])?;
        self.random(&format!("{block}.mlp.2.weight"), F16, &[4 * WIDTH, WIDTH])?;
        self.same(&format!("{block}.mlp.2.bias"), 0.0, &[WIDTH])
    }

    fn norm(&mut self, name: &str) -> io::Result<()> {
        self.same(&format!("{name}.weight"), 1.0, &[WIDTH])?;
        self.same(&format!("{name}.bias"), 0.0, &[WIDTH])
    }

    fn head(&mut self, name: &str, kind: i32, shape: &[i32]) -> io::Result<usize> {
        self.int(shape.len() as i32)?;
        self.int(name.len() as i32)?;
        self.int(kind)?;
        for size in shape {
            self.int(*size)?;
        }
        self.file.write_all(name.as_bytes())?;
        Ok(shape.iter().product::<i32>() as usize)
    }

    fn same(&mut self, name: &str, value: f32, shape: &[i32]) -> io::Result<()> {
        let count = self.head(name, F32, shape)?;
        self.file.write_all(&value.to_le_bytes().repeat(count))
    }

    /// Weights between a twentieth and minus that.
    fn random(&mut self, name: &str, kind: i32, shape: &[i32]) -> io::Result<()> {
        let count = self.head(name, kind, shape)?;
        // A block of odd length over and over: fast to make, and no two rows are the same.
        let block: Vec<f32> = (0..65_537).map(|_| self.random.next() * 0.05).collect();
        let bytes: Vec<u8> = match kind {
            F32 => block.iter().flat_map(|value| value.to_le_bytes()).collect(),
            _ => block.iter().flat_map(|value| half(*value).to_le_bytes()).collect(),
        };
        let mut left = count * bytes.len() / block.len();
        while left > 0 {
            let now = left.min(bytes.len());
            self.file.write_all(&bytes[..now])?;
            left -= now;
        }
        Ok(())
    }
}

/// The bits of a 16-bit float, cut off; for small normal numbers, which these are, and zero.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
    if exponent <= 0 { sign } else { sign | (exponent as u16) << 10 | (bits >> 13 & 0x3ff) as u16 }
}

/// Marsaglia's xorshift, to numbers between -1 and 1.
struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as f32 / (u32::MAX / 2) as f32 - 1.0
    }
}
