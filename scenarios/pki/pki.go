// Package pki mints the certificates of a simulated or local platform: one
// certificate authority and leaves under it, all Ed25519, as PEM.
//
// Ed25519 signatures have one length, so that the size of a TLS handshake, and
// with a limited bandwidth its duration, is the same in every run. Serial
// numbers count up from a fixed start for the same reason. Keys are random and
// never leave memory unless the caller writes them: an authority of this
// package is for tests and desks, not for the public.
//
// Start reading at [New]. It fails only when the validity is empty or the
// system gives no random bytes, Leaf and LeafUntil also without names.
package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"sync/atomic"
	"time"
)

// firstSerial gives all serial numbers the same length.
const firstSerial = 1 << 40

// CA is a certificate authority. Its methods may be called concurrently, but
// serial numbers follow the order of the calls.
type CA struct {
	cert   *x509.Certificate
	key    ed25519.PrivateKey
	serial atomic.Int64
}

// New makes an authority which, like all its leaves, is valid from notBefore to
// notAfter, in whole seconds.
func New(notBefore, notAfter time.Time) (*CA, error) {
	if !notAfter.After(notBefore) {
		return nil, errors.New("pki: certificates would never be valid")
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pki: make key of authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(firstSerial),
		Subject:               pkix.Name{CommonName: "Protoplex desk authority"},
		NotBefore:             notBefore.UTC(),
		NotAfter:              notAfter.UTC(),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, fmt.Errorf("pki: sign authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("pki: read back authority: %w", err)
	}
	return &CA{cert: cert, key: key}, nil
}

// Leaf mints a certificate for DNS names, which may start with "*.", and IP
// addresses, good for servers and clients. It gives the certificate followed by
// its key, as one PEM file.
func (ca *CA) Leaf(names ...string) ([]byte, error) { return ca.LeafUntil(ca.cert.NotAfter, names...) }

// LeafUntil is Leaf with an end of its own, in whole seconds.
func (ca *CA) LeafUntil(notAfter time.Time, names ...string) ([]byte, error) {
	if len(names) == 0 {
		return nil, errors.New("pki: a certificate needs a name")
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pki: make key for %s: %w", names[0], err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(firstSerial + ca.serial.Add(1)),
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    ca.cert.NotBefore,
		NotAfter:     notAfter.UTC(),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip, err := netip.ParseAddr(name); err == nil {
			template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, public, ca.key)
	if err != nil {
		return nil, fmt.Errorf("pki: sign certificate for %s: %w", names[0], err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("pki: encode key for %s: %w", names[0], err)
	}
	file := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...), nil
}

// RootsPEM gives the authority's own certificate, for those who are to trust it.
func (ca *CA) RootsPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}
