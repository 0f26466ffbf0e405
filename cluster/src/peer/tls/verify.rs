//! Whose certificates are good: those that the authorities have signed, for either side of a connection, at this time.
//!
//! No name in them is looked at: nodes change their addresses, and the cluster knows them by ids of its own. So whoever
//! has a certificate of these authorities can be a node, which is why they should sign for nothing else.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The authorities, as both sides of a connection ask them.
#[derive(Debug)]
pub struct Authorities {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    of_dialers: Arc<dyn ClientCertVerifier>,
}

impl Authorities {
    pub fn new(roots: Arc<RootCertStore>, provider: &Arc<CryptoProvider>) -> Result<Authorities, Error> {
        let of_dialers = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Authorities { roots, algorithms: provider.signature_verification_algorithms, of_dialers })
    }

    /// What an acceptor asks about those who dial.
    pub fn of_dialers(&self) -> Arc<dyn ClientCertVerifier> {
        self.of_dialers.clone()
    }

    /// Whether nodes with these authorities would take this for the certificate of a node, whichever side dials.
    pub fn accept(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let (own, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let nobody = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4])));
        self.verify_server_cert(own, intermediates, &nobody, &[], now)?;
        self.of_dialers.verify_client_cert(own, intermediates, now)?;
        Ok(())
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
