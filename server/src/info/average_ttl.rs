//! How long keys with an expiry have to live on average: a running estimate from a few keys at a time.

use crate::server::Server;
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::DbIndex;
use basalt_storage::eviction::Scope;
use basalt_storage::keyspace::with_rng;
use basalt_storage::slot::StripeSet;
use hashbrown::HashMap;
use parking_lot::Mutex;

/// Keys looked at each time.
const SAMPLES: usize = 20;
/// Weight of one look in the running estimate.
const WEIGHT: f64 = 0.05;

#[derive(Default)]
pub struct AverageTtl {
    ms_by_db: Mutex<HashMap<DbIndex, f64>>,
}

impl AverageTtl {
    pub fn ms(&self, db: DbIndex) -> i64 {
        self.ms_by_db.lock().get(&db).map_or(0, |ms| *ms as i64)
    }

    /// Looks at a few keys of each database; called regularly.
    pub fn sample(&self, server: &Server) {
        for db in (0..server.keyspace.databases()).map(DbIndex) {
            let sampled = if server.keyspace.volatile_count(db) == 0 { None } else { draw(server, db) };
            let mut ms_by_db = self.ms_by_db.lock();
            match sampled {
                Some(ms) => {
                    ms_by_db.entry(db).and_modify(|average| *average += (ms - *average) * WEIGHT).or_insert(ms);
                }
                None => drop(ms_by_db.remove(&db)),
            }
        }
    }
}

/// The average of a few keys in one stripe.
fn draw(server: &Server, db: DbIndex) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    with_rng(|rng| {
        let stripe = server.keyspace.draw_stripe(db, Scope::Volatile, rng)?;
        let view = server.keyspace.lock(StripeSet::of(stripe), server.now());
        let UnixMs(now) = view.now();
        view.draw_entries(db, stripe, Scope::Volatile, SAMPLES, rng, |entry| {
            if let Some(UnixMs(due)) = entry.expiry() {
                sum += (due - now).max(0) as f64;
                count += 1;
            }
        });
        (count > 0).then(|| sum / f64::from(count))
    })
}
