//! What an operator gives: files with a certificate, its key and the authorities, in PEM.
//!
//! All that can be known to be wrong is found out here, before anything depends on it: a node that others would not
//! accept does not start, and a certificate that is changed while it runs is either good or not taken over.

use std::io::Error as IoError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, RootCertStore};

use super::failure::about_certificate;
use super::verify::Authorities;
use super::{Tls, provider};

/// Where a certificate, its key and the authorities are. What is not set is empty.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// The node's certificate, then those between it and an authority.
    pub certificate: PathBuf,
    /// The certificate's private key, not encrypted.
    pub key: PathBuf,
    /// Certificates of authorities, in a file and in the files of a directory: either will do.
    pub authorities: PathBuf,
    pub authorities_dir: PathBuf,
}

/// What the operator has to change. Names the setting and the file.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("{0} is not set; `tls-cluster yes` needs it")]
    NotSet(&'static str),
    #[error("{setting}: cannot read {}: {error}", path.display())]
    Unreadable { setting: &'static str, path: PathBuf, error: IoError },
    #[error("{setting}: {}: {why}", path.display())]
    Wrong { setting: &'static str, path: PathBuf, why: String },
}

const CERTIFICATE: &str = "tls-cert-file";
const KEY: &str = "tls-key-file";
const AUTHORITIES: &str = "tls-ca-cert-file";
const AUTHORITIES_DIR: &str = "tls-ca-cert-dir";

/// What stands in a file with a key that needs a password, in either form of it.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

impl Tls {
    /// Reads the files, and makes sure that nodes with the same authorities accept the certificate.
    ///
    /// # Errors
    /// What is wrong, and with which file.
    pub fn read(files: &TlsFiles) -> Result<Tls, TlsError> {
        let roots = Arc::new(authorities(files)?);
        let chain = chain(files)?;
        let provider = provider();
        let own = CertifiedKey::from_der(chain, key(files)?, &provider).map_err(|error| match error {
            Error::InvalidCertificate(_) => unusable(CERTIFICATE, &files.certificate, &error),
            Error::InconsistentKeys(_) => {
                let why = format!("it is not the key of the certificate in {}", files.certificate.display());
                wrong(KEY, &files.key, why)
            }
            other => wrong(KEY, &files.key, other.to_string()),
        })?;
        let unusable = |error| unusable(CERTIFICATE, &files.certificate, &error);
        let authorities = Authorities::new(roots.clone(), &provider).map_err(unusable)?;
        authorities.accept(&own.cert, UnixTime::now()).map_err(unusable)?;
        Tls::new(own, roots, provider).map_err(unusable)
    }
}

fn wrong(setting: &'static str, path: &Path, why: impl Into<String>) -> TlsError {
    TlsError::Wrong { setting, path: path.to_owned(), why: why.into() }
}

fn unusable(setting: &'static str, path: &Path, error: &Error) -> TlsError {
    match error {
        Error::InvalidCertificate(why) => wrong(setting, path, about_certificate(why)),
        other => wrong(setting, path, other.to_string()),
    }
}

/// The bytes of a file that has to be there.
fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    if path.as_os_str().is_empty() {
        return Err(TlsError::NotSet(setting));
    }
    std::fs::read(path).map_err(|error| TlsError::Unreadable { setting, path: path.to_owned(), error })
}

fn certificates(setting: &'static str, path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(setting, path, format!("this is no PEM: {error}")))
}

fn chain(files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let path = &files.certificate;
    let chain = certificates(CERTIFICATE, path, &read(CERTIFICATE, path)?)?;
    if chain.is_empty() { Err(wrong(CERTIFICATE, path, "there is no certificate in it")) } else { Ok(chain) }
}

fn key(files: &TlsFiles) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(KEY, &files.key)?;
    if bytes.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
        return Err(wrong(KEY, &files.key, "the key is encrypted; only plain ones are read"));
    }
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| wrong(KEY, &files.key, format!("there is no private key in it: {error}")))
}

/// Those of the file and of the directory together.
fn authorities(files: &TlsFiles) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (file, dir) = (&files.authorities, &files.authorities_dir);
    if file.as_os_str().is_empty() && dir.as_os_str().is_empty() {
        return Err(TlsError::NotSet(AUTHORITIES));
    }
    if !file.as_os_str().is_empty() {
        let found = certificates(AUTHORITIES, file, &read(AUTHORITIES, file)?)?;
        if found.is_empty() {
            return Err(wrong(AUTHORITIES, file, "there is no certificate in it"));
        }
        add(&mut roots, AUTHORITIES, file, found)?;
    }
    if !dir.as_os_str().is_empty() {
        for path in files_of(dir)? {
            // Other things may lie there, such as lists of revoked certificates.
            let found = certificates(AUTHORITIES_DIR, &path, &read(AUTHORITIES_DIR, &path)?)?;
            add(&mut roots, AUTHORITIES_DIR, &path, found)?;
        }
        if roots.is_empty() {
            return Err(wrong(AUTHORITIES_DIR, dir, "no file in it has a certificate"));
        }
    }
    Ok(roots)
}

fn add(
    roots: &mut RootCertStore,
    setting: &'static str,
    path: &Path,
    found: Vec<CertificateDer<'static>>,
) -> Result<(), TlsError> {
    let mut added = found.into_iter().map(|certificate| roots.add(certificate));
    added.try_for_each(|added| added.map_err(|error| unusable(setting, path, &error)))
}

/// The files of a directory, in the order of their names.
fn files_of(dir: &Path) -> Result<Vec<PathBuf>, TlsError> {
    let unreadable = |error| TlsError::Unreadable { setting: AUTHORITIES_DIR, path: dir.to_owned(), error };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
