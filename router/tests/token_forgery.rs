//! Tokens: what is accepted, and that nothing else is.

#![allow(clippy::unwrap_used)]

use frontdesk_router::token::{
    Day, KeyId, KeyRing, Purpose, Reference, Rejected, TOKEN_LEN, TokenKey, bounce_address, fuzz,
    is_token_shaped, message_id, mint, own_message_id, reply_address, verify,
};
use proptest::prelude::*;

const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz234567";
const TODAY: Day = Day(20_778);

fn key(id: u8, octet: u8) -> TokenKey {
    TokenKey::new(KeyId::new(id).unwrap(), [octet; 32])
}

fn ring() -> KeyRing {
    KeyRing::new(key(3, 0x33), vec![key(2, 0x22)])
}

fn check(token: &str) -> Result<Reference, Rejected> {
    verify(&ring(), Purpose::Reply, "support", "desk.example", token, TODAY)
}

fn reply(reference: u64, expiry: Day) -> String {
    mint(&ring(), Purpose::Reply, "support", "desk.example", Reference(reference), expiry)
}

/// The layout is a promise to mail that is already out: this must not change.
#[test]
fn the_layout_is_fixed() {
    let token = reply(0x0123_4567_89ab_cdef, Day(20_838));
    assert_eq!(token, "daerukz4jvpg66ulgv3uxjvxo4eotg7kb");
    assert_eq!(&token[..1], "d", "key id 3");
    let payload = data_encoding::BASE32_NOPAD.decode(token[1..].to_uppercase().as_bytes()).unwrap();
    assert_eq!(payload[..8], 0x0123_4567_89ab_cdef_u64.to_be_bytes());
    assert_eq!(payload[8..10], 20_838_u16.to_be_bytes());
    assert_eq!(payload.len(), 20);
}

/// The MAC, computed a second time by hand from its definition.
#[test]
fn the_mac_is_hmac_sha_256_over_length_prefixed_fields() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let token = reply(7, Day(21_000));
    let mut input = Vec::new();
    let fields: [&[u8]; 7] = [
        b"frontdesk token 1",
        b"reply",
        b"support",
        b"desk.example",
        &[0, 0, 0, 0, 0, 0, 0, 7],
        &21_000_u16.to_be_bytes(),
        &[3],
    ];
    for field in fields {
        input.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, u8::try_from(field.len()).unwrap()]);
        input.extend_from_slice(field);
    }
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&[0x33; 32]).unwrap();
    mac.update(&input);
    let full = mac.finalize().into_bytes();
    let payload = data_encoding::BASE32_NOPAD.decode(token[1..].to_uppercase().as_bytes()).unwrap();
    assert_eq!(payload[10..], full[..10]);
}

#[test]
fn a_token_is_good_through_its_last_day_and_then_expired_not_invalid() {
    let token = reply(9, TODAY);
    assert_eq!(check(&token), Ok(Reference(9)));
    let verify_on = |day| verify(&ring(), Purpose::Reply, "support", "desk.example", &token, day);
    assert_eq!(verify_on(Day(TODAY.0 + 1)), Err(Rejected::Expired(Reference(9))));
    assert_eq!(verify_on(Day::NEVER), Err(Rejected::Expired(Reference(9))));
}

#[test]
fn agent_and_domain_compare_without_case_and_the_token_does_not() {
    let token = reply(9, TODAY);
    assert_eq!(
        verify(&ring(), Purpose::Reply, "SUPPORT", "Desk.Example", &token, TODAY),
        Ok(Reference(9))
    );
    assert_eq!(check(&token.to_uppercase()), Err(Rejected::Invalid));
}

#[test]
fn rotation_keeps_old_tokens_and_dropping_the_key_ends_them() {
    let old = KeyRing::new(key(2, 0x22), Vec::new());
    let token = mint(&old, Purpose::Reply, "support", "desk.example", Reference(5), TODAY);
    assert_eq!(check(&token), Ok(Reference(5)), "the older key of the ring");
    let dropped = KeyRing::new(key(3, 0x33), Vec::new());
    let result = verify(&dropped, Purpose::Reply, "support", "desk.example", &token, TODAY);
    assert_eq!(result, Err(Rejected::Invalid));
    // A reused id with another secret is not the old key.
    let reused = KeyRing::new(key(2, 0x99), Vec::new());
    let result = verify(&reused, Purpose::Reply, "support", "desk.example", &token, TODAY);
    assert_eq!(result, Err(Rejected::Invalid));
}

#[test]
fn every_single_changed_character_is_rejected() {
    let token = reply(0xfeed_beef, TODAY);
    let mut tried = 0;
    for at in 0..TOKEN_LEN {
        for symbol in ALPHABET.chars().chain("018=-ABZ\0é".chars()) {
            let mut changed: Vec<char> = token.chars().collect();
            if changed[at] == symbol {
                continue;
            }
            changed[at] = symbol;
            let changed: String = changed.into_iter().collect();
            assert_eq!(check(&changed), Err(Rejected::Invalid), "{changed}");
            tried += 1;
        }
    }
    assert!(tried >= 33 * 40);
}

#[test]
fn every_other_length_is_rejected() {
    let token = reply(1, TODAY);
    for cut in 0..TOKEN_LEN {
        assert_eq!(check(&token[..cut]), Err(Rejected::Invalid));
    }
    for longer in
        [format!("{token}a"), format!("a{token}"), format!("{token}="), format!("{token} ")]
    {
        assert_eq!(check(&longer), Err(Rejected::Invalid));
    }
}

#[test]
fn a_message_id_cannot_be_turned_into_an_address() {
    let keys = ring();
    let id = message_id(&keys, "support", "desk.example", Reference(11));
    assert_eq!(own_message_id(&keys, "support", "desk.example", &id), Some(Reference(11)));
    assert_eq!(own_message_id(&keys, "sales", "desk.example", &id), None);
    assert_eq!(own_message_id(&keys, "support", "other.example", &id), None);
    let token = id.trim_matches(['<', '>']).split('@').next().unwrap();
    assert!(is_token_shaped(token));
    for purpose in Purpose::ALL {
        let result = verify(&keys, purpose, "support", "desk.example", token, TODAY);
        assert_eq!(result.is_ok(), purpose == Purpose::MessageId, "{purpose:?}");
    }
    // Some servers change the case of what they pass on.
    let shouted = id.to_uppercase();
    assert_eq!(own_message_id(&keys, "support", "desk.example", &shouted), Some(Reference(11)));
    for junk in ["", "<>", "<@>", "@desk.example", "<x@desk.example>", "<a@b@desk.example>"] {
        assert_eq!(own_message_id(&keys, "support", "desk.example", junk), None);
    }
}

#[test]
fn the_longest_agent_name_still_fits_a_local_part() {
    let agent = "a".repeat(28);
    let reference = Reference(u64::MAX);
    for address in [
        reply_address(&ring(), &agent, "desk.example", reference, TODAY),
        bounce_address(&ring(), &agent, "desk.example", reference, TODAY),
    ] {
        let local = address.split('@').next().unwrap();
        assert_eq!(local.len(), 63);
    }
    let id = message_id(&ring(), &agent, "mail.desk.example", reference);
    assert!("Message-ID: ".len() + id.len() < 78);
}

#[test]
fn secrets_do_not_reach_debug() {
    let shown = format!("{:?}", ring());
    assert!(!shown.contains("51") && !shown.contains("33"), "{shown}");
}

#[test]
fn days_do_not_wrap() {
    assert_eq!(Day::of("1970-01-01T23:59:59Z".parse().unwrap()), Day(0));
    assert_eq!(Day::of("2026-11-21T00:00:00Z".parse().unwrap()), Day(20_778));
    assert_eq!(Day::of(jiff::Timestamp::MIN), Day(0));
    assert_eq!(Day::of(jiff::Timestamp::MAX), Day::NEVER);
    assert_eq!(Day(65_000).plus(60_000), Day::NEVER);
}

fn purpose() -> impl Strategy<Value = Purpose> {
    (0..Purpose::ALL.len()).prop_map(|index| Purpose::ALL[index])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn what_is_minted_verifies_and_only_there(
        purpose in purpose(),
        other_purpose in purpose(),
        agent in "[a-z][a-z0-9._-]{0,20}",
        other_agent in "[a-z][a-z0-9._-]{0,20}",
        domain in "[a-z]{1,10}\\.[a-z]{2,5}",
        other_domain in "[a-z]{1,10}\\.[a-z]{2,5}",
        reference in any::<u64>(),
        expiry in any::<u16>(),
        today in any::<u16>(),
    ) {
        let keys = ring();
        let (reference, expiry, today) = (Reference(reference), Day(expiry), Day(today));
        let token = mint(&keys, purpose, &agent, &domain, reference, expiry);
        prop_assert!(is_token_shaped(&token));
        let expected = if today > expiry { Err(Rejected::Expired(reference)) } else { Ok(reference) };
        prop_assert_eq!(verify(&keys, purpose, &agent, &domain, &token, today), expected);
        if other_purpose != purpose {
            prop_assert_eq!(verify(&keys, other_purpose, &agent, &domain, &token, today), Err(Rejected::Invalid));
        }
        if other_agent != agent {
            prop_assert_eq!(verify(&keys, purpose, &other_agent, &domain, &token, today), Err(Rejected::Invalid));
        }
        if other_domain != domain {
            prop_assert_eq!(verify(&keys, purpose, &agent, &other_domain, &token, today), Err(Rejected::Invalid));
        }
        let strangers = KeyRing::new(key(3, 0x34), vec![key(2, 0x23)]);
        prop_assert_eq!(verify(&strangers, purpose, &agent, &domain, &token, today), Err(Rejected::Invalid));
    }

    /// Every bit of the decoded token counts.
    #[test]
    fn any_flipped_bit_is_rejected(reference in any::<u64>(), bit in 0usize..165) {
        let token = reply(reference, TODAY.plus(60));
        let mut symbols: Vec<usize> = token.chars().map(|c| ALPHABET.find(c).unwrap()).collect();
        symbols[bit / 5] ^= 1 << (bit % 5);
        let flipped: String = symbols.iter().map(|&s| char::from(ALPHABET.as_bytes()[s])).collect();
        prop_assert_eq!(check(&flipped), Err(Rejected::Invalid));
    }

    /// Moving a character between agent and domain must not give the same MAC input.
    #[test]
    fn fields_do_not_run_into_each_other(cut in 1usize..10) {
        let joined = "supportdesk";
        let (a, b) = joined.split_at(cut);
        let (c, d) = joined.split_at(cut - 1);
        let token = mint(&ring(), Purpose::Reply, a, b, Reference(1), TODAY);
        prop_assert_eq!(verify(&ring(), Purpose::Reply, c, d, &token, TODAY), Err(Rejected::Invalid));
    }

    #[test]
    fn the_fuzz_body_holds(data in prop::collection::vec(any::<u8>(), 0..80), shaped in "[a-z2-7]{33}") {
        fuzz(&data);
        fuzz(shaped.as_bytes());
    }
}
