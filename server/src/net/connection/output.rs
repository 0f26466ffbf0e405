//! How replies leave: at once where they may, otherwise from the backlog.
//!
//! Output is held until the batches that it depends on are committed, and until it is certain that this node led when
//! it was evaluated. The connection ends if that will never be so.

use super::{Connection, Ended};
use crate::client::{REPLY_BUFFER_MAX, REPLY_BUFFER_MIN};
use crate::moment::Moment;
use crate::net::outbound::Terms;
use basalt_storage::keyspace::high_water::{self, Span};
use basalt_storage::seq::Seq;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

impl Connection {
    /// Writes what the last wake-up has produced.
    #[inline]
    pub(super) fn flush(&mut self) -> Result<(), Ended> {
        if self.out.is_excessive() {
            return Err(Ended::OutputLimit);
        }
        if !self.out.is_empty() {
            self.check_output()?;
            let depends_on = high_water::take_span();
            let gate = &self.server.gate;
            let (committed, needs_lease) = (gate.committed(), !gate.has_leases());
            // Looked at last: what is lost is said before it counts as committed, and before no lease is asked for.
            if gate.reign() != self.reign {
                // What was evaluated on both sides of a loss may be anything.
                return Err(Ended::UnknownFate);
            }
            if self.backlog.holds() || needs_lease || depends_on.last > committed {
                let first = depends_on.first.max(Seq(committed.0 + 1));
                let depends_on = Span { first, ..depends_on };
                self.backlog.hold(&mut self.out, Terms { depends_on, needs_lease }, self.session.clock);
            } else if !self.backlog.is_empty() {
                self.backlog.add(&mut self.out);
            } else if let Some(bytes) = self.out.in_one_piece() {
                let written = self.try_write(bytes)?;
                if written < bytes.len() {
                    self.backlog.add(&mut self.out);
                    self.backlog.note_written(written);
                }
            } else {
                self.backlog.add(&mut self.out);
                self.write()?;
            }
            self.publish_output();
            self.out.clear();
        }
        if self.session.closing && self.backlog.is_empty() { Err(Ended::Done) } else { Ok(()) }
    }

    /// Ends the connection if output that it holds must not leave any more. Called before anything is evaluated and
    /// before anything is let out.
    #[inline]
    pub(super) fn look_for_losses(&mut self) -> Result<(), Ended> {
        let reign = self.server.gate.reign();
        if reign == self.reign {
            return Ok(());
        }
        self.reign = reign;
        // Its waker is gone with the loss.
        self.awaited = Seq::NONE;
        let is_lost = |terms: &Terms| terms.needs_lease || self.server.gate.is_lost(terms.depends_on);
        if self.backlog.terms().any(is_lost) { Err(Ended::UnknownFate) } else { Ok(()) }
    }

    /// Writes the output that is committed by now.
    pub(super) fn let_out(&mut self) -> Result<(), Ended> {
        let was_ready = self.backlog.is_ready();
        let gate = &self.server.gate;
        let (committed, has_leases) = (gate.committed(), gate.has_leases());
        // Looked at last, as in `flush`.
        self.look_for_losses()?;
        let are_met = |terms: &Terms| terms.depends_on.last <= committed && (!terms.needs_lease || has_leases);
        if let Some(since) = self.backlog.release(are_met) {
            self.note_if_slow(Moment::now().since(since));
        }
        // If there was something to write before, the client has no room for it.
        if !was_ready {
            self.write()?;
        }
        self.publish_output();
        Ok(())
    }

    #[inline]
    fn note_if_slow(&self, waited: Duration) {
        let slowlog = &self.server.slowlog;
        if waited >= slowlog.threshold() {
            slowlog.note_commit(&self.server, &self.session.client, waited);
        }
    }

    pub(super) fn write_backlog(&mut self) -> Result<(), Ended> {
        self.write()?;
        self.publish_output();
        Ok(())
    }

    /// Checks the output limits before anything is written, as what is beyond them must not be seen.
    #[inline]
    fn check_output(&self) -> Result<(), Ended> {
        let (client, new) = (&self.session.client, self.out.len());
        let info = &client.info;
        // A figure that has no other use than to be shown, so it may lag behind a little.
        if new > info.reply_peak_bytes.load(Relaxed) {
            info.reply_peak_bytes.store(new, Relaxed);
            if self.server.switches.reply_buffer_resizing.load(Relaxed) {
                info.reply_buffer_bytes.store(new.clamp(REPLY_BUFFER_MIN, REPLY_BUFFER_MAX), Relaxed);
            }
        }
        let total = new + self.backlog.len();
        if total <= REPLY_BUFFER_MAX {
            return Ok(());
        }
        let limits = &self.server.client_limits;
        if limits.is_output_excessive(client, total, self.server.now().0) { Err(Ended::OutputLimit) } else { Ok(()) }
    }

    #[inline]
    fn publish_output(&self) {
        let info = &self.session.client.info;
        info.output_bytes.store(self.backlog.len(), Relaxed);
        info.output_spare_bytes.store(self.backlog.spare(), Relaxed);
    }

    /// Writes of the backlog what may leave.
    fn write(&mut self) -> Result<(), Ended> {
        let keyspace = &self.server.keyspace;
        let written = self.backlog.write(&self.stream, |bytes| keyspace.reaper().let_go(bytes))?;
        self.turn.note(written);
        self.note_sent(written);
        Ok(())
    }

    #[inline]
    fn try_write(&self, bytes: &[u8]) -> Result<usize, Ended> {
        let written = match self.stream.try_write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(Ended::Io(error)),
        };
        self.note_sent(written);
        Ok(written)
    }

    #[inline]
    fn note_sent(&self, bytes: usize) {
        self.session.client.info.sent_bytes.fetch_add(bytes as u64, Relaxed);
        self.server.stats.note_write(self.session.client.thread, bytes);
    }
}
