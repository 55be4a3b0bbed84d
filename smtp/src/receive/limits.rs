//! Who may connect, how often, and how much they may send.
//!
//! Counts are kept per address and per network (/24 for IPv4, /64 for IPv6), because one sender
//! usually owns the whole of either. Rates are leaky buckets kept as one instant each (the time at
//! which the bucket would be empty), so nothing has to be ticked.
//!
//! What always holds: pure, `now` is passed in; memory is bounded by [`TRACKED_MAX`] entries per
//! table however many addresses appear; every refusal has a reason that can be counted.
//!
//! Left out: reputation, blocklists, greylisting. The defaults are gentle; they stop floods.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Entries per table before idle ones are forgotten.
pub const TRACKED_MAX: usize = 65_536;
/// How long a network that sent an accepted message counts as known.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 3600);

/// A number per span of time; the whole number may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u64,
    pub per: Duration,
}

impl Rate {
    pub const fn per_minute(count: u64) -> Self {
        Self { count, per: Duration::from_secs(60) }
    }

    fn time_for(self, units: u64) -> Duration {
        let nanos = self.per.as_nanos().saturating_mul(u128::from(units));
        let nanos = nanos / u128::from(self.count.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The limits of one address or one network. The defaults are those of mox for an address, with
/// bytes left at its 1 GB per minute.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Connections open at the same time.
    pub open: usize,
    pub connections: Rate,
    pub messages: Rate,
    /// Octets of accepted or drained message content.
    pub octets: Rate,
}

/// Configuration of [`Limits`].
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// Connections open at the same time, from everywhere.
    pub connections_max: usize,
    /// Share of `connections_max`, in percent, from which timeouts are short.
    pub stress_percent: usize,
    pub per_address: Share,
    pub per_network: Share,
    /// Unknown recipients per network before replies are delayed.
    pub unknown_before_tarpit: Rate,
    /// Unknown recipients per network before the session ends with 421.
    pub unknown_before_hangup: Rate,
    /// How long the reply to an unknown recipient is held back in the tarpit.
    pub tarpit: Duration,
    /// Delay of the reply to MAIL for a network without an accepted message in the last day. Off
    /// by default: it is felt by every new correspondent.
    pub first_time_delay: Duration,
    /// Whether loopback peers are exempt from everything but `connections_max`: they are the
    /// operator, a relay or a test, and share one address.
    pub exempt_loopback: bool,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections_max: 1000,
            stress_percent: 80,
            per_address: Share {
                open: 30,
                connections: Rate::per_minute(300),
                messages: Rate::per_minute(500),
                octets: Rate::per_minute(1 << 30),
            },
            per_network: Share {
                open: 90,
                connections: Rate::per_minute(900),
                messages: Rate::per_minute(1500),
                octets: Rate::per_minute(3 << 30),
            },
            unknown_before_tarpit: Rate { count: 10, per: Duration::from_secs(600) },
            unknown_before_hangup: Rate { count: 50, per: Duration::from_secs(600) },
            tarpit: Duration::from_secs(5),
            first_time_delay: Duration::ZERO,
            exempt_loopback: true,
        }
    }
}

/// Why something was refused. [`reason`](Self::reason) is the label of the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    ConnectionsTotal,
    ConnectionsOpenAddress,
    ConnectionsOpenNetwork,
    ConnectionRate,
    MessageRate,
    OctetRate,
}

impl Refusal {
    pub fn reason(self) -> &'static str {
        match self {
            Self::ConnectionsTotal => "connections_total",
            Self::ConnectionsOpenAddress => "connections_open_address",
            Self::ConnectionsOpenNetwork => "connections_open_network",
            Self::ConnectionRate => "connection_rate",
            Self::MessageRate => "message_rate",
            Self::OctetRate => "octet_rate",
        }
    }
}

/// What an unknown recipient costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Penalty {
    None,
    /// Hold the reply back for this long.
    Delay(Duration),
    /// Reply 421 and hang up.
    HangUp,
}

/// An IPv4 /24 or an IPv6 /64, written with its length: `192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    V4([u8; 3]),
    V6([u8; 8]),
}

impl Network {
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let mut prefix = [0; 8];
                prefix.copy_from_slice(&ip.octets()[..8]);
                Self::V6(prefix)
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4([a, b, c]) => write!(f, "{}/24", Ipv4Addr::new(*a, *b, *c, 0)),
            Self::V6(prefix) => {
                let mut octets = [0; 16];
                octets[..8].copy_from_slice(prefix);
                write!(f, "{}/64", Ipv6Addr::from(octets))
            }
        }
    }
}

/// A leaky bucket; see the module documentation.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket(Option<Instant>);

impl Bucket {
    fn has_room(self, rate: Rate, units: u64, now: Instant) -> bool {
        let level = self.0.map_or(Duration::ZERO, |empty| empty.saturating_duration_since(now));
        level.saturating_add(rate.time_for(units)) <= rate.per
    }

    fn add(&mut self, rate: Rate, units: u64, now: Instant) {
        let from = self.0.map_or(now, |empty| empty.max(now));
        // A debt of an hour is as good as any longer one.
        let debt = rate.time_for(units).min(Duration::from_secs(3600));
        self.0 = Some(from + debt);
    }

    fn is_empty(self, now: Instant) -> bool {
        self.0.is_none_or(|empty| empty <= now)
    }
}

/// What is known about an address or a network.
#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    open: usize,
    connections: Bucket,
    messages: Bucket,
    octets: Bucket,
    tarpit: Bucket,
    hangup: Bucket,
    known_until: Option<Instant>,
}

impl Usage {
    fn is_idle(&self, now: Instant) -> bool {
        self.open == 0
            && [self.connections, self.messages, self.octets, self.tarpit, self.hangup]
                .iter()
                .all(|bucket| bucket.is_empty(now))
            && self.known_until.is_none_or(|until| until <= now)
    }
}

/// The counters of one server.
#[derive(Debug)]
pub struct Limits {
    config: LimitsConfig,
    open: usize,
    addresses: HashMap<IpAddr, Usage>,
    networks: HashMap<Network, Usage>,
}

impl Limits {
    pub fn new(config: LimitsConfig) -> Self {
        Self { config, open: 0, addresses: HashMap::new(), networks: HashMap::new() }
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Whether so many connections are open that timeouts should be short.
    pub fn stressed(&self) -> bool {
        self.open * 100 >= self.config.connections_max * self.config.stress_percent
    }

    /// Counts a new connection. One that is refused is not open, so it must not be
    /// [disconnected](Self::disconnect); it still counts against the rate.
    pub fn connect(&mut self, ip: IpAddr, now: Instant) -> Result<(), Refusal> {
        if self.open >= self.config.connections_max {
            return Err(Refusal::ConnectionsTotal);
        }
        if self.exempt(ip) {
            self.open += 1;
            return Ok(());
        }
        let (per_address, per_network) = (self.config.per_address, self.config.per_network);
        let (address, network) = self.usage(ip, now);
        let rate_ok = address.connections.has_room(per_address.connections, 1, now)
            && network.connections.has_room(per_network.connections, 1, now);
        if !rate_ok {
            return Err(Refusal::ConnectionRate);
        }
        address.connections.add(per_address.connections, 1, now);
        network.connections.add(per_network.connections, 1, now);
        if address.open >= per_address.open {
            return Err(Refusal::ConnectionsOpenAddress);
        }
        if network.open >= per_network.open {
            return Err(Refusal::ConnectionsOpenNetwork);
        }
        address.open += 1;
        network.open += 1;
        self.open += 1;
        Ok(())
    }

    /// Ends a connection that was counted.
    pub fn disconnect(&mut self, ip: IpAddr) {
        self.open = self.open.saturating_sub(1);
        if self.exempt(ip) {
            return;
        }
        let ip = ip.to_canonical();
        if let Some(address) = self.addresses.get_mut(&ip) {
            address.open = address.open.saturating_sub(1);
        }
        if let Some(network) = self.networks.get_mut(&Network::of(ip)) {
            network.open = network.open.saturating_sub(1);
        }
    }

    /// Counts a mail transaction about to start. Returns how long to hold the reply back.
    pub fn start_mail(&mut self, ip: IpAddr, now: Instant) -> Result<Duration, Refusal> {
        if self.exempt(ip) {
            return Ok(Duration::ZERO);
        }
        let (per_address, per_network) = (self.config.per_address, self.config.per_network);
        let first_time_delay = self.config.first_time_delay;
        let (address, network) = self.usage(ip, now);
        if !address.messages.has_room(per_address.messages, 1, now)
            || !network.messages.has_room(per_network.messages, 1, now)
        {
            return Err(Refusal::MessageRate);
        }
        if !address.octets.has_room(per_address.octets, 1, now)
            || !network.octets.has_room(per_network.octets, 1, now)
        {
            return Err(Refusal::OctetRate);
        }
        address.messages.add(per_address.messages, 1, now);
        network.messages.add(per_network.messages, 1, now);
        let known = network.known_until.is_some_and(|until| until > now);
        Ok(if known { Duration::ZERO } else { first_time_delay })
    }

    /// Counts message content, whatever became of it.
    pub fn received(&mut self, ip: IpAddr, octets: u64, now: Instant) {
        if self.exempt(ip) {
            return;
        }
        let (per_address, per_network) = (self.config.per_address, self.config.per_network);
        let (address, network) = self.usage(ip, now);
        address.octets.add(per_address.octets, octets, now);
        network.octets.add(per_network.octets, octets, now);
    }

    /// A message from this address was accepted: its network is known for a day.
    pub fn accepted(&mut self, ip: IpAddr, now: Instant) {
        if !self.exempt(ip) && !self.config.first_time_delay.is_zero() {
            self.usage(ip, now).1.known_until = Some(now + KNOWN_FOR);
        }
    }

    /// Counts a recipient that does not exist.
    pub fn unknown_recipient(&mut self, ip: IpAddr, now: Instant) -> Penalty {
        if self.exempt(ip) {
            return Penalty::None;
        }
        let (before_tarpit, before_hangup) =
            (self.config.unknown_before_tarpit, self.config.unknown_before_hangup);
        let tarpit = self.config.tarpit;
        let (_, network) = self.usage(ip, now);
        if !network.hangup.has_room(before_hangup, 1, now) {
            return Penalty::HangUp;
        }
        network.hangup.add(before_hangup, 1, now);
        if !network.tarpit.has_room(before_tarpit, 1, now) {
            return Penalty::Delay(tarpit);
        }
        network.tarpit.add(before_tarpit, 1, now);
        Penalty::None
    }

    fn exempt(&self, ip: IpAddr) -> bool {
        self.config.exempt_loopback && ip.to_canonical().is_loopback()
    }

    fn usage(&mut self, ip: IpAddr, now: Instant) -> (&mut Usage, &mut Usage) {
        let ip = ip.to_canonical();
        make_room(&mut self.addresses, now);
        make_room(&mut self.networks, now);
        (self.addresses.entry(ip).or_default(), self.networks.entry(Network::of(ip)).or_default())
    }
}

/// Keeps a table below [`TRACKED_MAX`]: idle entries go first, then the history of everyone who is
/// not connected. Forgetting lets somebody start afresh, which beats refusing strangers.
fn make_room<K: Eq + Hash>(table: &mut HashMap<K, Usage>, now: Instant) {
    if table.len() < TRACKED_MAX {
        return;
    }
    table.retain(|_, usage| !usage.is_idle(now));
    if table.len() > TRACKED_MAX / 2 {
        table.retain(|_, usage| usage.open > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn small() -> LimitsConfig {
        let share = |open, count| Share {
            open,
            connections: Rate::per_minute(count),
            messages: Rate::per_minute(count),
            octets: Rate::per_minute(count * 1000),
        };
        LimitsConfig {
            connections_max: 10,
            per_address: share(2, 4),
            per_network: share(3, 8),
            unknown_before_tarpit: Rate::per_minute(2),
            unknown_before_hangup: Rate::per_minute(4),
            ..LimitsConfig::default()
        }
    }

    #[test]
    fn open_connections_are_capped_per_address_and_per_network() {
        let now = Instant::now();
        let mut limits = Limits::new(small());
        assert_eq!(limits.connect(ip("192.0.2.1"), now), Ok(()));
        assert_eq!(limits.connect(ip("::ffff:192.0.2.1"), now), Ok(()));
        assert_eq!(limits.connect(ip("192.0.2.1"), now), Err(Refusal::ConnectionsOpenAddress));
        assert_eq!(limits.connect(ip("192.0.2.2"), now), Ok(()));
        assert_eq!(limits.connect(ip("192.0.2.3"), now), Err(Refusal::ConnectionsOpenNetwork));
        assert_eq!(limits.connect(ip("192.0.3.1"), now), Ok(()));
        limits.disconnect(ip("192.0.2.1"));
        assert_eq!(limits.connect(ip("192.0.2.3"), now), Ok(()));
        assert_eq!(limits.open(), 4);
    }

    #[test]
    fn an_ipv6_network_is_a_64() {
        assert_eq!(Network::of(ip("2001:db8::1")), Network::of(ip("2001:db8:0:0:ffff::")));
        assert_ne!(Network::of(ip("2001:db8::1")), Network::of(ip("2001:db8:0:1::1")));
        assert_eq!(Network::of(ip("::ffff:192.0.2.9")), Network::of(ip("192.0.2.1")));
    }

    #[test]
    fn a_network_is_written_with_its_length() {
        assert_eq!(Network::of(ip("192.0.2.9")).to_string(), "192.0.2.0/24");
        assert_eq!(Network::of(ip("::ffff:192.0.2.9")).to_string(), "192.0.2.0/24");
        assert_eq!(Network::of(ip("2001:db8:0:7::1")).to_string(), "2001:db8:0:7::/64");
    }

    #[test]
    fn the_connection_rate_refills_with_time() {
        let start = Instant::now();
        let mut limits = Limits::new(small());
        let peer = ip("192.0.2.1");
        for _ in 0..4 {
            assert_eq!(limits.connect(peer, start), Ok(()));
            limits.disconnect(peer);
        }
        assert_eq!(limits.connect(peer, start), Err(Refusal::ConnectionRate));
        assert_eq!(
            limits.connect(peer, start + Duration::from_secs(14)),
            Err(Refusal::ConnectionRate)
        );
        assert_eq!(limits.connect(peer, start + Duration::from_secs(15)), Ok(()));
    }

    #[test]
    fn message_and_octet_rates_are_counted_apart() {
        let now = Instant::now();
        let mut limits = Limits::new(small());
        for _ in 0..4 {
            assert!(limits.start_mail(ip("192.0.2.1"), now).is_ok());
        }
        assert_eq!(limits.start_mail(ip("192.0.2.1"), now), Err(Refusal::MessageRate));

        limits.received(ip("192.0.2.2"), 1_000_000, now);
        assert_eq!(limits.start_mail(ip("192.0.2.2"), now), Err(Refusal::OctetRate));
        // The neighbour pays for the network's octets too.
        assert_eq!(limits.start_mail(ip("192.0.2.3"), now), Err(Refusal::OctetRate));
        assert!(limits.start_mail(ip("192.0.4.2"), now).is_ok());
    }

    #[test]
    fn guessing_recipients_costs_the_network_time_and_then_the_connection() {
        let now = Instant::now();
        let mut limits = Limits::new(small());
        let mut guess = |host| limits.unknown_recipient(ip(&format!("192.0.2.{host}")), now);
        assert_eq!([guess(1), guess(2)], [Penalty::None; 2]);
        assert_eq!(guess(3), Penalty::Delay(Duration::from_secs(5)));
        assert_eq!(guess(4), Penalty::Delay(Duration::from_secs(5)));
        assert_eq!(guess(5), Penalty::HangUp);
        assert_eq!(limits.unknown_recipient(ip("198.51.100.1"), now), Penalty::None);
        let later = now + Duration::from_secs(60);
        assert_eq!(limits.unknown_recipient(ip("192.0.2.1"), later), Penalty::None);
    }

    #[test]
    fn first_time_senders_wait_only_where_that_is_configured() {
        let now = Instant::now();
        let peer = ip("192.0.2.1");
        assert_eq!(Limits::new(small()).start_mail(peer, now), Ok(Duration::ZERO));

        let delay = Duration::from_secs(15);
        let mut limits = Limits::new(LimitsConfig { first_time_delay: delay, ..small() });
        assert_eq!(limits.start_mail(peer, now), Ok(delay));
        limits.accepted(peer, now);
        assert_eq!(limits.start_mail(ip("192.0.2.7"), now), Ok(Duration::ZERO));
        let next_week = now + Duration::from_secs(7 * 24 * 3600);
        assert_eq!(limits.start_mail(peer, next_week), Ok(delay));
    }

    #[test]
    fn loopback_is_bound_by_the_total_only_and_stress_begins_before_it() {
        let now = Instant::now();
        let mut limits = Limits::new(small());
        for open in 0..10 {
            assert_eq!(limits.stressed(), open >= 8, "{open}");
            assert_eq!(limits.connect(ip("127.0.0.1"), now), Ok(()));
        }
        assert_eq!(limits.connect(ip("::1"), now), Err(Refusal::ConnectionsTotal));
        assert_eq!(limits.unknown_recipient(ip("127.0.0.1"), now), Penalty::None);

        let mut strict = Limits::new(LimitsConfig { exempt_loopback: false, ..small() });
        for _ in 0..2 {
            strict.connect(ip("127.0.0.1"), now).unwrap();
        }
        assert!(strict.connect(ip("127.0.0.1"), now).is_err());
    }

    #[test]
    fn the_tables_do_not_grow_with_the_number_of_addresses() {
        let now = Instant::now();
        let mut limits = Limits::new(LimitsConfig::default());
        let held = ip("203.0.113.9");
        limits.connect(held, now).unwrap();
        for n in 0..200_000u32 {
            let peer = IpAddr::from(n.wrapping_mul(16384 + 257).to_be_bytes());
            if limits.connect(peer, now).is_ok() {
                limits.disconnect(peer);
            }
        }
        assert!(limits.addresses.len() <= TRACKED_MAX);
        assert!(limits.networks.len() <= TRACKED_MAX);
        assert_eq!(limits.addresses[&held].open, 1);
    }
}
