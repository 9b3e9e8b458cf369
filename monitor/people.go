package monitor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/strict"
)

// Admin is a person to page.
type Admin struct {
	Name  string `yaml:"name"`
	Phone string `yaml:"phone"`
}

// Level is whom to page once an incident has gone unacknowledged for a while.
type Level struct {
	After  time.Duration `yaml:"after"`
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

// checkPeople lists what is wrong with who is told what, when and how.
func (c *Config) checkPeople(file *strict.File) []error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, file.Errorf(path, format, args...)) }
	seen := map[string]bool{}
	for k, a := range c.Admins {
		path := fmt.Sprintf("admins[%d]", k)
		if !word.MatchString(a.Name) {
			bad(path+".name", "admin: %q must be 1 to 40 of a-z, 0-9, dot and dash", a.Name)
		}
		if seen[a.Name] {
			bad(path+".name", "admin: %q is given twice", a.Name)
		}
		seen[a.Name] = true
		if !phone.MatchString(a.Phone) {
			bad(path+".phone", "admin %s: %q is no number in international form", a.Name, a.Phone)
		}
	}
	if len(c.Admins) > 0 && len(c.SMS) == 0 {
		bad("sms", "sms: there are admins, and no provider to text them through")
	}
	providers := map[string]bool{}
	for k, p := range c.SMS {
		path := fmt.Sprintf("sms[%d]", k)
		if err := p.Check(); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				key, _, _ := strings.Cut(line, ":")
				bad(path+"."+key, "sms: %s", line)
			}
		}
		if providers[p.Name()] {
			bad(path, "sms: %q is given twice", p.Name())
		}
		providers[p.Name()] = true
	}
	told := map[string]bool{}
	for k, l := range c.Escalate {
		path := fmt.Sprintf("escalate[%d]", k)
		switch {
		case k == 0 && l.After != 0:
			bad(path+".after", "escalate: the first level is told at once: after: 0s")
		case k > 0 && l.After <= c.Escalate[k-1].After:
			bad(path+".after", "escalate: %s is not later than the level before", l.After)
		}
		if len(l.Admins) == 0 {
			bad(path+".admins", "escalate: nobody is told after %s", l.After)
		}
		for n, name := range l.Admins {
			at := fmt.Sprintf("%s.admins[%d]", path, n)
			switch {
			case !seen[name]:
				bad(at, "escalate: no admin is called %q%s", name, strict.Suggest(name, c.adminNames()))
			case told[name]:
				bad(at, "escalate: %q is told already", name)
			}
			told[name] = true
		}
	}
	if a := c.Alive; a != nil {
		if !slices.Contains(weekdays, a.Day) {
			bad("alive.day", "alive: %q is no day%s", a.Day, strict.Suggest(a.Day, weekdays))
		}
		if a.Hour < 0 || a.Hour > 23 {
			bad("alive.hour", "alive: hour %d is not 0 to 23", a.Hour)
		}
	}
	if c.Secret != "" && !strings.HasPrefix(c.Secret, "/") {
		bad("secret", "secret: %q is not an absolute file name", c.Secret)
	}
	if len(c.Escalate) > 1 && c.Secret == "" {
		bad("escalate", "escalate: without a secret nobody can acknowledge, so every page would reach the last level")
	}
	if len(c.Silences) > maxSilences {
		bad("silences", "silences: %d are more than %d", len(c.Silences), maxSilences)
	}
	for k, s := range c.Silences {
		if err := c.checkSilence(s.silence()); err != nil {
			bad(fmt.Sprintf("silences[%d]", k), "silence: %w", err)
		}
	}
	return errs
}
