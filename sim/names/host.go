package names

import (
	"context"
	"net"
	"time"
)

// Host is the machine that a resolver or a stub runs on. Its methods may be
// called concurrently. DialContext is only given addresses with IP literals and
// the networks "udp" and "tcp"; a dialled datagram socket delivers only what
// comes from the address it was dialled to.
type Host interface {
	Listen(network, address string) (net.Listener, error)
	ListenPacket(network, address string) (net.PacketConn, error)
	DialContext(ctx context.Context, network, address string) (net.Conn, error)

	// Rand gives the n-th random number of a name. Where runs are to replay it
	// is a pure function of the host, the name and n. It never blocks.
	Rand(name string, n uint64) uint64
}

// spread is the range of the shifts that keep two waits from ending at the same
// nanosecond, where chance would say which ends first.
const spread = 1 << 20 // nanoseconds

func shift(host Host, what string, n uint64) time.Duration {
	return time.Duration(1 + host.Rand("names/wait/"+what, n)%spread)
}

// pause waits, and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return ctx.Err() == nil
}
