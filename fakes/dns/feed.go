package dns

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

// maxFeed bounds what an authority reads of a feed.
const maxFeed = 32 << 20

// feed is what a provider tells its name servers: GET /zones.
type feed struct {
	Version string     `json:"version"` // a hash of the zones, also the ETag
	Zones   []feedZone `json:"zones"`   // by origin
}

type feedZone struct {
	Origin string `json:"origin"`
	Serial uint32 `json:"serial"`
	Text   string `json:"text"`
}

// maxWait bounds how long a request may wait for a change.
const maxWait = 20 * time.Second

// Feed is the internal interface between a provider and its name servers. GET
// /zones gives all zones as text with a version. A request that already names
// that version as If-None-Match gets 304, with ?wait=20s only if nothing changes
// for so long.
func (p *Provider) Feed() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /zones", func(w http.ResponseWriter, r *http.Request) {
		wait := time.Duration(0)
		if s := r.FormValue("wait"); s != "" {
			var err error
			if wait, err = time.ParseDuration(s); err != nil || wait < 0 || wait > maxWait {
				http.Error(w, fmt.Sprintf("wait: want a duration of at most %v", maxWait), http.StatusBadRequest)
				return
			}
		}
		ctx, cancel := nodes.Timeout(r.Context(), p.m, "feed "+r.RemoteAddr, wait)
		defer cancel()
		for {
			zones, changed := p.watch()
			f := newFeed(zones)
			tag := `"` + f.Version + `"`
			w.Header().Set("ETag", tag)
			if r.Header.Get("If-None-Match") != tag {
				serve.WriteJSON(w, http.StatusOK, f)
				return
			}
			if wait == 0 {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				wait = 0
			}
		}
	})
	return mux
}

func newFeed(zones *Zones) feed {
	f := feed{Zones: []feedZone{}}
	hash := sha256.New()
	for _, z := range zones.All() {
		text := z.Text()
		io.WriteString(hash, text)
		f.Zones = append(f.Zones, feedZone{z.Origin(), z.Serial(), text})
	}
	f.Version = hex.EncodeToString(hash.Sum(nil)[:16])
	return f
}

// puller keeps an authority in step with a feed.
type puller struct {
	m         nodes.Machine
	client    *http.Client
	url       string
	every     time.Duration
	delay     time.Duration
	own       []*Zone // served beside those of the feed
	authority *Authority
}

// run polls every period until ctx ends, but waits for a first change to poll
// for. What was seen is served after the delay; the very first answer at once,
// because a server that has just started has no reason to go on serving
// something older.
func (p *puller) run(ctx context.Context) error {
	type seen struct {
		due   time.Duration
		zones *Zones
	}
	var waiting []seen
	var version string
	next := p.m.Elapsed()
	failing, heard := false, false // of a change, which the next poll sees
	for {
		if p.m.Elapsed() >= next {
			patience := time.Duration(0)
			if version != "" && !failing && !heard && len(waiting) == 0 {
				patience = maxWait
			}
			f, err := p.fetch(ctx, version, patience)
			heard = err == nil && f != nil && patience > 0
			for now := p.m.Elapsed(); next <= now; {
				next += p.every
			}
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				if !failing {
					p.m.Log().Warn("zone feed unavailable", "url", p.url, "error", err.Error())
				}
				failing = true
			default:
				if failing {
					p.m.Log().Info("zone feed available", "url", p.url)
				}
				failing = false
			}
			if err == nil && f != nil && !heard {
				zones, err := p.parse(f)
				if err != nil {
					p.m.Log().Error("zone feed refused", "url", p.url, "error", err.Error())
				} else {
					due := p.m.Elapsed()
					if version != "" {
						due += p.delay + p.authority.faults.lag(p.m.Host().Name)
					}
					waiting = append(waiting, seen{due, zones})
				}
				version = f.Version
			}
		}
		now := p.m.Elapsed()
		for len(waiting) > 0 && waiting[0].due <= now {
			p.authority.Set(waiting[0].zones)
			waiting = waiting[1:]
		}
		wake := next
		if len(waiting) > 0 {
			wake = min(wake, waiting[0].due)
		}
		if err := nodes.Sleep(ctx, p.m, "pull "+p.url, max(wake-now, 0)); err != nil {
			return nil
		}
	}
}

// fetch gives the feed, or nil when it is still of the given version after the
// patience.
func (p *puller) fetch(ctx context.Context, version string, patience time.Duration) (*feed, error) {
	ctx, cancel := nodes.Timeout(ctx, p.m, "fetch "+p.url, patience+p.every)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"?wait="+patience.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("fetch feed: %w", err)
	}
	if version != "" {
		req.Header.Set("If-None-Match", `"`+version+`"`)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch feed: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNotModified:
		return nil, nil
	case http.StatusOK:
	default:
		return nil, fmt.Errorf("fetch feed: %s", resp.Status)
	}
	f := new(feed)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxFeed)).Decode(f); err != nil {
		return nil, fmt.Errorf("decode feed: %w", err)
	}
	if f.Version == "" {
		return nil, errors.New("decode feed: no version")
	}
	return f, nil
}

func (p *puller) parse(f *feed) (*Zones, error) {
	zones := append([]*Zone(nil), p.own...)
	for _, fz := range f.Zones {
		z, err := ParseZone(fz.Text, fz.Origin)
		if err != nil {
			return nil, err
		}
		zones = append(zones, z)
	}
	return NewZones(zones...), nil
}
