//! What goes wrong in a run, and how often. Drawn from the seed, so that runs differ in kind and not only in order.

use crate::rng::Rng;

/// Chances are per mille of messages, of syncs, or of rounds (a few milliseconds each).
#[derive(Debug)]
pub struct Faults {
    pub loss: u64,
    pub repeat: u64,
    pub delay_ms_max: u64,
    pub partition: u64,
    pub power_loss: u64,
    pub kill: u64,
    pub pause: u64,
    pub pause_ms_max: u64,
    pub sync_ms_max: u64,
    pub slow_sync: u64,
    pub sync_failure: u64,
    pub snapshot_loss: u64,
    pub transfer: u64,
    pub member_change: u64,
    /// Of several faults that together are most dangerous for leases.
    pub ambush: u64,
    pub log_bytes_max: u64,
    pub proposals: u64,
    /// Whether the group thread does nothing else while it writes, as the real one, or goes on.
    pub blocks: bool,
    /// Whether followers ask how old their state is. Each question is a round of heartbeats, which changes all that
    /// follows.
    pub asks: bool,
}

impl Faults {
    /// Followers ask in one of four runs.
    pub fn draw(seed: u64, rng: &mut Rng) -> Faults {
        let mut sometimes = |per_mille: u64, max: u64| if rng.chance(per_mille) { rng.below(max + 1) } else { 0 };
        Faults {
            loss: sometimes(500, 200),
            repeat: sometimes(400, 200),
            delay_ms_max: 1 + sometimes(800, 30) + sometimes(100, 200),
            partition: sometimes(600, 6),
            power_loss: sometimes(500, 4),
            kill: sometimes(400, 3),
            pause: sometimes(400, 4),
            pause_ms_max: 100 + sometimes(700, 3000),
            sync_ms_max: sometimes(700, 15),
            slow_sync: sometimes(200, 20),
            sync_failure: sometimes(200, 5),
            snapshot_loss: sometimes(400, 500),
            transfer: sometimes(400, 4),
            member_change: sometimes(500, 4),
            ambush: sometimes(400, 4),
            log_bytes_max: 400 << sometimes(900, 6),
            proposals: 50 + sometimes(800, 600),
            blocks: sometimes(1000, 2) > 0,
            asks: seed % 4 == 3,
        }
    }
}
