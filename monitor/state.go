package monitor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/observe"
	"github.com/espra/protoplex/nodes"
)

// saved is the state file. It is a help, not a truth: DNS holds the homes, and
// the other vantages know what was sent. So a file that is lost, or older than
// the world, costs a page too many at worst.
type saved struct {
	Format     int                  `json:"format"`
	At         time.Time            `json:"at"`
	Generation uint64               `json:"generation"` // upper half of the sequence numbers of this run
	Floors     map[string]uint64    `json:"floors"`     // last sequence number of each peer
	Incidents  map[string]*Incident `json:"incidents"`  // by subject
	Past       []*Incident          `json:"past"`       // oldest first
	Alive      *Incident            `json:"alive"`
	Silences   []decide.Silence     `json:"silences"`
	Homes      map[string]home.Home `json:"homes"` // last known, by host
}

const (
	stateFormat = 1
	maxState    = 64 << 20 // far above what it takes when all targets are down for long
	sumPrefix   = "sha256 "
	// saveLimit is how long people are left asleep for a disk that does not answer.
	saveLimit = 5 * time.Second
)

// sealState puts a line behind the state that tells whether a disk gives back what
// it got: a bit that flips in an epoch would move names for ever.
func sealState(text []byte) []byte {
	return fmt.Appendf(text, "\n%s%x\n", sumPrefix, sha256.Sum256(text))
}

// unsealState is the opposite. A file without the line is one of an earlier version.
func unsealState(text []byte) ([]byte, error) {
	body, seal, ok := bytes.Cut(text, []byte("\n"))
	if ok && !bytes.Equal(sealState(bytes.Clone(body)), text) {
		return nil, fmt.Errorf("read state: damaged, %d bytes before %q", len(body), seal[:min(len(seal), len(sumPrefix))])
	}
	return body, nil
}

func loadState(d nodes.Disk, name string) (saved, error) {
	text, err := nodes.ReadFile(d, name, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return saved{}, nil
	}
	if err != nil {
		return saved{}, fmt.Errorf("read state: %w", err)
	}
	return parseState(text)
}

func parseState(text []byte) (saved, error) {
	var s saved
	text, err := unsealState(text)
	if err != nil {
		return saved{}, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return saved{}, fmt.Errorf("read state: %w", err)
	}
	if s.Format != stateFormat {
		return saved{}, fmt.Errorf("read state: format %d, not %d", s.Format, stateFormat)
	}
	for subject, i := range s.Incidents {
		if i == nil || i.Subject != subject {
			return saved{}, fmt.Errorf("read state: no incident of %q", subject)
		}
	}
	if slices.Contains(s.Past, nil) {
		return saved{}, errors.New("read state: an empty incident")
	}
	return s, nil
}

// restore takes up what the last run of this vantage left.
func (v *vantage) restore() {
	s, err := loadState(v.m.Disk(), v.cfg.State)
	if err != nil {
		// Better to watch without a memory than not to watch.
		v.log.Error("state file not usable, starting without it", "error", err)
		s = saved{}
	}
	wall, now := v.m.Now(), v.m.Elapsed()
	// Sequence numbers must grow over restarts, also over the loss of the file.
	generation := max(s.Generation+1, uint64(max(wall.Unix(), 0)))
	v.sequence = generation << 24
	v.board = observe.NewBoard(s.Floors)
	v.incidents, v.past, v.alive, v.homes = map[string]*Incident{}, s.Past, s.Alive, s.Homes
	if v.alive == nil {
		v.alive = &Incident{}
	}
	if v.homes == nil {
		v.homes = map[string]home.Home{}
	}
	subjects := map[string]decide.Subject{}
	for name, i := range s.Incidents {
		// What this file says of long ago was finished by others. If it was not,
		// they claim it, and it is taken up again under its name.
		age := wall.Sub(s.At)
		old := len(v.cfg.Peers) > 0 && (age < 0 || age > v.params.Reopen)
		if old || !slices.Contains(v.cfg.subjects(), name) {
			v.bury(i)
			continue
		}
		i.closed = now
		for k, t := range i.Texts {
			if t.By == v.cfg.Name && t.State == observe.Begun {
				i.Texts[k].State = observe.Unclear // it died while sending
			}
		}
		v.incidents[name] = i
		subject := decide.Subject{Incident: decide.Incident{ID: i.ID, Since: i.Since}, Flapping: i.Flapping}
		if i.Open {
			subject.Status = decide.Down
		}
		subjects[name] = subject
	}
	slices.SortStableFunc(v.past, func(a, b *Incident) int { return a.Since.Compare(b.Since) })
	v.verdicts = decide.Restore(now, subjects)
	v.hush(s.Silences)
	for _, c := range v.cfg.Silences {
		v.hush([]decide.Silence{c.silence()})
	}
	v.changed()
}

// changed notes that the state file is behind.
func (v *vantage) changed() {
	select {
	case v.unsaved <- struct{}{}:
	default:
	}
}

// saveChanges writes the state file if it is behind, and from time to time all
// the same, so that its age tells how long the vantage was away.
func (v *vantage) saveChanges(ctx context.Context) {
	v.mu.Lock()
	age := v.m.Elapsed() - v.savedAt
	v.mu.Unlock()
	if len(v.unsaved) > 0 || age >= v.params.Reopen/4 {
		v.save(ctx, "changes")
	}
}

var errSlowDisk = errors.New("the disk does not answer")

// save writes the state file. Callers wait for one another, but for a disk only so
// long; then the file is written when the disk comes back. The label tells
// concurrent callers apart.
func (v *vantage) save(ctx context.Context, label string) {
	ctx, cancel := nodes.Timeout(ctx, v.m, "save "+label, saveLimit)
	defer cancel()
	select {
	case v.saving <- struct{}{}:
	case <-ctx.Done():
		v.saved(errSlowDisk)
		return
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-v.saving }()
		done <- v.store()
	}()
	select {
	case err := <-done:
		v.saved(err)
	case <-ctx.Done():
		v.saved(errSlowDisk)
	}
}

// saved notes whether the state could be saved. What changes is told.
func (v *vantage) saved(err error) {
	v.mu.Lock()
	was := v.unkept
	v.unkept = err != nil
	v.mu.Unlock()
	switch {
	case err != nil && !was:
		v.log.Error("state not saved", "error", err)
	case err == nil && was:
		v.log.Info("state saved again")
	}
	if err != nil {
		v.changed()
	}
}

// store writes the state file as it should be now.
func (v *vantage) store() error {
	select {
	case <-v.unsaved:
	default:
	}
	floors := v.board.Floors()
	delete(floors, v.cfg.Name)
	at := v.m.Now().UTC()
	v.mu.Lock()
	v.savedAt = v.m.Elapsed()
	text, err := json.Marshal(saved{stateFormat, at, v.sequence >> 24, floors, v.incidents, v.past, v.alive, v.silences, v.homes})
	v.mu.Unlock()
	if err != nil {
		return err
	}
	return storeState(v.m.Disk(), v.cfg.State, sealState(text))
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
