package live

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// crowd counts what each client has here, so that one of them cannot have it
// all. A client is an address, for IPv6 the network of 64 bits that it is in.
// Only clients that are here are remembered. It is guarded by the server's lock.
type crowd struct {
	guests, channels int // that one client may have
	by               map[string]*share
}

// share is what one client has.
type share struct{ guests, channels int }

// enter counts one more guest of a client.
func (c *crowd) enter(client string) {
	if c.by[client] == nil {
		c.by[client] = new(share)
	}
	c.by[client].guests++
}

func (c *crowd) leave(client string) {
	if s := c.by[client]; s.guests > 1 {
		s.guests--
	} else {
		delete(c.by, client)
	}
}

// crowded reports whether a client may have no more guests.
func (c *crowd) crowded(client string) bool {
	s := c.by[client]
	return s != nil && s.guests >= c.guests
}

// takeChannels changes the number of channels that the tunnels of a client, one
// of which is a guest, subscribe to. It gives false if they would be too many.
func (s *server) takeChannels(client string, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	share := s.crowd.by[client]
	if n > 0 && share.channels+n > s.crowd.channels {
		return false
	}
	share.channels += n
	return true
}

// turnAway answers one who is not admitted.
func turnAway(w http.ResponseWriter, e ending) {
	switch e.code {
	case CloseMoved:
		http.Error(w, e.text, http.StatusMisdirectedRequest)
	case ClosePolicy:
		w.Header().Set("Retry-After", "1")
		http.Error(w, e.text, http.StatusTooManyRequests)
	default:
		unavailable(w, e.text)
	}
}

// noChannel says why a channel cannot be made.
func noChannel(err error) ending {
	switch {
	case errors.Is(err, errTooMany):
		return ending{code: ClosePolicy, text: "too many new channels of one client"}
	case errors.Is(err, errNotOurs):
		return ending{code: CloseMoved, text: "moved, resume"}
	default:
		return ending{code: CloseFull, text: "too many channels"}
	}
}

// clientOf names who sent a request: the peer, or whom it forwards for if it is
// one of the proxies, which write one address.
func clientOf(r *http.Request, proxies []netip.Prefix) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr := peer.Addr().Unmap()
	forwarded := r.Header.Values("X-Forwarded-For")
	if len(forwarded) == 1 && within(addr, proxies) {
		if a, err := netip.ParseAddr(forwarded[0]); err == nil {
			addr = a.Unmap()
		}
	}
	if addr = addr.WithZone(""); addr.Is4() {
		return addr.String()
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return network.String()
}

func within(a netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// privateRanges are the addresses that nobody has on the Internet.
const privateRanges = "127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7"

// parsePrefixes reads networks, separated by commas. An empty text is none.
func parsePrefixes(s string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for part := range strings.SplitSeq(s, ",") {
		if part == "" && s == "" {
			break
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, fmt.Errorf("%q is not a network such as 10.0.0.0/8", part)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}
