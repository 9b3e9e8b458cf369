// Package ca is the small certificate authority of a cell: it mints the
// certificates by which the cell's nodes know one another on the meta port, and
// checks them.
//
// A certificate carries one name, the URI protoplex://CELL/ROLE/NAME, and no
// host names: a node is who it is wherever it stands. Both sides of a connection
// verify the other's: the authority, the dates by the machine's own clock, the
// cell, and the role and name where one particular node is meant. Each refusal
// is one of the errors of this package. All keys are Ed25519, whose signatures
// have one length.
//
// Randomness comes from the caller, so that nothing here decides where keys come
// from: tools that mint for production pass the reader of crypto/rand.
//
// Start reading at [New], which is the authority, then identity.go, which is a
// node's side.
package ca

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"strings"
	"time"
)

// Name is who a node is.
type Name struct {
	Cell string // us-east
	Role string // live
	Name string // of the machine or process, unique in its cell and role
}

const scheme = "protoplex://"

// String gives the name as the URI that certificates carry.
func (n Name) String() string { return scheme + n.Cell + "/" + n.Role + "/" + n.Name }

// Short is the name within its cell, ROLE/NAME.
func (n Name) Short() string { return n.Role + "/" + n.Name }

// ParseName reads a URI as String gives it.
func ParseName(uri string) (Name, error) {
	rest, ok := strings.CutPrefix(uri, scheme)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return Name{}, ErrIdentity
	}
	n := Name{Cell: parts[0], Role: parts[1], Name: parts[2]}
	return n, n.check()
}

func (n Name) check() error {
	for _, part := range [...]string{n.Cell, n.Role, n.Name} {
		if !validPart(part) {
			return ErrIdentity
		}
	}
	return nil
}

// validPart keeps names free of what would need escaping in a URI, a log or a
// label: 1 to 63 letters in lower case, digits, hyphens and dots, and a letter
// or digit at both ends.
func validPart(s string) bool {
	if len(s) == 0 || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		inner := i > 0 && i < len(s)-1
		if !alphanumeric && !(inner && (c == '-' || c == '.')) {
			return false
		}
	}
	return true
}

// Authority mints the certificates of one cell. It never changes, and its
// methods may be called concurrently if the entropy that they are given may.
type Authority struct {
	cell string
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

// New makes the authority of a cell, valid from notBefore to notAfter, cut to
// whole seconds.
func New(entropy io.Reader, cell string, notBefore, notAfter time.Time) (*Authority, error) {
	if !validPart(cell) {
		return nil, fmt.Errorf("ca: %q is no name for a cell", cell)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Protoplex cell " + cell},
		NotBefore:             wholeSeconds(notBefore),
		NotAfter:              wholeSeconds(notAfter),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	cert, key, err := mint(entropy, template, nil)
	if err != nil {
		return nil, fmt.Errorf("ca: authority of %s: %w", cell, err)
	}
	return &Authority{cell: cell, cert: cert, key: key}, nil
}

// Load reads an authority from what PEM gave.
func Load(file []byte) (*Authority, error) {
	cert, key, err := decode(file)
	if err != nil {
		return nil, fmt.Errorf("ca: load authority: %w", err)
	}
	cell, ok := strings.CutPrefix(cert.Subject.CommonName, "Protoplex cell ")
	if !ok || !validPart(cell) || !cert.IsCA {
		return nil, errors.New("ca: load authority: this is not the authority of a cell")
	}
	return &Authority{cell: cell, cert: cert, key: key}, nil
}

// Cell is whose authority this is.
func (a *Authority) Cell() string { return a.cell }

// PEM gives certificate and key as one file, to be kept secret.
func (a *Authority) PEM() ([]byte, error) { return encode(a.cert, a.key) }

// RootsPEM gives the certificate, for those who are to trust it.
func (a *Authority) RootsPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Node mints a certificate for a node of the cell, good for both ends of a
// connection, and gives it followed by its key as one PEM file. The dates must
// lie within the authority's own, and are cut to whole seconds.
func (a *Authority) Node(entropy io.Reader, role, name string, notBefore, notAfter time.Time) ([]byte, error) {
	n := Name{Cell: a.cell, Role: role, Name: name}
	if err := n.check(); err != nil {
		return nil, fmt.Errorf("ca: mint for %q: %w", n.Short(), err)
	}
	notBefore, notAfter = wholeSeconds(notBefore), wholeSeconds(notAfter)
	if notBefore.Before(a.cert.NotBefore) || notAfter.After(a.cert.NotAfter) {
		return nil, fmt.Errorf("ca: mint for %s: the authority itself is valid only from %s to %s", n.Short(),
			a.cert.NotBefore.Format(time.RFC3339), a.cert.NotAfter.Format(time.RFC3339))
	}
	uri, err := url.Parse(n.String())
	if err != nil {
		return nil, fmt.Errorf("ca: mint for %s: %w", n.Short(), err)
	}
	cert, key, err := mint(entropy, &x509.Certificate{
		Subject:               pkix.Name{CommonName: n.Short()},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:                  []*url.URL{uri},
		DNSNames:              []string{name}, // for clients that are no nodes, such as curl
	}, a)
	if err != nil {
		return nil, fmt.Errorf("ca: mint for %s: %w", n.Short(), err)
	}
	return encode(cert, key)
}

// wholeSeconds is a time as a certificate can hold it.
func wholeSeconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// mint makes a key and signs the template for it, by the authority or, without
// one, by the key itself.
func mint(entropy io.Reader, template *x509.Certificate, by *Authority) (*x509.Certificate, ed25519.PrivateKey, error) {
	if !template.NotAfter.After(template.NotBefore) {
		return nil, nil, errors.New("the certificate would never be valid")
	}
	var random [ed25519.SeedSize + 8]byte
	if _, err := io.ReadFull(entropy, random[:]); err != nil {
		return nil, nil, fmt.Errorf("draw random bytes: %w", err)
	}
	key := ed25519.NewKeyFromSeed(random[:ed25519.SeedSize])
	// With its highest bits 01 the number is positive and always eight bytes long.
	serial := binary.BigEndian.Uint64(random[ed25519.SeedSize:])&(1<<63-1) | 1<<62
	template.SerialNumber = new(big.Int).SetUint64(serial)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	// Ed25519 signs without randomness.
	der, err := x509.CreateCertificate(nil, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("sign: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("read back: %w", err)
	}
	return cert, key, nil
}

func encode(cert *x509.Certificate, key ed25519.PrivateKey) ([]byte, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	file := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	return append(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...), nil
}

// decode reads one certificate and its key.
func decode(file []byte) (*x509.Certificate, ed25519.PrivateKey, error) {
	var cert *x509.Certificate
	var key ed25519.PrivateKey
	for len(file) > 0 {
		var block *pem.Block
		if block, file = pem.Decode(file); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			if cert != nil {
				return nil, nil, errors.New("more than one certificate")
			}
			cert = c
		case "PRIVATE KEY":
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			var ok bool
			if key, ok = k.(ed25519.PrivateKey); !ok {
				return nil, nil, errors.New("the key is not Ed25519")
			}
		}
	}
	if cert == nil || key == nil {
		return nil, nil, errors.New("want one certificate and one key in PEM")
	}
	if public, ok := cert.PublicKey.(ed25519.PublicKey); !ok || !public.Equal(key.Public()) {
		return nil, nil, errors.New("the key is not the certificate's")
	}
	return cert, key, nil
}
