//! What happens when a thread panics: the process ends, and says where and why.
//!
//! A panic is a broken invariant. The thread that met it may have held locks over state that is half changed, and what
//! it did for others (expiry, reports, migrations) would not be done any more: a process that went on would be wrong,
//! or lame, and nobody would know. What was acknowledged is in the log, and in a cluster other nodes take over.

use std::backtrace::Backtrace;
use std::io::Write;
use std::panic::{PanicHookInfo, set_hook};

/// From now on a panic of any thread ends the process, as SIGABRT does. The log has to have been started.
pub fn end_on_panic() {
    set_hook(Box::new(end));
}

fn end(panic: &PanicHookInfo<'_>) {
    let said = panic.payload();
    let why = said.downcast_ref::<&str>().copied().or(said.downcast_ref::<String>().map(String::as_str));
    let thread = std::thread::current();
    let what = format!(
        "thread {} has panicked: {}, at {}; stopping at once. This is a bug of Basalt: please report these lines",
        thread.name().unwrap_or("without a name"),
        why.unwrap_or("it does not say why"),
        panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string),
    );
    // There too, as the log may be filtered. If it cannot be written, there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "basalt: {what}");
    tracing::error!("{what}");
    // Last, since it takes time and memory.
    tracing::error!("the calls up to the panic, the last one first:\n{}", Backtrace::force_capture());
    std::process::abort();
}
