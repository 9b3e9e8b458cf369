package probe

import (
	"context"
	"errors"
	"fmt"
	"net/smtp"
	"net/textproto"

	"github.com/espra/protoplex/nodes"
)

type smtpOptions struct {
	server    string // host:port
	host      string // that its certificate is for
	plain     bool   // without TLS
	recipient string // address that must be accepted; may be empty
}

// mail makes a probe that greets a mail server, starts TLS, and perhaps asks
// whether it would take mail for an address. No message is sent: it leaves
// after RCPT (RFC 5321, section 4.1.1).
func mail(m nodes.Machine, name string, o Options, want smtpOptions) Probe {
	return func(ctx context.Context, _ uint64) Result {
		l := o.look(m, name)
		return l.result(l.greet(ctx, want))
	}
}

func (l *look) greet(ctx context.Context, want smtpOptions) error {
	conn, err := l.dial(ctx, want.server)
	if err != nil {
		return err
	}
	defer conn.Close()
	s := session{look: l, conn: conn}
	host := want.host
	if want.plain {
		host = ""
	}
	if err := s.open(ctx, host); err != nil {
		return err
	}
	if want.recipient != "" {
		err := s.step(ctx, Recipient, func() error {
			// The null sender, which every server takes (section 4.5.5).
			if err := s.client.Mail(""); err != nil {
				return fmt.Errorf("mail: %w", err)
			}
			return s.client.Rcpt(want.recipient)
		})
		if err != nil {
			return err
		}
	}
	// That the server says goodbye as well is not part of being well: what
	// people need from it has been seen.
	_ = s.step(ctx, "quit", s.client.Quit)
	l.phases = l.phases[:len(l.phases)-1]
	return nil
}

// session is one SMTP connection.
type session struct {
	*look
	conn   *bounded
	client *smtp.Client
}

// open reads the banner, says EHLO, and starts TLS with a host of that name, if
// there is one.
func (s *session) open(ctx context.Context, host string) error {
	err := s.step(ctx, Banner, func() (err error) {
		s.client, err = smtp.NewClient(s.conn, host)
		return err
	})
	if err != nil {
		return err
	}
	err = s.step(ctx, Hello, func() error { return s.client.Hello(s.self()) })
	if err != nil || host == "" {
		return err
	}
	if ok, _ := s.client.Extension("STARTTLS"); !ok {
		return failf("no STARTTLS")
	}
	return s.step(ctx, TLS, func() error { return s.client.StartTLS(s.config(host)) })
}

// step is a phase in which the server may also refuse.
func (s *session) step(ctx context.Context, name string, f func() error) error {
	return s.talk(ctx, name, s.conn, func() error {
		err := f()
		var refusal *textproto.Error
		if errors.As(err, &refusal) {
			return failf("%s: %d %.100s", name, refusal.Code, refusal.Msg)
		}
		return err
	})
}

// self is this machine's address literal (section 4.1.3), for a monitor need
// not have a name that leads back to it.
func (s *session) self() string {
	addr := s.m.Host().Addr
	if addr.Is6() && !addr.Is4In6() {
		return "[IPv6:" + addr.String() + "]"
	}
	return "[" + addr.Unmap().String() + "]"
}
