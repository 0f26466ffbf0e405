//! Switches that DEBUG turns: parts of the server that tests need to hold still.

use std::sync::atomic::{AtomicBool, AtomicI64};

/// What DEBUG has switched; everything is on when the server starts.
pub struct Switches {
    /// Whether keys that are due are deleted without anybody asking for them (DEBUG SET-ACTIVE-EXPIRE).
    pub active_expiry: AtomicBool,
    /// Whether periodic work is done (DEBUG PAUSE-CRON).
    pub cron: AtomicBool,
    /// Whether the checksum of a RESTORE payload must be right (DEBUG SET-SKIP-CHECKSUM-VALIDATION).
    pub checksums: AtomicBool,
    /// Whether output buffers follow what clients really use (DEBUG REPLYBUFFER RESIZING).
    pub reply_buffer_resizing: AtomicBool,
    /// Milliseconds between two resets of a client's output peak; negative: never (DEBUG REPLYBUFFER PEAK-RESET-TIME).
    pub reply_buffer_peak_reset_ms: AtomicI64,
}

/// Milliseconds between two resets of a client's output peak, unless DEBUG says otherwise.
pub const PEAK_RESET_MS: i64 = 5000;

impl Default for Switches {
    fn default() -> Switches {
        Switches {
            active_expiry: AtomicBool::new(true),
            cron: AtomicBool::new(true),
            checksums: AtomicBool::new(true),
            reply_buffer_resizing: AtomicBool::new(true),
            reply_buffer_peak_reset_ms: AtomicI64::new(PEAK_RESET_MS),
        }
    }
}
