//! What operators get wrong, and sockets at both ends of which the test sits.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rcgen::{BasicConstraints, IsCa, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::samples::{Authority, Folder, Pair};
use super::*;

/// A node's files, all good.
fn good(folder: &Folder, authority: &Authority) -> TlsFiles {
    with_pair(folder, authority, &authority.pair())
}

fn with_pair(folder: &Folder, authority: &Authority, pair: &Pair) -> TlsFiles {
    TlsFiles {
        certificate: folder.put("node.crt", &pair.certificate),
        key: folder.put("node.key", &pair.key),
        authorities: folder.put("ca.crt", &authority.pem()),
        ..TlsFiles::default()
    }
}

fn refused(files: &TlsFiles) -> String {
    match Tls::read(files) {
        Ok(_) => panic!("taken: {files:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn good_files_are_taken() {
    let (folder, authority) = (Folder::new(), Authority::new("a"));
    let files = good(&folder, &authority);
    assert!(Tls::read(&files).is_ok());
    // Either will do; what else lies there does no harm.
    let dir = folder.0.join("authorities");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("0123abcd.0"), authority.pem()).unwrap();
    std::fs::write(dir.join("README"), "no certificate").unwrap();
    let in_dir = TlsFiles { authorities: "".into(), authorities_dir: dir.clone(), ..files.clone() };
    assert!(Tls::read(&in_dir).is_ok());
    assert!(Tls::read(&TlsFiles { authorities_dir: dir, ..files }).is_ok(), "twice the same");
    let named = authority.pair_with(|params| params.extended_key_usages = vec![ServerAuth, ClientAuth]);
    assert!(Tls::read(&with_pair(&folder, &authority, &named)).is_ok());
}

#[test]
fn what_is_wrong_is_told_with_the_setting_and_the_file() {
    let (folder, authority) = (Folder::new(), Authority::new("a"));
    let files = good(&folder, &authority);
    let nonsense = folder.put("nonsense", "no PEM at all");
    let broken = folder.put("broken", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    let other_key = folder.put("other.key", &authority.pair().key);
    let locked = folder.put("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n");
    let missing = folder.0.join("missing");
    let empty = folder.0.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let certificate = |path: &PathBuf| TlsFiles { certificate: path.clone(), ..files.clone() };
    let key = |path: &PathBuf| TlsFiles { key: path.clone(), ..files.clone() };
    let authorities = |path: &PathBuf| TlsFiles { authorities: path.clone(), ..files.clone() };
    let directory =
        |path: &PathBuf| TlsFiles { authorities: PathBuf::new(), authorities_dir: path.clone(), ..files.clone() };
    let unset = PathBuf::new();
    let cases: [(TlsFiles, &[&str]); 14] = [
        (certificate(&unset), &["tls-cert-file is not set"]),
        (key(&unset), &["tls-key-file is not set"]),
        (authorities(&unset), &["tls-ca-cert-file is not set"]),
        (certificate(&missing), &["tls-cert-file: cannot read", "missing", "No such file"]),
        (key(&missing), &["tls-key-file: cannot read", "missing"]),
        (authorities(&missing), &["tls-ca-cert-file: cannot read", "missing"]),
        (directory(&missing), &["tls-ca-cert-dir: cannot read", "missing"]),
        (directory(&empty), &["tls-ca-cert-dir: ", "no file in it has a certificate"]),
        (certificate(&nonsense), &["tls-cert-file: ", "nonsense: there is no certificate in it"]),
        (certificate(&broken), &["tls-cert-file: ", "broken: this is no PEM"]),
        (authorities(&nonsense), &["tls-ca-cert-file: ", "nonsense: there is no certificate in it"]),
        (key(&files.certificate), &["tls-key-file: ", "there is no private key in it"]),
        (key(&other_key), &["tls-key-file: ", "other.key: it is not the key of the certificate in", "node.crt"]),
        (key(&locked), &["tls-key-file: ", "locked.key: the key is encrypted"]),
    ];
    for (files, expected) in cases {
        let error = refused(&files);
        assert!(expected.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn a_certificate_that_others_would_not_accept_is_not_taken() {
    let (folder, authority) = (Folder::new(), Authority::new("a"));
    let last_year = date_time_ymd(2001, 1, 1);
    let cases = [
        (authority.pair_with(|params| params.not_after = last_year), "it has expired"),
        (authority.pair_with(|params| params.not_before = date_time_ymd(4000, 1, 1)), "not valid yet"),
        (authority.pair_with(|params| params.extended_key_usages = vec![ServerAuth]), "serverAuth and clientAuth"),
        (authority.pair_with(|params| params.extended_key_usages = vec![ClientAuth]), "serverAuth and clientAuth"),
        (authority.pair_with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), "CA:TRUE"),
        (Authority::new("b").pair(), "no authority of `tls-ca-cert-file`"),
        (Authority::new("a").pair(), "no authority of `tls-ca-cert-file`"),
    ];
    for (pair, expected) in cases {
        let error = refused(&with_pair(&folder, &authority, &pair));
        assert!(
            error.starts_with("tls-cert-file: ") && error.contains("node.crt") && error.contains(expected),
            "{error}"
        );
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(20), test).await.expect("in time") })
}

/// Both ends of a connection before there is TLS.
async fn wire() -> (TcpStream, TcpStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (dialled.unwrap(), accepted.unwrap().0, address)
}

async fn both_ends(tls: &Tls) -> (Socket, Socket) {
    let (dialer, acceptor, address) = wire().await;
    let (dialer, acceptor) = tokio::join!(tls.dial(dialer, address), tls.accept(acceptor));
    (dialer.expect("a connection"), acceptor.expect("a connection"))
}

#[test]
fn both_ends_and_nobody_else_know_what_proofs_are_bound_to() {
    let tls = Authority::new("a").tls(&[]);
    run(async {
        let (dialer, acceptor) = both_ends(&tls).await;
        let binding = dialer.binding().unwrap();
        assert!(binding.is_some());
        assert_eq!(binding, acceptor.binding().unwrap());
        let (another, _acceptor) = both_ends(&tls).await;
        assert_ne!(binding, another.binding().unwrap());
    });
}

#[test]
fn what_is_written_and_flushed_arrives_and_the_end_is_told() {
    let tls = Authority::new("a").tls(&[]);
    run(async {
        let (mut dialer, mut acceptor) = both_ends(&tls).await;
        // More than all buffers on the way hold.
        let sent: Vec<u8> = (0..5_000_000u32).map(|number| (number % 251) as u8).collect();
        let write = async {
            dialer.write_all(&sent).await.unwrap();
            dialer.flush().await.unwrap();
            drop(dialer);
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(write, acceptor.read_to_end(&mut received));
        assert_eq!(read.unwrap(), sent.len());
        assert!(received == sent);
    });
}

#[test]
fn a_connection_that_is_cut_ends_like_any_other() {
    let tls = Authority::new("a").tls(&[]);
    run(async {
        let (mut dialer, mut acceptor) = both_ends(&tls).await;
        let Socket::Encrypted(stream) = &mut acceptor else { panic!("it is encrypted") };
        // The TCP connection ends, and TLS has not been told.
        stream.get_mut().0.shutdown().await.unwrap();
        assert_eq!(dialer.read(&mut [0; 16]).await.unwrap(), 0);
    });
}

#[test]
fn a_writer_waits_for_a_reader_and_holds_no_more_than_its_buffer() {
    let tls = Authority::new("a").tls(&[]);
    run(async {
        let (mut dialer, mut acceptor) = both_ends(&tls).await;
        let part = vec![1; 1 << 20];
        let mut taken = 0;
        // What the kernel takes is bounded, and so is what the session holds.
        while let Ok(count) = timeout(Duration::from_millis(200), dialer.write(&part)).await {
            taken += count.unwrap();
            assert!(taken < 1 << 28, "there is no end");
        }
        let Socket::Encrypted(stream) = &dialer else { panic!("it is encrypted") };
        assert!(stream.get_ref().1.wants_write(), "something waits in the session");
        let flush = async {
            dialer.flush().await.unwrap();
            drop(dialer);
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(flush, acceptor.read_to_end(&mut received));
        assert_eq!(read.unwrap(), taken, "what was taken arrives");
    });
}

#[test]
fn nothing_of_what_is_said_is_seen_on_the_way() {
    let marker = b"a secret that must not be seen";
    let tls = Authority::new("a").tls(&[]);
    run(async {
        let (dialer, to_acceptor, address) = wire().await;
        let (to_dialer, acceptor, _) = wire().await;
        // Everything that passes from the dialer to the acceptor is looked at on its way.
        let on_the_way = tokio::spawn(relay(to_acceptor, to_dialer));
        let (dialer, acceptor) = tokio::join!(tls.dial(dialer, address), tls.accept(acceptor));
        let (mut dialer, mut acceptor) = (dialer.unwrap(), acceptor.unwrap());
        dialer.write_all(marker).await.unwrap();
        dialer.flush().await.unwrap();
        let mut received = vec![0; marker.len()];
        acceptor.read_exact(&mut received).await.unwrap();
        assert_eq!(received, marker);
        drop((dialer, acceptor));
        let seen = on_the_way.await.unwrap();
        assert!(seen.len() > marker.len() && !seen.windows(8).any(|part| marker.windows(8).any(|said| said == part)));
    });
}

/// Passes on in both directions, and returns what went in the first one.
async fn relay(from: TcpStream, to: TcpStream) -> Vec<u8> {
    let ((mut from_reader, mut from_writer), (mut to_reader, mut to_writer)) = (from.into_split(), to.into_split());
    let mut seen = Vec::new();
    let there = async {
        let mut part = [0; 4096];
        loop {
            match from_reader.read(&mut part).await {
                Ok(count @ 1..) => {
                    seen.extend_from_slice(&part[..count]);
                    to_writer.write_all(&part[..count]).await.unwrap();
                }
                _ => return,
            }
        }
    };
    tokio::join!(there, async { tokio::io::copy(&mut to_reader, &mut from_writer).await.unwrap_or(0) });
    seen
}

#[test]
fn connections_take_nothing_over_from_former_ones() {
    let tls = Authority::new("a").tls(&[]);
    run(async {
        for _ in 0..3 {
            let (mut dialer, mut acceptor) = both_ends(&tls).await;
            // A ticket would come now.
            acceptor.write_all(b"x").await.unwrap();
            acceptor.flush().await.unwrap();
            assert_eq!(dialer.read(&mut [0; 16]).await.unwrap(), 1);
            let Socket::Encrypted(stream) = &dialer else { panic!("it is encrypted") };
            let kind = stream.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(tokio_rustls::rustls::HandshakeKind::Full));
        }
    });
}

#[test]
fn whoever_is_sent_away_hears_why() {
    let (a, b) = (Authority::new("a"), Authority::new("b"));
    let (mine, theirs) = (a.tls(&[]), b.tls(&[&a]));
    run(async {
        let (dialer, acceptor, address) = wire().await;
        let (dialer, acceptor) = tokio::join!(
            async {
                // For the dialer the handshake is over before the acceptor has looked at its certificate.
                let mut socket = theirs.dial(dialer, address).await?;
                socket.write_all(&[7; 10_000]).await?;
                socket.flush().await?;
                let count = socket.read(&mut [0; 16]).await?;
                panic!("{count} bytes were read");
            },
            mine.accept(acceptor)
        );
        let refusal = acceptor.err().expect("it is not accepted").to_string();
        assert!(refusal.contains("its certificate is not accepted: no authority of `tls-ca-cert-file`"), "{refusal}");
        let told: Result<(), Closed> = dialer;
        let told = told.unwrap_err().to_string();
        assert!(told.contains("it does not accept this node's certificate: no authority of its"), "{told}");
    });
}

#[test]
fn a_certificate_that_expires_while_the_node_runs_opens_nothing_more() {
    let (folder, authority) = (Folder::new(), Authority::new("a"));
    let soon = SystemTime::now() + Duration::from_secs(3);
    let pair = authority.pair_with(|params| params.not_after = soon.into());
    let tls = Tls::read(&with_pair(&folder, &authority, &pair)).expect("it is good for a moment");
    run(async {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
        loop {
            let (dialer, acceptor, address) = wire().await;
            let (dialer, _) = tokio::join!(tls.dial(dialer, address), tls.accept(acceptor));
            match dialer {
                Ok(_) => assert!(tokio::time::Instant::now() < deadline, "it is still good"),
                Err(closed) => return assert!(closed.to_string().contains("it has expired"), "{closed}"),
            }
        }
    });
}
