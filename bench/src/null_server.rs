//! The null server: counts requests by their `*`-lines as cheaply as possible and answers `+OK` to each.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

const EVENTS: usize = 64;

/// Serves until the process is killed.
pub fn run(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    listener.set_nonblocking(true).expect("a listener can be non-blocking");
    // SAFETY: plain system calls; the event array outlives each wait, and descriptors belong to live sockets.
    unsafe {
        let epoll = libc::epoll_create1(0);
        watch(epoll, listener.as_raw_fd(), 0);
        let mut clients: Vec<Option<TcpStream>> = vec![None];
        let mut buffer = vec![0; 64 * 1024];
        let mut events: [libc::epoll_event; EVENTS] = std::mem::zeroed();
        loop {
            let count = libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as i32, -1);
            for event in events.iter().take(count.max(0) as usize) {
                let index = event.u64 as usize;
                if index > 0 {
                    if !answer(clients[index].as_mut(), &mut buffer) {
                        clients[index] = None;
                    }
                    continue;
                }
                while let Ok((stream, _)) = listener.accept() {
                    // Without these the server still works, only slower.
                    let _ = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
                    watch(epoll, stream.as_raw_fd(), clients.len() as u64);
                    clients.push(Some(stream));
                }
            }
        }
    }
}

/// SAFETY: both descriptors must be open.
unsafe fn watch(epoll: i32, descriptor: i32, token: u64) {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
    // SAFETY: by the contract.
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, descriptor, &mut event) };
}

/// Whether the client is still there.
fn answer(client: Option<&mut TcpStream>, buffer: &mut [u8]) -> bool {
    let Some(client) = client else { return false };
    match client.read(buffer) {
        Ok(0) | Err(_) => false,
        Ok(length) => {
            let requests = buffer[..length].iter().filter(|byte| **byte == b'*').count();
            client.write_all(&b"+OK\r\n".repeat(requests)).is_ok()
        }
    }
}
