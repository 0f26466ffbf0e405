//! What goes wrong in a run, and how often. Drawn from the seed, so that runs differ in kind and not only in order.

use crate::rng::Rng;

/// Chances are per mille of messages, of syncs, or of rounds (a few milliseconds each).
#[derive(Clone, Debug)]
pub struct Faults {
    pub loss: u64,
    pub repeat: u64,
    pub delay_ms_max: u64,
    pub partition: u64,
    pub power_loss: u64,
    pub kill: u64,
    /// Of a node that is just giving slots away or taking them in, or decides about it: what befalls these matters
    /// most.
    pub kill_part: u64,
    /// The same of pauses that are long enough for another to lead meanwhile.
    pub pause_part: u64,
    /// Of each thread of a migration: it stands still while its node goes on.
    pub pause_thread: u64,
    pub pause: u64,
    pub pause_ms_max: u64,
    pub clock_jump: u64,
    pub sync_ms_max: u64,
    pub slow_sync: u64,
    pub sync_failure: u64,
    pub snapshot_loss: u64,
    pub stream_loss: u64,
    pub transfer: u64,
    pub member_change: u64,
    pub migration: u64,
    pub cancel: u64,
    pub drain: u64,
    pub balance: bool,
    pub log_bytes_max: u64,
    pub operations: u64,
}

impl Faults {
    pub fn draw(rng: &mut Rng) -> Faults {
        let mut sometimes = |per_mille: u64, max: u64| if rng.chance(per_mille) { rng.below(max + 1) } else { 0 };
        Faults {
            loss: sometimes(400, 100),
            repeat: sometimes(300, 150),
            delay_ms_max: 1 + sometimes(700, 15) + sometimes(100, 100),
            partition: sometimes(500, 4),
            power_loss: sometimes(400, 3),
            kill: sometimes(400, 3),
            kill_part: sometimes(500, 12),
            pause_part: sometimes(300, 12),
            pause_thread: sometimes(300, 20),
            pause: sometimes(400, 4),
            pause_ms_max: 100 + sometimes(700, 3000),
            clock_jump: sometimes(300, 6),
            sync_ms_max: sometimes(700, 10),
            slow_sync: sometimes(200, 15),
            sync_failure: sometimes(150, 3),
            snapshot_loss: sometimes(400, 400),
            stream_loss: sometimes(400, 60),
            transfer: sometimes(400, 5),
            member_change: sometimes(400, 3),
            migration: 8 + sometimes(800, 12),
            cancel: sometimes(300, 3),
            drain: sometimes(200, 1),
            balance: sometimes(300, 1) > 0,
            log_bytes_max: 600 << sometimes(900, 6),
            operations: 200 + sometimes(800, 600),
        }
    }

    /// What is left when everything is healed: a network and disks that are merely slow.
    pub fn heal(&mut self) {
        (self.loss, self.repeat, self.stream_loss, self.snapshot_loss) = (0, 0, 0, 0);
        (self.slow_sync, self.sync_failure, self.clock_jump, self.pause_thread) = (0, 0, 0, 0);
        self.delay_ms_max = self.delay_ms_max.min(10);
    }
}
