package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/espra/protoplex/nodes"
)

// A certificate is a target of its own kind, and not a check of every https
// target: one that will expire next week is worth waking a person for, but the
// site behind it is up, and nothing must be moved away from it. So it has its
// own incident, with the days that are left.
//
// For the same reason a server that cannot be reached says nothing about its
// certificate: that is for other targets to tell.

const day = 24 * time.Hour

type certificateOptions struct {
	server   string // host:port
	host     string // that the certificate is for
	startTLS bool   // the server speaks SMTP
	days     int    // that it must have left
}

// certificate makes a probe that wants a valid certificate with days left.
func certificate(m nodes.Machine, name string, o Options, c certificateOptions) Probe {
	return func(ctx context.Context, _ uint64) Result {
		l := o.look(m, name)
		state, err := l.handshake(ctx, c)
		r := l.result(err)
		if err == nil {
			r.Note, r.Err = judge(state, m.Now(), c.days)
			return r
		}
		var invalid *tls.CertificateVerificationError
		if !errors.As(err, &invalid) {
			r.Err = fmt.Errorf("%w: %w", ErrUnseen, err)
			return r
		}
		now := m.Now()
		if leaf := invalid.UnverifiedCertificates[0]; now.After(leaf.NotAfter) {
			r.Err = failf("expired %s, %d days ago", leaf.NotAfter.UTC().Format(time.DateTime), int(now.Sub(leaf.NotAfter)/day))
		}
		return r
	}
}

func (l *look) handshake(ctx context.Context, c certificateOptions) (tls.ConnectionState, error) {
	var none tls.ConnectionState
	conn, err := l.dial(ctx, c.server)
	if err != nil {
		return none, err
	}
	defer conn.Close()
	if c.startTLS {
		s := session{look: l, conn: conn}
		if err := s.open(ctx, c.host); err != nil {
			return none, err
		}
		state, _ := s.client.TLSConnectionState()
		return state, nil
	}
	secure, err := l.secure(ctx, conn, c.host)
	if err != nil {
		return none, err
	}
	defer secure.Close()
	return secure.ConnectionState(), nil
}

// judge tells how long a validated certificate still holds: as long as the
// first certificate to expire of its chain, and of several chains the best.
func judge(state tls.ConnectionState, now time.Time, days int) (note string, err error) {
	var until time.Time
	for _, chain := range state.VerifiedChains {
		if end := firstEnd(chain); end.After(until) {
			until = end
		}
	}
	left := int(until.Sub(now) / day)
	note = fmt.Sprintf("expires %s, %d days left", until.UTC().Format(time.DateTime), left)
	if left < days {
		return note, failf("%s, want %d", note, days)
	}
	return note, nil
}

func firstEnd(chain []*x509.Certificate) time.Time {
	end := chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}
