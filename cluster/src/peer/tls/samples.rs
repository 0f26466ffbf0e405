//! Authorities and certificates for tests, made anew in each run.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::{Tls, TlsFiles};

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, key()).expect("a certificate"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn pair(&self) -> Pair {
        self.pair_with(|_| ())
    }

    /// A certificate that is particular in some way.
    pub fn pair_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = key();
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// What a node has whose certificate is of this authority, and that accepts those of others too.
    pub fn tls(&self, others: &[&Authority]) -> Tls {
        let pair = self.pair();
        let pems: Vec<String> = [self].iter().chain(others).map(|authority| authority.pem()).collect();
        let folder = Folder::new();
        let files = TlsFiles {
            certificate: folder.put("node.crt", &pair.certificate),
            key: folder.put("node.key", &pair.key),
            authorities: folder.put("ca.crt", &pems.concat()),
            ..TlsFiles::default()
        };
        Tls::read(&files).expect("good files")
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// A directory that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Relaxed);
        let path = std::env::temp_dir().join(format!("basalt-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Folder(path)
    }

    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
