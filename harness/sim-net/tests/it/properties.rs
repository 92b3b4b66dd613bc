//! Whatever happens to the lines: what is read is what was sent, in order, once; and equal seeds tell equal stories.

use kms_sim_net::{Latency, Net, Stream};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pair::{millis, pause, virtual_time};

/// One thing that happens to the line.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Cut(bool),
    Hold(bool),
    Open(bool),
    Bandwidth(Option<u64>),
    ReadRate(Option<u64>),
    Freeze(bool),
    Thaw(bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1usize..100_000).prop_map(Step::Write),
        1 => any::<bool>().prop_map(Step::Cut),
        1 => any::<bool>().prop_map(Step::Hold),
        2 => any::<bool>().prop_map(Step::Open),
        1 => proptest::option::of(1_000u64..10_000_000).prop_map(Step::Bandwidth),
        1 => proptest::option::of(10_000u64..10_000_000).prop_map(Step::ReadRate),
        1 => any::<bool>().prop_map(Step::Freeze),
        1 => any::<bool>().prop_map(Step::Thaw),
        4 => (0u64..20_000).prop_map(Step::Wait),
    ]
}

/// The byte at a place in the endless stream that is sent.
fn byte(at: usize) -> u8 {
    let word = (at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word.to_le_bytes()[at % 8]
}

async fn send_all(
    mut to: Stream,
    mut orders: tokio::sync::mpsc::UnboundedReceiver<usize>,
) -> usize {
    let mut sent = 0;
    while let Some(length) = orders.recv().await {
        let bytes: Vec<u8> = (sent..sent + length).map(byte).collect();
        to.write_all(&bytes).await.expect("the connection lives");
        sent += length;
    }
    sent
}

/// Plays the steps and heals; what was sent, what was read, and the record.
fn play(seed: u64, steps: &[Step]) -> (usize, Vec<u8>, Vec<String>) {
    virtual_time(async {
        let net = Net::new(seed);
        net.record();
        net.set_default_latency(Latency::between(millis(1), millis(40)));
        let client = net.host("a");
        let mut listener = net.host("b").listen(1).expect("a free port");
        let left = client.connect("b", 1).await.expect("a connection");
        let mut right = listener.accept().await.expect("the same");
        let (orders, received) = tokio::sync::mpsc::unbounded_channel();
        let writing = tokio::spawn(send_all(left, received));
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            right
                .read_to_end(&mut all)
                .await
                .expect("the connection lives");
            all
        });
        let side = |there: bool| if there { ("a", "b") } else { ("b", "a") };
        for step in steps {
            match step {
                Step::Write(length) => orders.send(*length).expect("the writer lives"),
                Step::Cut(there) => net.cut(side(*there).0, side(*there).1),
                Step::Hold(there) => net.hold(side(*there).0, side(*there).1),
                Step::Open(there) => net.open(side(*there).0, side(*there).1),
                Step::Bandwidth(rate) => net.set_bandwidth("a", "b", *rate),
                Step::ReadRate(rate) => net.set_read_rate("a", "b", *rate),
                Step::Freeze(there) => net.freeze(side(*there).0),
                Step::Thaw(there) => net.thaw(side(*there).0),
                Step::Wait(ms) => pause(*ms).await,
            }
        }
        net.set_bandwidth("a", "b", None);
        net.set_read_rate("a", "b", None);
        for (from, to) in [("a", "b"), ("b", "a")] {
            net.open(from, to);
            net.thaw(from);
        }
        drop(orders);
        let sent = writing.await.expect("no panic in the writer");
        let read = reading.await.expect("no panic in the reader");
        (sent, read, net.recorded())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_byte_is_lost_doubled_or_moved(seed: u64, steps in proptest::collection::vec(step(), 1..24)) {
        let (sent, read, _) = play(seed, &steps);
        prop_assert_eq!(read.len(), sent);
        let wrong = read.iter().enumerate().find(|(at, got)| **got != byte(*at));
        prop_assert_eq!(wrong, None);
    }
}

#[test]
fn equal_seeds_give_equal_records_and_others_do_not() {
    let steps = [
        Step::Write(200_000),
        Step::Wait(30),
        Step::Cut(true),
        Step::Wait(5_000),
        Step::Open(true),
        Step::Write(10_000),
        Step::Wait(400),
    ];
    let (_, _, first) = play(7, &steps);
    assert!(first.len() > 20, "{first:?}");
    assert_eq!(first, play(7, &steps).2);
    assert_ne!(first, play(8, &steps).2);
}

#[test]
fn another_host_changes_nobodys_luck() {
    let arrivals = |others: bool| {
        virtual_time(async move {
            let net = Net::new(3);
            net.set_default_latency(Latency::between(millis(1), millis(1_000)));
            let mut listener = net.host("b").listen(1).expect("a free port");
            let mut seen = Vec::new();
            for _ in 0..10 {
                if others {
                    // another pair of hosts draws in between
                    let _ = net.host("c").connect("d", 1).await;
                    let _ = net.host("d");
                    let _ = net.host("c").connect("d", 1).await;
                }
                let began = tokio::time::Instant::now();
                net.host("a").connect("b", 1).await.expect("a connection");
                listener.accept().await.expect("the same");
                seen.push(began.elapsed());
            }
            seen
        })
    };
    assert_eq!(
        arrivals(false)
            .iter()
            .map(|t| t.as_millis() / 2)
            .collect::<Vec<_>>(),
        arrivals(true)
            .iter()
            .map(|t| t.as_millis() / 2)
            .collect::<Vec<_>>()
    );
}
