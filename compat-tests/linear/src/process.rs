//! One server as a process: started in a directory of its own, killed, paused, started again.

use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A process that exists, or could be started.
pub struct Process {
    pub address: SocketAddr,
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
        Ok(Process { address, program, args, directory, state: State::Ended })
    }

    /// Starts it, if it does not run. What it prints is kept in the directory.
    pub fn start(&mut self) -> Result<()> {
        if matches!(self.state, State::Ended) {
            let mut command = Command::new(&self.program);
            command.args(&self.args).current_dir(&self.directory).stdin(Stdio::null());
            command.stdout(self.output()?).stderr(self.output()?);
            self.state = State::Running(command.spawn()?);
        }
        Ok(())
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        if let State::Running(mut child) | State::Paused(mut child) = std::mem::replace(&mut self.state, State::Ended) {
            // It may have ended by itself, which is as good.
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
