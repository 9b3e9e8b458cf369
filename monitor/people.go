package monitor

import (
	"slices"
	"strings"
	"time"
)

// Admin is a person to page.
type Admin struct {
	Name  string `yaml:"name"`
	Phone string `yaml:"phone"`
}

// Level is whom to page once an incident has gone unacknowledged for a while.
type Level struct {
	After  time.Duration `yaml:"after,omitempty"`
	Admins []string      `yaml:"admins"` // names
}

// AliveConfig is when each admin is told, once a week, that the monitors live.
type AliveConfig struct {
	Day  string `yaml:"day"`  // monday to sunday
	Hour int    `yaml:"hour"` // 0 to 23, UTC
}

// weekdays are read-only.
var weekdays = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// last is the latest time at or before now at which the text was due.
func (a AliveConfig) last(now time.Time) time.Time {
	now = now.UTC()
	at := time.Date(now.Year(), now.Month(), now.Day(), a.Hour, 0, 0, 0, time.UTC)
	for at.After(now) || weekdays[at.Weekday()] != a.Day {
		at = at.AddDate(0, 0, -1)
	}
	return at
}

// vantagePrefix begins the names of subjects that are vantages.
const vantagePrefix = "vantage-"

// zonePrefix begins the names of subjects that are zones at their providers.
const zonePrefix = "zone-"

// isVantage says that a subject is a vantage, and not a target or a region of such a name.
func (c *Config) isVantage(subject string) bool {
	name, ok := strings.CutPrefix(subject, vantagePrefix)
	return ok && slices.Contains(c.vantages(), name)
}

// isZone says that a subject is a zone at its provider, likewise.
func (c *Config) isZone(subject string) bool {
	name, ok := strings.CutPrefix(subject, zonePrefix)
	return ok && slices.ContainsFunc(c.Providers, func(p Provider) bool { return p.Name == name })
}

// levels are whom to page and when. Without a list all admins are told at once.
func (c *Config) levels() []Level {
	if len(c.Escalate) == 0 {
		return []Level{{Admins: c.adminNames()}}
	}
	return c.Escalate
}

func (c *Config) adminNames() []string {
	var names []string
	for _, a := range c.Admins {
		names = append(names, a.Name)
	}
	return names
}

func (c *Config) admin(name string) Admin {
	i := slices.IndexFunc(c.Admins, func(a Admin) bool { return a.Name == name })
	return c.Admins[i] // checked when the configuration was read
}

// vantages are the names of all, sorted.
func (c *Config) vantages() []string {
	names := []string{c.Name}
	for _, p := range c.Peers {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}
