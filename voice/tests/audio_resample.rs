//! Resampling keeps the band, removes what would alias, and never gains or loses a sample.

use frontdesk_voice::audio::{Rate, Resampler};
use std::f64::consts::TAU;

fn sine(rate: Rate, hz: f64, seconds: f64, amplitude: f64) -> Vec<i16> {
    let count = (f64::from(rate.hz()) * seconds) as usize;
    (0..count)
        .map(|n| (amplitude * (TAU * hz * n as f64 / f64::from(rate.hz())).sin()).round() as i16)
        .collect()
}

fn resample(from: Rate, to: Rate, input: &[i16]) -> Vec<i16> {
    let (mut resampler, mut out) = (Resampler::new(from, to), Vec::new());
    resampler.push(input, &mut out);
    resampler.finish(&mut out);
    out
}

/// Signal to noise in dB, and gain in dB, of the sine at `hz` in the middle of `samples`: whatever a
/// least-squares fit of that sine leaves over is noise.
fn fit(samples: &[i16], rate: Rate, hz: f64, amplitude: f64) -> (f64, f64) {
    let middle = &samples[samples.len() / 5..samples.len() * 4 / 5];
    let (mut ss, mut cc, mut sc, mut ys, mut yc) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let angle = |n: usize| TAU * hz * n as f64 / f64::from(rate.hz());
    for (n, y) in middle.iter().enumerate() {
        let (s, c) = angle(n).sin_cos();
        let y = f64::from(*y);
        (ss, cc, sc, ys, yc) = (ss + s * s, cc + c * c, sc + s * c, ys + y * s, yc + y * c);
    }
    let determinant = ss * cc - sc * sc;
    let a = (ys * cc - yc * sc) / determinant;
    let b = (yc * ss - ys * sc) / determinant;
    let noise: f64 = middle
        .iter()
        .enumerate()
        .map(|(n, y)| (f64::from(*y) - a * angle(n).sin() - b * angle(n).cos()).powi(2))
        .sum::<f64>()
        / middle.len() as f64;
    let power = (a * a + b * b) / 2.0;
    (10.0 * (power / noise).log10(), 20.0 * ((a * a + b * b).sqrt() / amplitude).log10())
}

fn pairs() -> impl Iterator<Item = (Rate, Rate)> {
    Rate::ALL.into_iter().flat_map(|from| Rate::ALL.into_iter().map(move |to| (from, to)))
}

#[test]
fn a_sine_sweep_through_the_pass_band_keeps_70_db_and_its_level() {
    let (mut worst, mut flattest) = (f64::MAX, 0.0f64);
    for (from, to) in pairs() {
        let nyquist = f64::from(from.hz().min(to.hz())) / 2.0;
        for share in [0.1, 0.4, 0.6, 0.84] {
            let hz = nyquist * share;
            let out = resample(from, to, &sine(from, hz, 0.06, 16_000.0));
            let (snr, gain) = fit(&out, to, hz, 16_000.0);
            assert!(snr > 70.0, "{from} to {to} at {hz} Hz: SNR {snr:.1} dB");
            assert!(gain.abs() < 0.1, "{from} to {to} at {hz} Hz: gain {gain:.3} dB");
            (worst, flattest) = (worst.min(snr), flattest.max(gain.abs()));
        }
    }
    println!("worst SNR {worst:.1} dB, largest gain error {flattest:.4} dB");
}

#[test]
fn what_the_lower_rate_cannot_hold_is_60_db_down() {
    let mut worst = f64::MAX;
    for (from, to) in pairs().filter(|(from, to)| to < from) {
        let (low, high) = (f64::from(to.hz()) / 2.0, f64::from(from.hz()) / 2.0);
        for share in [0.0, 0.1, 0.3, 0.6, 0.95] {
            let hz = low * 1.005 + (high * 0.99 - low * 1.005) * share;
            let out = resample(from, to, &sine(from, hz, 0.08, 30_000.0));
            let middle = &out[out.len() / 5..out.len() * 4 / 5];
            let power = middle.iter().map(|y| f64::from(*y).powi(2)).sum::<f64>();
            let rms = (power / middle.len() as f64).sqrt().max(0.1);
            let down = 20.0 * (30_000.0 / 2f64.sqrt() / rms).log10();
            assert!(down > 60.0, "{from} to {to} at {hz:.0} Hz: only {down:.1} dB down");
            worst = worst.min(down);
        }
    }
    println!("least alias rejection {worst:.1} dB");
}

#[test]
fn chunk_sizes_do_not_change_a_bit() {
    for (from, to) in pairs() {
        let mut input = sine(from, 431.0, 0.06, 12_000.0);
        for (n, sample) in input.iter_mut().enumerate() {
            *sample = sample.wrapping_add((n as i16).wrapping_mul(7919) >> 3);
        }
        let whole = resample(from, to, &input);
        for sizes in [&[1][..], &[7, 1, 160, 3], &[161, 0, 319, 882, 5], &[4096]] {
            let (mut resampler, mut out) = (Resampler::new(from, to), Vec::new());
            let (mut rest, mut sizes) = (&input[..], sizes.iter().cycle());
            while !rest.is_empty() {
                let size = (*sizes.next().unwrap()).min(rest.len());
                resampler.push(&rest[..size], &mut out);
                rest = &rest[size..];
            }
            resampler.finish(&mut out);
            assert!(out == whole, "{from} to {to} differs when cut");
        }
    }
}

#[test]
fn lengths_are_exact_to_the_sample_for_every_pair() {
    for (from, to) in pairs() {
        for count in [0u64, 1, 2, 159, 160, 441, 2_801] {
            let out = resample(from, to, &vec![100; count as usize]);
            let exact = (count * u64::from(to.hz())).div_ceil(u64::from(from.hz()));
            assert_eq!(out.len() as u64, exact, "{count} samples from {from} to {to}");
        }
    }
}

#[test]
fn a_minute_does_not_drift_by_a_sample_nor_by_a_phase() {
    // Unoptimised, minutes of every pair take minutes: `examples/call_rate.rs` does those.
    for (from, to) in [(Rate::Hz22050, Rate::Hz8000)] {
        let (mut resampler, mut out) = (Resampler::new(from, to), Vec::new());
        let (hz, seconds) = (300.0, 61);
        let mut given = 0u64;
        let mut last = Vec::new();
        for second in 0..seconds {
            let input: Vec<i16> = (0..from.hz())
                .map(|n| {
                    let at = f64::from(second) + f64::from(n) / f64::from(from.hz());
                    (10_000.0 * (TAU * hz * at).sin()).round() as i16
                })
                .collect();
            for piece in input.chunks(163) {
                resampler.push(piece, &mut out);
            }
            given += out.len() as u64;
            last = std::mem::take(&mut out);
        }
        resampler.finish(&mut out);
        given += out.len() as u64;
        last.extend(out);
        assert_eq!(given, u64::from(to.hz()) * seconds as u64, "{from} to {to}");
        // The last second, sample by sample, is the sine where it should be.
        let first = given - last.len() as u64;
        for (n, sample) in last.iter().enumerate().take(last.len() - 200) {
            let at = (first + n as u64) as f64 / f64::from(to.hz());
            let exact = 10_000.0 * (TAU * hz * at).sin();
            assert!((f64::from(*sample) - exact).abs() < 25.0, "{from} to {to} at {at:.4} s");
        }
    }
}

#[test]
fn after_the_first_chunk_nothing_is_allocated_for_output_that_has_room() {
    let mut resampler = Resampler::new(Rate::Hz48000, Rate::Hz16000);
    let mut out = Vec::with_capacity(4_096);
    let input = sine(Rate::Hz48000, 440.0, 0.02, 9_000.0);
    let place = out.as_ptr();
    for _ in 0..100 {
        out.clear();
        resampler.push(&input, &mut out);
        assert!(out.len() <= 320);
    }
    assert_eq!(out.as_ptr(), place);
}

#[test]
fn full_scale_does_not_wrap_around() {
    let square: Vec<i16> =
        (0..1_600).map(|n| if n / 20 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
    let out = resample(Rate::Hz8000, Rate::Hz16000, &square);
    for (n, sample) in out.iter().enumerate().skip(200).take(2_000) {
        if n % 80 > 10 && n % 80 < 30 {
            assert!(*sample > 20_000, "sample {n} is {sample}");
        }
    }
}

#[test]
fn equal_rates_pass_through_untouched_and_at_once() {
    let input = sine(Rate::Hz16000, 440.0, 0.02, 9_000.0);
    let (mut resampler, mut out) = (Resampler::new(Rate::Hz16000, Rate::Hz16000), Vec::new());
    resampler.push(&input, &mut out);
    assert_eq!(out, input);
}
