package probe

import (
	"context"
	"io"

	"github.com/espra/protoplex/nodes"
)

// maxBanner bounds the banner that a target may want.
const maxBanner = 512

// tcp makes a probe that connects and, if there is a banner to want, reads as
// many bytes as that has.
func tcp(m nodes.Machine, name string, o Options, server, banner string) Probe {
	see := func(ctx context.Context, l *look) error {
		conn, err := l.dial(ctx, server)
		if err != nil {
			return err
		}
		defer conn.Close()
		if banner == "" {
			return nil
		}
		return l.talk(ctx, Banner, conn, func() error {
			got := make([]byte, len(banner))
			n, err := io.ReadFull(conn, got)
			if string(got) == banner {
				return nil
			}
			if n == 0 && err != nil {
				return err
			}
			return failf("banner begins with %.60q, want %.60q", got[:n], banner)
		})
	}
	return func(ctx context.Context, _ uint64) Result {
		l := o.look(m, name)
		return l.result(see(ctx, l))
	}
}
