package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
)

// A home record says which region a host lives in: the text of the TXT record
// at _home.<host>, "v=home1 region=us-east epoch=1". The epoch grows with
// every move, so that an old answer out of some cache is known for what it is.
type home struct {
	region string
	epoch  uint64
}

// parseHome reads the text of a record. Fields that it does not know are left
// for later versions.
func parseHome(text string) (home, error) {
	fields := strings.Fields(text)
	if len(text) > 255 || len(fields) == 0 || fields[0] != "v=home1" {
		return home{}, errors.New("live: not a home record")
	}
	var h home
	var hasEpoch bool
	for _, f := range fields[1:] {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "region":
			if h.region != "" || !ValidName(value) {
				return home{}, fmt.Errorf("live: home record: bad region %q", value)
			}
			h.region = value
		case "epoch":
			n, err := strconv.ParseUint(value, 10, 64)
			if hasEpoch || err != nil {
				return home{}, fmt.Errorf("live: home record: bad epoch %q", value)
			}
			h.epoch, hasEpoch = n, true
		}
	}
	if h.region == "" || !hasEpoch {
		return home{}, errors.New("live: home record without region or epoch")
	}
	return h, nil
}

// newest picks the record with the highest epoch out of those that can be read.
// Two of them that disagree say nothing.
func newest(texts []string) (home, bool) {
	var best home
	found, split := false, false
	for _, text := range texts {
		h, err := parseHome(text)
		switch {
		case err != nil:
		case !found || h.epoch > best.epoch:
			best, found, split = h, true, false
		case h.epoch == best.epoch && h.region != best.region:
			split = true
		}
	}
	return best, found && !split
}

// homes is what this node knows about where its hosts live.
type homes struct {
	region string

	mu    sync.Mutex
	known map[string]*homeState // by host; the hosts never change
}

type homeState struct {
	read   bool // a record was read since the start
	missed bool // before that one could not be
	home   home
}

func newHomes(region string, hosts []string) *homes {
	h := &homes{region: region, known: make(map[string]*homeState)}
	for _, host := range hosts {
		h.known[host] = new(homeState)
	}
	return h
}

// serves reports whether host is served here: it is one of ours, and nothing
// that was read says that it lives elsewhere.
func (h *homes) serves(host string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) == 0 {
		return true
	}
	s := h.known[host]
	return s != nil && (!s.read || s.home.region == h.region)
}

type change int

const (
	unchanged change = iota
	nowHere
	elsewhere // says the first record that was read
	movedAway // from here
	hereAgain // moved away and back, for all that is known, and only the latter was read
)

// firstEpoch is that of a host that has never moved.
const firstEpoch = 1

// learn takes the record that was read for a host.
func (h *homes) learn(host string, record home) change {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.known[host]
	before := *s
	if before.read && record.epoch <= before.home.epoch {
		return unchanged
	}
	s.read, s.home = true, record
	wasHere, isHere := before.read && before.home.region == h.region, record.region == h.region
	switch {
	case isHere && wasHere:
		return hereAgain // each epoch is a move
	case isHere && !before.read && before.missed && record.epoch > firstEpoch:
		return hereAgain // it may have moved since the start, when all were let in
	case isHere:
		return nowHere
	case wasHere:
		return movedAway
	case !before.read:
		return elsewhere
	default:
		return unchanged
	}
}

// miss notes that a host's record could not be read.
func (h *homes) miss(host string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known[host].missed = true
}

// checkHomes reads the home records of all hosts and acts on what they say.
func (s *server) checkHomes(ctx context.Context) {
	nodes.FanOut(ctx, s.m, "live/home", s.o.homes, func(ctx context.Context, host string) {
		ctx, cancel := nodes.Timeout(ctx, s.m, "live/home/"+host, 5*time.Second)
		defer cancel()
		texts, err := s.m.Lookup(ctx, "TXT", "_home."+host)
		if err != nil {
			var missing *net.DNSError
			s.homes.miss(host)
			s.m.Log().Debug("home unread", "host", host, "absent", errors.As(err, &missing) && missing.IsNotFound)
			return
		}
		record, ok := newest(texts)
		if !ok {
			s.homes.miss(host)
			s.m.Log().Warn("home unreadable", "host", host, "records", len(texts))
			return
		}
		s.setHome(host, record)
	})
}

func (s *server) setHome(host string, record home) {
	switch s.homes.learn(host, record) {
	case nowHere:
		s.m.Log().Info("home here", "host", host, "epoch", record.epoch)
	case hereAgain:
		n := s.moveAway(host)
		s.m.Log().Info("home here again", "host", host, "epoch", record.epoch, "tunnels", n)
	case elsewhere:
		n := s.moveAway(host) // clients whom an unread record let in
		s.m.Log().Info("home elsewhere", "host", host, "region", record.region, "epoch", record.epoch, "tunnels", n)
	case movedAway:
		n := s.moveAway(host)
		s.m.Log().Info("home moved", "host", host, "region", record.region, "epoch", record.epoch, "tunnels", n)
	}
}

// moveAway ends what was said here about a host. When its home returns, or has
// already, positions given out before are gaps, for others have gone on elsewhere.
func (s *server) moveAway(host string) (tunnels int) {
	return s.supersede(
		func(v *visit) bool { return v.host == host },
		func(key string) bool { return strings.HasPrefix(key, host+"/") })
}
