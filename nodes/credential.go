package nodes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	credentialCheck = time.Minute
	credentialLimit = 1 << 20 // bytes of a file
	// How long before its end a certificate should have been renewed, if it is
	// valid for longer than three times that; else the last third of its time.
	renewBefore = 14 * 24 * time.Hour
	remindAfter = 24 * time.Hour
)

// Credential is what a process shows of itself to others, a certificate, from
// files on its disk that somebody renews from time to time. [Credential.Keep]
// reads them again now and then, so that no process has to start anew for it.
// Contents that cannot be used change nothing, and the log names the files.
//
// Its methods may be called from several goroutines.
type Credential struct {
	m     Machine
	names []string
	use   func(contents [][]byte) (*x509.Certificate, error)

	mu       sync.Mutex // of what follows; not held across reading
	contents [][]byte
	leaf     *x509.Certificate
	refused  string        // what was last logged
	reminded time.Duration // when the end was last logged of; zero is never
}

// NewCredential reads the files and has them used, once now and once for each
// change, one call at a time. Use gets the contents in the order of the names,
// and gives the certificate whose end is looked at; after an error what was used
// before must stay.
func NewCredential(m Machine, use func(contents [][]byte) (*x509.Certificate, error), names ...string) (*Credential, error) {
	c := &Credential{m: m, names: names, use: use}
	if _, err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// Keep looks after the files until ctx ends: it reads them once a minute, and
// warns daily once a certificate should have been renewed. Only one Keep may run.
func (c *Credential) Keep(ctx context.Context) {
	c.remind()
	Every(ctx, c.m, "credential "+c.names[0], credentialCheck, func(context.Context) {
		c.Reload()
		c.remind()
	})
}

// Reload reads the files now. What becomes of that is in the log.
func (c *Credential) Reload() {
	changed, err := c.read()
	text := ""
	if err != nil {
		text = err.Error()
	}
	c.mu.Lock()
	again := text == c.refused
	c.refused = text
	c.mu.Unlock()
	switch {
	case err != nil && !again:
		c.m.Log().Error("certificate not reloaded", "files", strings.Join(c.names, " "), "error", err)
	case changed:
		c.m.Log().Info("certificate reloaded", "files", strings.Join(c.names, " "), "until", c.NotAfter().Format(time.RFC3339))
	}
}

// NotAfter is the end of the certificate that is in use.
func (c *Credential) NotAfter() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaf.NotAfter
}

func (c *Credential) read() (changed bool, err error) {
	var contents [][]byte
	for _, name := range c.names {
		text, err := ReadFile(c.m.Disk(), name, credentialLimit)
		if err != nil {
			return false, fmt.Errorf("nodes: certificate: %w", err)
		}
		contents = append(contents, text)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.EqualFunc(contents, c.contents, slices.Equal) {
		return false, nil
	}
	leaf, err := c.use(contents)
	if err != nil {
		return false, fmt.Errorf("nodes: certificate %s: %w", strings.Join(c.names, " "), err)
	}
	c.contents, c.leaf, c.reminded = contents, leaf, 0
	return true, nil
}

// remind logs of an end that is near.
func (c *Credential) remind() {
	now, elapsed := c.m.Now(), c.m.Elapsed()
	c.mu.Lock()
	left := c.leaf.NotAfter.Sub(now)
	due := left <= min(renewBefore, c.leaf.NotAfter.Sub(c.leaf.NotBefore)/3) &&
		(c.reminded == 0 || elapsed-c.reminded >= remindAfter)
	if due {
		c.reminded = max(elapsed, 1)
	}
	c.mu.Unlock()
	switch {
	case due && left <= 0:
		c.m.Log().Error("certificate has expired", "files", strings.Join(c.names, " "), "since", -left.Round(time.Second))
	case due:
		c.m.Log().Warn("certificate should be renewed", "files", strings.Join(c.names, " "), "left", left.Round(time.Second))
	}
}

// Certificate is the certificate of a TLS server, as a [Credential].
type Certificate struct {
	*Credential
	pair atomic.Pointer[tls.Certificate]
}

// NewCertificate reads a certificate chain and its key from one PEM file.
func NewCertificate(m Machine, name string) (*Certificate, error) {
	c := &Certificate{}
	var err error
	c.Credential, err = NewCredential(m, func(contents [][]byte) (*x509.Certificate, error) {
		pair, err := tls.X509KeyPair(contents[0], contents[0])
		if err != nil {
			return nil, err
		}
		c.pair.Store(&pair)
		return pair.Leaf, nil
	}, name)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Get is for [tls.Config].GetCertificate.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.pair.Load(), nil
}
