//! Servers as child processes, pinned to cores, with their CPU time.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
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

/// Where a server keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    Memory,
    /// On disk as well, synced `always` or `everysec`: the word is the same for both servers.
    Disk(&'static str),
}

/// A running server; killed when dropped, and its data deleted.
pub struct Server {
    command: Command,
    child: Child,
    pub kind: Kind,
    port: u16,
    directory: PathBuf,
}

impl Server {
    pub fn start(kind: Kind, cores: Cores, io_threads: usize) -> Server {
        Server::start_keeping(kind, Keeping::Memory, cores, io_threads)
    }

    pub fn start_keeping(kind: Kind, keeping: Keeping, cores: Cores, io_threads: usize) -> Server {
        Server::start_with(kind, keeping, cores, io_threads, &[])
    }

    pub fn start_with(kind: Kind, keeping: Keeping, cores: Cores, io_threads: usize, options: &[&str]) -> Server {
        let port = match keeping {
            Keeping::Memory => kind.port(),
            Keeping::Disk(_) => kind.port() + 10,
        };
        Server::start_on(port, kind, keeping, cores, io_threads, options)
    }

    /// For those of which several run at once.
    pub fn start_on(
        port: u16,
        kind: Kind,
        keeping: Keeping,
        cores: Cores,
        io_threads: usize,
        options: &[&str],
    ) -> Server {
        let directory = data_directory(port);
        let mut command = command(kind, keeping, port, io_threads);
        // No server finds a dump that another has left.
        command.current_dir(&directory).args(options);
        pin(&mut command, cores);
        let child = command.stdout(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        let server = Server { command, child, kind, port, directory };
        server.wait_until_it_listens();
        server
    }

    /// Ends the process with a signal, and starts it again on the same data; returns when that was. It may not be
    /// ready yet.
    pub fn restart(&mut self, signal: i32) -> Instant {
        // SAFETY: a signal to a process that was started here, and that nobody has waited for.
        let sent = unsafe { libc::kill(self.child.id() as i32, signal) };
        assert_eq!(sent, 0, "the server runs");
        self.child.wait().expect("the server ends");
        let started = Instant::now();
        self.child = self.command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.kind.name()));
        started
    }

    /// What the system counts as this process's memory.
    pub fn resident_bytes(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server runs");
        let kilobytes = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kilobytes.and_then(|number| number.trim().parse::<u64>().ok()).expect("the kernel counts memory") * 1024
    }

    pub fn port(&self) -> u16 {
        self.port
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

    /// The same with threads that have ended, in steps of the kernel's clock (10 ms).
    pub fn cpu_time_of_all(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the server runs");
        // The name of the program is in parentheses, and may have spaces in it. Fields 14 and 15 of proc(5).
        let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        // SAFETY: asks for a constant.
        let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64)
    }

    /// What the process has had written to disk so far.
    pub fn bytes_written(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/io", self.child.id())).expect("the server runs");
        let bytes = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok());
        bytes.expect("the kernel counts what is written")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the next measurement would have noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Beside this program, so on the disk that builds are on: a temporary directory may be no disk at all.
fn data_directory(port: u16) -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    let directory = program.with_file_name(format!("bench-data-{port}"));
    // An earlier run may have been killed.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    directory
}

fn command(kind: Kind, keeping: Keeping, port: u16, io_threads: usize) -> Command {
    let (port, threads) = (port.to_string(), io_threads.to_string());
    match kind {
        Kind::Redis => {
            let mut command = Command::new("redis-server");
            command.args(["--port", &port, "--save", "", "--io-threads", &threads]);
            command.args(["--io-threads-do-reads", if io_threads > 1 { "yes" } else { "no" }]);
            match keeping {
                Keeping::Memory => command.args(["--appendonly", "no"]),
                Keeping::Disk(fsync) => command.args(["--appendonly", "yes", "--appendfsync", fsync]),
            };
            command
        }
        Kind::Basalt => {
            let path = std::env::var("BASALT_BIN").expect("BASALT_BIN is the path of the basalt binary");
            // It is started in a directory of its own.
            let mut command = Command::new(fs::canonicalize(&path).unwrap_or_else(|error| panic!("{path}: {error}")));
            command.args(["--port", &port, "--save", "", "--io-threads", &threads]);
            match keeping {
                Keeping::Memory => command.args(["--mode", "cache"]),
                Keeping::Disk(fsync) => command.args(["--mode", "durable", "--fsync", fsync]),
            };
            command
        }
        Kind::Null => {
            let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
            command.args(["--null-server", &port]);
            command
        }
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
