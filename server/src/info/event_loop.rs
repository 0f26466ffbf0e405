//! How often the network threads wake up, and how long they are busy then: what Redis counts of its event loop, of all
//! threads together. Tokio counts it.

use crate::server::Server;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::runtime::RuntimeMetrics;

/// Wake-ups, and the time that the threads were busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cycles {
    pub count: u64,
    pub busy: Duration,
}

#[derive(Default)]
pub struct EventLoops {
    /// One of each network thread.
    threads: Mutex<Vec<RuntimeMetrics>>,
    /// What there was at the last CONFIG RESETSTAT.
    before: Mutex<Cycles>,
}

impl EventLoops {
    /// Counts the calling network thread from now on.
    pub fn add_this_thread(&self) {
        self.threads.lock().push(tokio::runtime::Handle::current().metrics());
    }

    pub fn cycles(&self) -> Cycles {
        let (now, before) = (self.since_start(), *self.before.lock());
        // A reset may come in between.
        Cycles { count: now.count.saturating_sub(before.count), busy: now.busy.saturating_sub(before.busy) }
    }

    pub fn reset(&self) {
        let mut before = self.before.lock();
        *before = self.since_start();
    }

    fn since_start(&self) -> Cycles {
        let threads = self.threads.lock();
        Cycles {
            count: threads.iter().map(|thread| thread.worker_park_count(0)).sum(),
            busy: threads.iter().map(|thread| thread.worker_total_busy_duration(0)).sum(),
        }
    }
}

/// The fields of the section stats.
pub fn put(server: &Server, fields: &mut super::Fields) {
    let (cycles, rates) = (server.event_loops.cycles(), server.sampler.rates());
    fields.put("eventloop_cycles", cycles.count);
    fields.put("eventloop_duration_sum", cycles.busy.as_micros());
    fields.put("eventloop_duration_cmd_sum", server.stats.command_time().as_micros());
    fields.put("instantaneous_eventloop_cycles_per_sec", rates.cycles);
    fields.put("instantaneous_eventloop_duration_usec", rates.busy_us.checked_div(rates.cycles).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_worked_was_busy() {
        let loops = EventLoops::default();
        assert_eq!(loops.cycles(), Cycles::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            loops.add_this_thread();
            // Nothing else is to be done meanwhile, so the thread sleeps.
            let never = std::future::pending::<()>();
            tokio::time::timeout(Duration::from_millis(20), never).await.expect_err("it never comes");
        });
        assert!(loops.since_start().count > 0);
        loops.reset();
        assert_eq!(loops.cycles(), Cycles::default());
    }
}
