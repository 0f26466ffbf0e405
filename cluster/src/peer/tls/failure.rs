//! Why a handshake failed, in words by which an operator knows which side to look at.

use std::io::{Error as IoError, ErrorKind};

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

use super::super::connection::Closed;

/// A handshake of the side that dials.
pub fn of_dialer(error: &IoError) -> Closed {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Closed::NoTlsAnswer,
        _ => closed(error),
    }
}

/// A handshake of the side that is dialled.
pub fn of_acceptor(error: &IoError) -> Closed {
    match error.kind() {
        ErrorKind::UnexpectedEof => Closed::Tls("it has gone in the middle of the TLS handshake".to_owned()),
        _ => closed(error),
    }
}

fn closed(error: &IoError) -> Closed {
    match tls_error(error) {
        Some(error) => Closed::Tls(why(error)),
        None => Closed::Tls(error.to_string()),
    }
}

/// What rustls says, if it is rustls that says it.
pub fn tls_error(error: &IoError) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// What an error on an encrypted connection means.
pub fn why(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => format!("its certificate is not accepted: {}", about_certificate(error)),
        Error::NoCertificatesPresented => "it shows no certificate".to_owned(),
        Error::AlertReceived(alert) => about_alert(*alert),
        Error::InvalidMessage(_) => "it does not speak TLS: has it `tls-cluster yes`?".to_owned(),
        other => format!("TLS: {other}"),
    }
}

/// What is wrong with a certificate. Goes on after a colon.
pub fn about_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is the clock right?".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no authority of `tls-ca-cert-file` or `tls-ca-cert-dir` has signed it".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for both sides of a connection: its extended key usage must have serverAuth and clientAuth, or \
             be left out"
                .to_owned()
        }
        // Known by their names alone, unless one names a further crate.
        CertificateError::Other(other) => match other.to_string().as_str() {
            "CaUsedAsEndEntity" => {
                "it is an authority's (CA:TRUE); a node needs one of its own that the authority has signed".to_owned()
            }
            "UnsupportedCertVersion" => "it is not of X.509 version 3; give it any extension".to_owned(),
            other => other.to_owned(),
        },
        other => other.to_string(),
    }
}

/// What the other side says before it closes.
fn about_alert(alert: AlertDescription) -> String {
    let what = match alert {
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "no authority of its `tls-ca-cert-file` or `tls-ca-cert-dir` has signed it"
        }
        AlertDescription::CertificateExpired => "it has expired, or is not valid yet by the clock there",
        AlertDescription::UnsupportedCertificate => "it is not for this side of a connection",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied => "see its log",
        AlertDescription::CertificateRequired => "it wants to see one",
        other => return format!("it has ended the TLS handshake: {other:?}"),
    };
    format!("it does not accept this node's certificate: {what}")
}
