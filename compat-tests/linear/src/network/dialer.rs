//! Which process has opened a connection: the kernel's table of sockets says by which inode, and the open files of each
//! process say whose that is. So no node has to say who it is, and any protocol can be carried.

use super::Pid;
use std::fs;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::atomic::Ordering::Relaxed;

/// The index among `pids` of the one that has a socket with this local address.
pub fn find(address: SocketAddr, pids: &[Pid]) -> Option<usize> {
    let SocketAddr::V4(address) = address else { return None };
    let inode = inode_in(&fs::read_to_string("/proc/net/tcp").ok()?, address)?;
    let socket = format!("socket:[{inode}]");
    pids.iter().position(|pid| {
        let files = fs::read_dir(format!("/proc/{}/fd", pid.load(Relaxed))).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == socket.as_str())
    })
}

/// The table's columns: number, local address, remote address, state, three of queues and timers, user, timeout, inode.
fn inode_in(table: &str, address: SocketAddrV4) -> Option<u64> {
    // The address as the machine has it in memory, in hexadecimal digits.
    let ip = u32::from_ne_bytes(address.ip().octets());
    let local = format!("{ip:08X}:{:04X}", address.port());
    let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    columns.into_iter().find(|columns| columns.get(1) == Some(&&local[..])).and_then(|found| found.get(9)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_connection_of_this_process_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
        let pids: Vec<Pid> = [0, std::process::id()].map(|pid| Arc::new(AtomicU32::new(pid))).into();
        assert_eq!(find(stream.local_addr().expect("its address"), &pids), Some(1));
        assert_eq!(find("127.0.0.1:1".parse().expect("an address"), &pids), None);
    }
}
