//! Measures how fast messages are framed: `cargo run --release -p frontdesk-smtp --example framer_throughput`

use std::time::Instant;

use frontdesk_smtp::receive::budget::{MemoryBudget, MessageBuffer};
use frontdesk_smtp::receive::framer::{DataFramer, DataRules};

/// Octets per read of the server.
const READ: usize = 16 * 1024;

fn main() {
    // Base64 lines, and short lines of text with a stuffed dot now and then.
    let base64 = format!("{}\r\n", "QUJDREVGRw".repeat(7) + "QUJDRE").repeat(135);
    let text = "A line of an ordinary letter, not long.\r\n..\r\n\r\nx\r\n".repeat(200);
    for (name, body) in [("10 KB of base64", base64), ("10 KB of short lines", text)] {
        let wire = format!("Subject: measure\r\n\r\n{body}.\r\n");
        let budget = MemoryBudget::new(1 << 30);
        let rounds = 50_000;
        let start = Instant::now();
        for _ in 0..rounds {
            let mut buffer = MessageBuffer::new(&budget, 35 << 20);
            let mut framer = DataFramer::new(DataRules::default());
            for piece in wire.as_bytes().chunks(READ) {
                framer.feed(piece, &mut buffer);
            }
            assert_eq!(framer.violation(), None);
            assert!(!buffer.bytes().is_empty());
        }
        let seconds = start.elapsed().as_secs_f64();
        let octets = (wire.len() * rounds) as f64;
        println!(
            "{name}: {:.0} MB/s; 3,000 messages a second take {:.2} % of a core",
            octets / seconds / 1e6,
            3000.0 * seconds / rounds as f64 * 100.0
        );
    }
}
