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
    child: Option<Child>,
}

impl Process {
    /// It runs in `directory`, which is made.
    pub fn new(address: SocketAddr, program: PathBuf, args: Vec<String>, directory: PathBuf) -> Result<Process> {
        std::fs::create_dir_all(&directory)?;
        Ok(Process { address, pid: Pid::default(), program, args, directory, child: None })
    }

    /// More options, from the next start on.
    pub fn extend_args(&mut self, args: impl IntoIterator<Item = String>) {
        self.args.extend(args);
    }

    /// Starts it, if it does not run. What it prints is kept in the directory.
    pub fn start(&mut self) -> Result<()> {
        if self.child.is_none() {
            let mut command = Command::new(&self.program);
            command.args(&self.args).current_dir(&self.directory).stdin(Stdio::null());
            command.stdout(self.output()?).stderr(self.output()?);
            let child = command.spawn()?;
            self.pid.store(child.id(), Relaxed);
            self.child = Some(child);
        }
        Ok(())
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            self.pid.store(0, Relaxed);
            // It may have ended by itself, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it where it stands.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on, if it stands.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// Whether it has ended though nobody has killed it.
    pub fn has_died(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// The standard library can only kill.
    fn signal(&self, name: &str) -> Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(Error::other(format!("kill -{name} has failed"))) }
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
