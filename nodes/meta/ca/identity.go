package ca

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Why a peer is refused. The errors say nothing but this, whoever the peer is.
var (
	ErrNoCertificate = errors.New("ca: peer shows no certificate")
	ErrAuthority     = errors.New("ca: peer's certificate is not of this cell's authority")
	ErrDates         = errors.New("ca: peer's certificate has expired or is not valid yet")
	ErrIdentity      = errors.New("ca: certificate does not carry one name of the form protoplex://CELL/ROLE/NAME")
	ErrCell          = errors.New("ca: peer belongs to another cell")
	ErrRole          = errors.New("ca: peer has another role")
	ErrName          = errors.New("ca: peer has another name")
	errCertificate   = errors.New("ca: peer's certificate is not for this use")
)

// Identity is a node's own certificate, and the authority that it trusts. Both can
// be renewed, which later handshakes heed; the name never changes. Its methods may
// be called from several goroutines.
type Identity struct {
	name Name
	held atomic.Pointer[held]
}

type held struct {
	own   tls.Certificate
	roots *x509.CertPool
}

// Want is whom one expects at the other end. Empty fields are not looked at.
type Want struct {
	Roles []string // any of these
	Name  string
}

// NewIdentity reads a node's file, as Authority.Node gives it, and the cell's
// roots. The dates are not looked at.
func NewIdentity(node, roots []byte) (*Identity, error) {
	name, h, err := read(node, roots)
	if err != nil {
		return nil, err
	}
	id := &Identity{name: name}
	id.held.Store(h)
	return id, nil
}

// Renew replaces both by what is in these files, which must be of the same name.
// After an error nothing has changed.
func (id *Identity) Renew(node, roots []byte) error {
	name, h, err := read(node, roots)
	if err != nil {
		return err
	}
	if name != id.name {
		return fmt.Errorf("ca: the certificate is that of %s, not of %s", name, id.name)
	}
	id.held.Store(h)
	return nil
}

func read(node, roots []byte) (Name, *held, error) {
	cert, key, err := decode(node)
	if err != nil {
		return Name{}, nil, fmt.Errorf("ca: node certificate: %w", err)
	}
	name, err := NameOf(cert)
	if err != nil {
		return Name{}, nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		return Name{}, nil, errors.New("ca: no root certificate in PEM")
	}
	return name, &held{
		own:   tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert},
		roots: pool,
	}, nil
}

// Certificate is the node's own, as it is now.
func (id *Identity) Certificate() *x509.Certificate { return id.held.Load().own.Leaf }

// Name is who this node is.
func (id *Identity) Name() Name { return id.name }

// NameOf reads the name that a certificate carries, without verifying it.
func NameOf(cert *x509.Certificate) (Name, error) {
	if len(cert.URIs) != 1 {
		return Name{}, ErrIdentity
	}
	return ParseName(cert.URIs[0].String())
}

// ServerConfig is TLS for accepting nodes of this cell.
func (id *Identity) ServerConfig(now func() time.Time) *tls.Config {
	c := id.config(now, x509.ExtKeyUsageClientAuth, Want{})
	c.ClientAuth = tls.RequireAnyClientCert // which verify does the rest of
	c.SessionTicketsDisabled = true         // each connection is verified afresh
	return c
}

// ClientConfig is TLS for connecting to a node of this cell.
func (id *Identity) ClientConfig(now func() time.Time, want Want) *tls.Config {
	c := id.config(now, x509.ExtKeyUsageServerAuth, want)
	// What this leaves out is the match with a host name; verify does the rest.
	c.InsecureSkipVerify = true
	return c
}

func (id *Identity) config(now func() time.Time, use x509.ExtKeyUsage, want Want) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"http/1.1"},
		Time:       now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &id.held.Load().own, nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &id.held.Load().own, nil
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return ErrNoCertificate
			}
			_, err := id.verify(s.PeerCertificates[0], now(), use, want)
			return err
		},
	}
}

func (id *Identity) verify(cert *x509.Certificate, now time.Time, use x509.ExtKeyUsage, want Want) (Name, error) {
	_, err := cert.Verify(x509.VerifyOptions{Roots: id.held.Load().roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
	case errors.As(err, &unknown):
		return Name{}, ErrAuthority
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Name{}, ErrDates
	default:
		return Name{}, errCertificate
	}
	n, err := NameOf(cert)
	switch {
	case err != nil:
		return Name{}, err
	case n.Cell != id.name.Cell:
		return Name{}, ErrCell
	case len(want.Roles) > 0 && !slices.Contains(want.Roles, n.Role):
		return Name{}, ErrRole
	case want.Name != "" && n.Name != want.Name:
		return Name{}, ErrName
	}
	return n, nil
}
