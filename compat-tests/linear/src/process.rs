//! One server as a process: started in a directory of its own, killed, paused, started again.

use crate::network::Pid;
use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;

/// A process that exists, or could be started.
pub struct Process {
    pub address: SocketAddr,
    /// For those who look for it among the processes of the machine.
    pub pid: Pid,
    program: PathBuf,
    args: Vec<String>,
    directory: PathBuf,
    state: State,
}

enum State {
    Ended,
    Running(Child),
    Paused(Child),
}

impl Process {
    /// It runs in `directory`, which is made.
    pub fn new(address: SocketAddr, program: PathBuf, args: Vec<String>, directory: PathBuf) -> Result<Process> {
        std::fs::create_dir_all(&directory)?;
        Ok(Process { address, pid: Pid::default(), program, args, directory, state: State::Ended })
    }

    /// More options, from the next start on.
    pub fn extend_args(&mut self, args: impl IntoIterator<Item = String>) {
        self.args.extend(args);
    }

    /// Starts it, if it does not run. What it prints is kept in the directory.
    pub fn start(&mut self) -> Result<()> {
        if matches!(self.state, State::Ended) {
            let mut command = Command::new(&self.program);
            command.args(&self.args).current_dir(&self.directory).stdin(Stdio::null());
            command.stdout(self.output()?).stderr(self.output()?);
            let child = command.spawn()?;
            self.pid.store(child.id(), Relaxed);
            self.state = State::Running(child);
        }
        Ok(())
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        if let State::Running(mut child) | State::Paused(mut child) = std::mem::replace(&mut self.state, State::Ended) {
            // It may have ended by itself, which is as good.
            self.pid.store(0, Relaxed);
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it where it stands (SIGSTOP).
    pub fn pause(&mut self) -> Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Running(child) => {
                signal(&child, "STOP")?;
                State::Paused(child)
            }
            other => other,
        };
        Ok(())
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&mut self) -> Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Paused(child) => {
                signal(&child, "CONT")?;
                State::Running(child)
            }
            other => other,
        };
        Ok(())
    }

    /// Whether it has ended though nobody has killed it.
    pub fn has_died(&mut self) -> bool {
        match &mut self.state {
            State::Running(child) | State::Paused(child) => !matches!(child.try_wait(), Ok(None)),
            State::Ended => false,
        }
    }

    fn output(&self) -> Result<File> {
        OpenOptions::new().create(true).append(true).open(self.directory.join("output"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The standard library can only kill.
fn signal(child: &Child, name: &str) -> Result<()> {
    let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(Error::other(format!("kill -{name} has failed"))) }
}
