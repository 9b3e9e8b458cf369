package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/nodes"
)

// saved is the state file. It is a help, not a truth: DNS holds the homes, and
// the other vantages know what was sent.
type saved struct {
	Generation uint64               `json:"generation"` // upper half of the sequence numbers of this run
	Floors     map[string]uint64    `json:"floors"`     // last sequence number of each peer
	Incidents  map[string]*incident `json:"incidents"`  // by subject
	Homes      map[string]home.Home `json:"homes"`      // last known, by host
}

// incident is what the actor keeps of one.
type incident struct {
	ID     string    `json:"id"`
	Since  time.Time `json:"since"`
	Open   bool      `json:"open"`
	Region bool      `json:"region"`
	Flaps  int       `json:"flaps"`
	Moved  bool      `json:"moved"` // homes left the region because of it
	Ended  time.Time `json:"ended"` // when all was well again, by this vantage's clock
	Over   bool      `json:"over"`  // Ended is final: the all-clear may go out
	Done   []string  `json:"done"`  // sorted keys of accepted messages

	opened time.Duration // when this vantage's verdict fell, or it restarted
	closed time.Duration // when Over became true
}

func loadState(d nodes.Disk, name string) (saved, error) {
	s := saved{Floors: map[string]uint64{}, Incidents: map[string]*incident{}, Homes: map[string]home.Home{}}
	text, err := nodes.ReadFile(d, name, 4<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read state: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read state: %w", err)
	}
	for subject, i := range s.Incidents {
		if i == nil {
			delete(s.Incidents, subject)
			continue
		}
		slices.Sort(i.Done)
	}
	return s, nil
}

func storeState(d nodes.Disk, name string, text []byte) error {
	if err := d.MkdirAll(path.Dir(name)); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	if err := nodes.WriteFile(d, name, text); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}
