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
use std::future::{Future, poll_fn};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

/// Replies up to this size leave behind the reading of the others.
const SHORT: usize = 16 * 1024;

/// What is still to be written of a step's output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// A reply in one piece, which nothing holds back.
    Reply,
}

/// Lets the connections that are ready now have their turn.
///
/// Who reads everything before anything is written finds a client's process asleep once for many replies, and not once
/// for each: waking it costs more than the rest of sending. Where the server is what clients wait for, that is a third
/// of its time.
pub(super) fn others_first() -> impl Future<Output = ()> {
    let mut had_theirs = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut had_theirs, true) {
            return Poll::Ready(());
        }
        // Behind those that are ready, but before the thread looks for more.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

impl Connection {
    /// Writes what the last wake-up has produced, or leaves a short reply in `out` for [`Connection::write_reply`].
    #[inline]
    pub(super) fn flush(&mut self) -> Result<Left, Ended> {
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
            } else if self.out.in_one_piece().is_some() {
                let is_short = self.out.len() <= SHORT && !self.session.closing;
                if is_short {
                    return Ok(Left::Reply);
                }
                return self.write_reply().map(|()| Left::Nothing);
            } else {
                self.backlog.add(&mut self.out);
                self.write()?;
            }
            self.publish_output();
            self.out.clear();
        }
        self.end_if_done().map(|()| Left::Nothing)
    }

    /// Writes what the last requests have produced, since there are more.
    pub(super) fn flush_now(&mut self) -> Result<(), Ended> {
        match self.flush()? {
            Left::Nothing => Ok(()),
            Left::Reply => self.write_reply(),
        }
    }

    /// Writes a reply that is in one piece; what the client has no room for waits in the backlog.
    #[inline]
    pub(super) fn write_reply(&mut self) -> Result<(), Ended> {
        let bytes = self.out.in_one_piece().unwrap_or_default();
        let written = self.try_write(bytes)?;
        if written < bytes.len() {
            self.backlog.add(&mut self.out);
            self.backlog.note_written(written);
        }
        self.publish_output();
        self.out.clear();
        self.end_if_done()
    }

    #[inline]
    fn end_if_done(&self) -> Result<(), Ended> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn all_that_are_ready_read_before_one_writes() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let seen = Rc::new(RefCell::new(Vec::new()));
        let connection = || {
            let seen = seen.clone();
            async move {
                for _ in 0..2 {
                    seen.borrow_mut().push("reads");
                    others_first().await;
                    seen.borrow_mut().push("writes");
                    tokio::task::yield_now().await;
                }
            }
        };
        let local = tokio::task::LocalSet::new();
        let tasks: Vec<_> = (0..3).map(|_| local.spawn_local(connection())).collect();
        runtime.block_on(local.run_until(async move {
            for task in tasks {
                task.await.expect("it ends");
            }
        }));
        let once = [["reads"; 3], ["writes"; 3]].concat();
        assert_eq!(*seen.borrow(), once.repeat(2));
    }
}
