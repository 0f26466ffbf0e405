//! What `ps` shows of the process: its command line, rewritten (`proc-title-template`).
//!
//! Linux shows the bytes that the process was started with, in place. Arguments and environment lie there one after the
//! other; when the last byte of the arguments is not zero any more, the kernel goes on into the environment. So the
//! environment is first copied elsewhere, and then the title may take the room of both.

use crate::config::Config;
use parking_lot::Mutex;
use std::ffi::OsString;
use std::sync::OnceLock;

/// The bytes of arguments and environment, as the kernel laid them out.
struct Room {
    start: usize,
    len: usize,
}

struct Process {
    /// The first argument: the program as it was called.
    name: String,
    room: Mutex<Room>,
}

static PROCESS: OnceLock<Process> = OnceLock::new();

/// Makes room for titles. Without it, or where the system is another, the title stays what it is.
///
/// # Safety
/// Nobody else may read or write the environment meanwhile: to be called before the first thread is started, and after
/// the arguments have been copied.
pub unsafe fn prepare(name: String) {
    let Some(room) = find_room() else { return };
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    for (name, value) in variables {
        // SAFETY: no other thread is there, by this function's contract. The C library keeps the copy on its heap, so
        // that afterwards nothing points to the old bytes any more but the vector of arguments.
        unsafe { std::env::set_var(name, value) };
    }
    PROCESS.get_or_init(|| Process { name, room: Mutex::new(room) });
}

/// Where the kernel looks for the command line and the environment: fields 48 to 51 of `/proc/self/stat`.
fn find_room() -> Option<Room> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in parentheses that may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<usize>().ok();
    let (arguments, arguments_end) = (field(48)?, field(49)?);
    let (environment, environment_end) = (field(50)?, field(51)?);
    let is_sound = 0 < arguments && arguments < arguments_end && arguments_end <= environment;
    let end = if environment == arguments_end { environment_end } else { arguments_end };
    (is_sound && arguments < end).then(|| Room { start: arguments, len: end - arguments })
}

/// Fills in a template; none if it names something unknown.
pub fn render(template: &str, config: &Config) -> Option<String> {
    let mut title = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        title.push_str(before);
        title.push_str(&variable(name, config)?);
        rest = after;
    }
    title.push_str(rest);
    Some(title.trim_end().to_owned())
}

fn variable(name: &str, config: &Config) -> Option<String> {
    match name {
        "title" => Some(PROCESS.get().map_or("basalt", |process| &process.name).to_owned()),
        "listen-addr" => {
            let bind = config.text("bind");
            let address = bind.split_whitespace().next().unwrap_or("*").trim_start_matches('-');
            Some(format!("{address}:{}", config.int("port")))
        }
        "server-mode" => Some(if config.is_yes("cluster-enabled") { "[cluster]".to_owned() } else { String::new() }),
        "port" => Some(config.int("port").to_string()),
        "tls-port" => Some("0".to_owned()),
        "unixsocket" => Some(config.text("unixsocket")),
        "config-file" => {
            Some(config.file.as_ref().map_or_else(String::new, |path| path.to_string_lossy().into_owned()))
        }
        _ => None,
    }
}

/// Shows a title, cut to the room there is.
pub fn show(title: &str) {
    let Some(process) = PROCESS.get() else { return };
    let room = process.room.lock();
    // The last byte stays zero: it ends the title for whoever reads it.
    let len = title.len().min(room.len - 1);
    let start = std::ptr::with_exposed_provenance_mut::<u8>(room.start);
    // SAFETY: the kernel put this process's arguments and environment there, in writable memory that is never unmapped
    // while the main thread lives; `len < room.len`. `prepare` has moved the environment away, arguments were copied
    // before it, and the lock keeps others from writing, so nothing else refers to these bytes but the C library's
    // vector of arguments, which finds strings that end with a zero byte as before.
    unsafe {
        std::ptr::write_bytes(start, 0, room.len);
        std::ptr::copy_nonoverlapping(title.as_ptr(), start, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in() {
        let config = Config::new();
        assert_eq!(render("{listen-addr} x {server-mode}", &config).as_deref(), Some("*:6379 x"));
        assert_eq!(render("{port}{tls-port}", &config).as_deref(), Some("63790"));
        assert_eq!(render("{unknown}", &config), None);
        assert_eq!(render("{port", &config), None);
    }
}
