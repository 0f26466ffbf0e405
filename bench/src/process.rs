//! Servers as child processes, pinned to cores, with their CPU time.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const SERVER_CORE: usize = 0;
pub const CLIENT_CORE: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Redis,
    Basalt,
    Null,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Redis => "redis-server",
            Kind::Basalt => "basalt",
            Kind::Null => "null server",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Kind::Redis => 7991,
            Kind::Basalt => 7992,
            Kind::Null => 7990,
        }
    }
}

/// Where a process may run.
#[derive(Clone, Copy)]
pub enum Cores {
    One(usize),
    All,
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    pub kind: Kind,
}

impl Server {
    pub fn start(kind: Kind, cores: Cores, io_threads: usize) -> Server {
        let (port, threads) = (kind.port().to_string(), io_threads.to_string());
        let mut command = match kind {
            Kind::Redis => {
                let mut command = Command::new("redis-server");
                command.args(["--port", &port, "--save", "", "--appendonly", "no", "--io-threads", &threads]);
                command.args(["--io-threads-do-reads", if io_threads > 1 { "yes" } else { "no" }]);
                command
            }
            Kind::Basalt => {
                let path = std::env::var("BASALT_BIN").expect("BASALT_BIN is the path of the basalt binary");
                let mut command = Command::new(path);
                command.args(["--port", &port, "--io-threads", &threads]);
                command
            }
            Kind::Null => {
                let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
                command.args(["--null-server", &port]);
                command
            }
        };
        pin(&mut command, cores);
        let child = command.stdout(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        let server = Server { child, kind };
        server.wait_until_it_listens();
        server
    }

    pub fn port(&self) -> u16 {
        self.kind.port()
    }

    fn wait_until_it_listens(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port())).is_err() {
            assert!(Instant::now() < deadline, "{} does not listen on port {}", self.kind.name(), self.port());
            sleep(Duration::from_millis(20));
        }
    }

    /// CPU time of all threads so far.
    pub fn cpu_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the server runs");
        let nanoseconds = tasks.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the next measurement would have noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes the command run on these cores only.
pub fn pin(command: &mut Command, cores: Cores) {
    let Cores::One(core) = cores else { return };
    // SAFETY: between fork and exec only this one system call is made, on memory of its own.
    unsafe {
        command.pre_exec(move || {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            match libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}
