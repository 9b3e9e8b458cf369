package monitor

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/nodes/config"
)

const (
	maxSilences = 64                  // at one time
	maxAhead    = 90 * 24 * time.Hour // before a silence begins
	maxWhy      = 100                 // letters
)

// SilenceConfig is planned work that the configuration announces.
type SilenceConfig struct {
	Subject string    `yaml:"subject"` // region, target, vantage-NAME, or all
	From    time.Time `yaml:"from"`
	Until   time.Time `yaml:"until"`
	Why     string    `yaml:"why"`
	Keep    bool      `yaml:"keep-homes,omitempty"` // no home moves because of the subject
}

// silence gives it the name that it has on every vantage.
func (c SilenceConfig) silence() decide.Silence {
	sum := sha256.Sum256(fmt.Append(nil, c.Subject, "\n", c.From.Unix(), "\n", c.Until.Unix(), "\n", c.Keep))
	return decide.Silence{
		ID: base32.StdEncoding.EncodeToString(sum[:])[:8], Subject: c.Subject, From: c.From.UTC(), Until: c.Until.UTC(),
		Why: c.Why, By: "configuration", Keep: c.Keep,
	}
}

// checkSilence says what is wrong with one.
func (c *Config) checkSilence(s decide.Silence) error {
	switch {
	case !slices.Contains(c.subjects(), s.Subject):
		return fmt.Errorf("nothing is called %q%s", s.Subject, config.Suggest(s.Subject, c.subjects()))
	case !s.Until.After(s.From):
		return fmt.Errorf("it ends at %s, which is not after its start", s.Until.Format(time.RFC3339))
	case s.Until.Sub(s.From) > decide.MaxSilence:
		return fmt.Errorf("it lasts %s; at most %s", s.Until.Sub(s.From), decide.MaxSilence)
	case s.Why == "" || len(s.Why) > maxWhy:
		return fmt.Errorf("say why, in 1 to %d letters", maxWhy)
	}
	return nil
}

// subjects lists what can have an incident, and Everything.
func (c *Config) subjects() []string {
	var names []string
	for _, t := range c.params().Targets {
		names = append(names, t.Subject())
	}
	names = append(names, decide.Blind, decide.Everything)
	slices.Sort(names)
	return slices.Compact(names)
}

// hush merges silences. The caller holds mu.
func (v *vantage) hush(silences []decide.Silence) {
	merged := decide.Merge(v.m.Now(), v.silences, silences)
	if !slices.Equal(merged, v.silences) {
		v.silences = merged
		v.changed()
	}
}

// silenced says that nobody is to be told of a subject now. The caller holds mu.
func (v *vantage) silenced(subject string, at time.Time) bool {
	_, ok := decide.Silenced(v.silences, subject, at)
	return ok
}

// silence takes up a new silence.
func (v *vantage) silence(s decide.Silence) error {
	now := v.m.Now()
	if err := v.cfg.checkSilence(s); err != nil {
		return err
	}
	if !s.Until.After(now) || s.From.Sub(now) > maxAhead {
		return fmt.Errorf("from %s until %s is over, or too far ahead", s.From.Format(time.RFC3339), s.Until.Format(time.RFC3339))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	active := 0
	for _, other := range v.silences {
		if other.Until.After(now) {
			active++
		}
	}
	if active >= maxSilences {
		return fmt.Errorf("there are %d silences already", active)
	}
	v.hush([]decide.Silence{s})
	v.news = true
	v.log.Info("silenced", "target", s.Subject, "until", s.Until.UTC().Format(time.RFC3339), "by", s.By, "why", s.Why)
	return nil
}

// lift ends all silences of a subject now, and says how many.
func (v *vantage) lift(subject, by string) int {
	now := v.m.Now().UTC()
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	lifted := slices.Clone(v.silences) // observations share the list
	for k, s := range lifted {
		if s.Subject == subject && s.Until.After(now) {
			lifted[k].Until = now
			n++
		}
	}
	if n > 0 {
		v.silences, v.news = lifted, true
		v.changed()
		v.log.Info("silence lifted", "target", subject, "by", by)
	}
	return n
}
