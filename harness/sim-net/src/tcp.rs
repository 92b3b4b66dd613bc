//! TCP's numbers, as Linux has them by default, and the schedules that follow from them.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes that may be on their way or unread in one direction.
pub const WINDOW: usize = 64 * 1024;

/// After so long without an acknowledgement a connection is given up (`tcp_retries2` = 15).
pub const USER_TIMEOUT: Duration = Duration::from_millis(924_600);

/// After so long without an answer a connect is given up (`tcp_syn_retries` = 6).
pub const SYN_TIMEOUT: Duration = Duration::from_secs(127);

/// The first retransmission comes after this, each next one after twice as long.
const RTO: Duration = Duration::from_millis(200);

/// But never after longer than this.
const RTO_MAX: Duration = Duration::from_secs(120);

/// What fits into one packet where the rate is limited.
pub(crate) const SEGMENT: usize = 1460;

/// Connections that wait to be accepted; further handshakes get no answer.
pub(crate) const BACKLOG: usize = 128;

/// When a handshake's first packet is sent, since the beginning of the connect.
pub(crate) const SYNS: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(7),
    Duration::from_secs(15),
    Duration::from_secs(31),
    Duration::from_secs(63),
];

/// The first retransmission at or after `now` of what was sent first at `sent`.
pub(crate) fn retransmission(sent: Instant, now: Instant) -> Instant {
    let mut pause = RTO;
    let mut at = sent + pause;
    while at < now {
        pause = (pause * 2).min(RTO_MAX);
        at += pause;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retransmissions_double_up_to_two_minutes() {
        let sent = Instant::now();
        let mut seen = Vec::new();
        let mut now = sent;
        while seen.len() < 12 {
            let at = retransmission(sent, now);
            seen.push((at - sent).as_millis());
            now = at + Duration::from_millis(1);
        }
        assert_eq!(
            seen,
            [
                200, 600, 1_400, 3_000, 6_200, 12_600, 25_400, 51_000, 102_200, 204_600, 324_600,
                444_600
            ]
        );
    }
}
