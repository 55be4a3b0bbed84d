//! G.711 against the decision values of the recommendation, written out the slow way.

use frontdesk_voice::audio::g711::Law;

/// The decision values x0..x128 of tables 1 and 2, on the scale of 16-bit samples: within a segment the
/// steps are equal, and each segment's steps are twice as wide as the one's before.
fn decision_values(law: Law) -> Vec<u32> {
    let (mut values, scale) = match law {
        // Table 2: 0, 1, then fifteen steps of 2 to 31, sixteen of 4 to 95, of 8 to 223, ... to 8159.
        Law::Mu => (vec![0, 1], 4),
        // Table 1: 32 steps of 2 to 64, then sixteen of 4 to 128, of 8 to 256, ... to 4096.
        Law::A => (vec![0], 8),
    };
    let runs: &[(u32, u32)] = match law {
        Law::Mu => &[(15, 2), (16, 4), (16, 8), (16, 16), (16, 32), (16, 64), (16, 128), (16, 256)],
        Law::A => &[(32, 2), (16, 4), (16, 8), (16, 16), (16, 32), (16, 64), (16, 128)],
    };
    for (count, step) in runs {
        for _ in 0..*count {
            values.push(values[values.len() - 1] + step);
        }
    }
    assert_eq!(values.len(), 129);
    assert_eq!(values[128], if law == Law::Mu { 8159 } else { 4096 });
    values.into_iter().map(|value| value * scale).collect()
}

/// The interval a magnitude lies in; beyond the last value the last interval.
fn interval(values: &[u32], magnitude: u32) -> usize {
    (0..128).rev().find(|n| values[*n] <= magnitude).expect("x0 is 0")
}

/// The character signal for an interval: mu-law is sent inverted, A-law with its even bits inverted.
fn code(law: Law, interval: usize, negative: bool) -> u8 {
    let interval = interval as u8;
    match (law, negative) {
        (Law::Mu, false) => 0b1111_1111 - interval,
        (Law::Mu, true) => 0b0111_1111 - interval,
        (Law::A, false) => (0b1000_0000 | interval) ^ 0b0101_0101,
        (Law::A, true) => interval ^ 0b0101_0101,
    }
}

/// The quantised value: the middle of the interval, and zero for the innermost of mu-law.
fn value(law: Law, values: &[u32], interval: usize) -> u32 {
    if law == Law::Mu && interval == 0 { 0 } else { (values[interval] + values[interval + 1]) / 2 }
}

#[test]
fn all_65536_samples_have_the_code_of_the_recommendation() {
    for law in [Law::Mu, Law::A] {
        let values = decision_values(law);
        for sample in i16::MIN..=i16::MAX {
            let expected =
                code(law, interval(&values, u32::from(sample.unsigned_abs())), sample < 0);
            assert_eq!(law.encode(sample), expected, "{law:?} of {sample}");
        }
    }
}

#[test]
fn all_256_codes_have_the_value_of_the_recommendation() {
    for law in [Law::Mu, Law::A] {
        let values = decision_values(law);
        for n in 0..128 {
            let magnitude = value(law, &values, n) as i32;
            assert_eq!(i32::from(law.decode(code(law, n, false))), magnitude, "{law:?} {n}");
            assert_eq!(i32::from(law.decode(code(law, n, true))), -magnitude, "{law:?} -{n}");
        }
    }
}

#[test]
fn every_code_survives_the_round_trip() {
    for law in [Law::Mu, Law::A] {
        for code in 0..=255u8 {
            let again = law.encode(law.decode(code));
            // Mu-law has two zeros; the negative one comes back positive.
            let expected = if law == Law::Mu && code == 0x7f { 0xff } else { code };
            assert_eq!(again, expected, "{law:?} {code:#04x}");
        }
    }
}

#[test]
fn a_whole_frame_is_160_bytes_each_way() {
    let samples: Vec<i16> = (0..160).map(|n| n * 200 - 16_000).collect();
    let (mut codes, mut back) = (Vec::new(), Vec::new());
    Law::Mu.encode_all(&samples, &mut codes);
    Law::Mu.decode_all(&codes, &mut back);
    assert_eq!((codes.len(), back.len()), (160, 160));
    for (before, after) in samples.iter().zip(&back) {
        // A step is at most one sixteenth of its segment's start, so half of that is the error.
        assert!((before - after).abs() <= before.abs() / 32 + 16, "{before} became {after}");
    }
}
