package keep

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/zone"
)

// held is a provider's zone in memory, in which steps are made.
type held struct {
	t       *testing.T
	records []zone.Record
	next    int
}

func (h *held) add(lines string) {
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		words := strings.SplitN(strings.TrimSpace(line), " ", 3)
		h.next++
		h.records = append(h.records, zone.Record{ID: fmt.Sprint(h.next), Name: words[0], Type: words[1], Value: words[2], TTL: time.Hour})
	}
}

func (h *held) make(c zone.Change) {
	switch c.Op {
	case zone.Create:
		h.next++
		c.Record.ID = fmt.Sprint(h.next)
		h.records = append(h.records, c.Record)
	default:
		var next []zone.Record
		for _, r := range h.records {
			switch {
			case r.ID != c.Record.ID:
				next = append(next, r)
			case c.Op == zone.Update:
				next = append(next, c.Record)
			}
		}
		h.records = next
	}
	count, aliases := map[string]int{}, map[string]int{}
	for _, r := range h.records {
		count[r.Name]++
		if r.Type == "CNAME" {
			aliases[r.Name]++
		}
	}
	for name, n := range aliases {
		require.True(h.t, n == 1 && count[name] == 1, "%s has something beside a CNAME after %v", name, c)
	}
}

func (h *held) plan(file string, retypes bool, permits Permits) (Plan, error) {
	c := testConfig(h.t)
	f, err := parseFile("z", "$TTL 1h\n"+file, c)
	require.NoError(h.t, err)
	v := view{provider: "here", records: h.records, retypes: retypes, fit: func(r zone.Record) (zone.Record, error) { return r, nil }}
	return makePlan(f, c, v, heldNames([]view{v}), permits)
}

func (h *held) values(name string) string {
	var all []string
	for _, r := range zone.Sort(append([]zone.Record(nil), h.records...)) {
		if r.Name == name {
			all = append(all, r.Type+" "+r.Value)
		}
	}
	return strings.Join(all, "; ")
}

const theirs = `
by-hand.espra.com A 203.0.113.9
www.espra.com CNAME us-east.elb.amazonaws.com
_home.www.espra.com TXT v=home1 region=us-east epoch=1
mixed.espra.com TXT by hand
_owner.other.espra.com TXT v=owner1 owner=somebody types=A
other.espra.com A 203.0.113.10`

// A plan that is stopped after any step and made anew ends in the same zone; on
// the way no name that stays is empty, and what is foreign is as it was.
func TestPlanResumes(t *testing.T) {
	before := "a A 192.0.2.1\na A 192.0.2.2\nb CNAME x\ngone A 192.0.2.3\nmixed A 192.0.2.4\nkeep MX 1 mail\n"
	after := "a CNAME x\nb A 192.0.2.1\nb AAAA ::1\nnew A 192.0.2.3\nmixed A 192.0.2.5\nkeep MX 1 mail\n"
	for stop := 0; ; stop++ {
		h := &held{t: t}
		h.add(theirs)
		plan, err := h.plan(before, true, Permits{})
		require.NoError(t, err)
		for _, c := range plan.Changes {
			h.make(c)
		}
		plan, err = h.plan(after, true, Permits{Percent: 100})
		require.NoError(t, err)
		for i, c := range plan.Changes {
			if i == stop {
				break
			}
			h.make(c)
			for _, name := range []string{"a.espra.com", "b.espra.com", "mixed.espra.com", "keep.espra.com"} {
				require.NotEmpty(t, h.values(name), "after %d: %v", i, c)
			}
		}
		done := stop >= len(plan.Changes)
		plan, err = h.plan(after, true, Permits{Percent: 100})
		require.NoError(t, err)
		for _, c := range plan.Changes {
			h.make(c)
		}
		require.Equal(t, "CNAME x.espra.com", h.values("a.espra.com"))
		require.Equal(t, "A 192.0.2.1; AAAA ::1", h.values("b.espra.com"))
		require.Equal(t, "A 192.0.2.5; TXT by hand", h.values("mixed.espra.com"))
		require.Empty(t, h.values("gone.espra.com")+h.values("_owner.gone.espra.com"))
		require.Equal(t, "TXT v=owner1 owner=espra types=A,AAAA", h.values("_owner.b.espra.com"))
		for _, line := range strings.Split(strings.TrimSpace(theirs), "\n") {
			name, value, _ := strings.Cut(line, " ")
			require.Contains(t, h.values(name), value)
		}
		plan, err = h.plan(after, true, Permits{})
		require.NoError(t, err)
		require.Empty(t, plan.Changes)
		require.Equal(t, 6, plan.Same)
		if done {
			return
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	owned := `
_owner.a.espra.com TXT v=owner1 owner=espra types=A
a.espra.com A 192.0.2.1`
	many := "_owner.a.espra.com TXT v=owner1 owner=espra types=A"
	for i := range 12 {
		many += fmt.Sprintf("\na.espra.com A 192.0.2.%d", i)
	}
	for name, c := range map[string]struct {
		have, file string
		permits    Permits
		want       error
	}{
		"foreign":            {theirs, "by-hand A 192.0.2.1", Permits{}, ErrForeign},
		"foreign, adopted":   {theirs, "by-hand A 192.0.2.1", Permits{Adopt: []string{"by-hand.espra.com"}}, nil},
		"foreign, the same":  {theirs, "by-hand A 203.0.113.9", Permits{}, nil},
		"another owner's":    {theirs, "other A 192.0.2.1", Permits{}, ErrForeign},
		"beside an alias":    {theirs, "mixed CNAME x", Permits{}, ErrForeign},
		"a home":             {theirs, "www CNAME x", Permits{Adopt: []string{"www.espra.com"}}, ErrHome},
		"a gap":              {owned, "a CNAME x", Permits{}, ErrGap},
		"a gap, permitted":   {owned, "a CNAME x", Permits{Gap: []string{"a.espra.com"}}, nil},
		"guard":              {many, "a A 192.0.2.1", Permits{}, zone.ErrGuard},
		"guard, not enough":  {many, "a A 192.0.2.1", Permits{Percent: 90}, zone.ErrGuard},
		"guard, permitted":   {many, "a A 192.0.2.1", Permits{Percent: 92}, nil},
		"most of a few":      {owned + "\na.espra.com A 192.0.2.2\na.espra.com A 192.0.2.3", "a A 192.0.2.1", Permits{}, nil},
		"all of a few":       {owned, "b A 192.0.2.1", Permits{}, zone.ErrGuard},
		"all, not enough":    {owned, "b A 192.0.2.1", Permits{Percent: 99}, zone.ErrGuard},
		"all, permitted":     {owned, "b A 192.0.2.1", Permits{Percent: 100}, nil},
		"another's mark, us": {theirs, "b A 192.0.2.1", Permits{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := &held{t: t}
			h.add(c.have)
			_, err := h.plan(c.file+"\n", false, c.permits)
			require.ErrorIs(t, err, c.want)
		})
	}
}

// A name that is permitted something and is not in the file is a mistake.
func TestPermitsNameTheFile(t *testing.T) {
	f, err := parseFile("z", "$TTL 1h\napi A 192.0.2.1\n", testConfig(t))
	require.NoError(t, err)
	require.NoError(t, Permits{Adopt: []string{"api.espra.com"}, Gap: []string{"api.espra.com"}}.Check(f))
	require.EqualError(t, Permits{Adopt: []string{"apo.espra.com"}}.Check(f), `--adopt "apo.espra.com": no such name in z; did you mean api.espra.com?`)
	require.EqualError(t, Permits{Gap: []string{"api"}}.Check(f), `--gap "api": no such name in z`)
}
