package keep

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/espra/protoplex/monitor/zone"
)

// maxShown bounds a value in a line.
const maxShown = 100

// show is a record's value, for people.
func show(r zone.Record) string {
	value := r.Value
	if len(value) > maxShown {
		value = fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(value[:maxShown], ""), len(value))
	}
	if quoted := strconv.QuoteToGraphic(value); r.Type == "TXT" || quoted != `"`+value+`"` {
		value = quoted
	}
	ttl := strings.TrimSuffix(r.TTL.String(), "m0s") // 1m0s is 1m, 1h0m0s is 1h
	if ttl != r.TTL.String() {
		ttl = strings.TrimSuffix(ttl+"m", "h0m")
		if !strings.HasSuffix(ttl, "m") {
			ttl += "h"
		}
	}
	return fmt.Sprintf("%s (%s)", value, ttl)
}

// Write prints a proposal: what is added (+), changed (~), deleted (-), taken
// over (=) and left to others (.), at each provider.
func (p *Proposal) Write(w io.Writer) {
	for _, plan := range p.Plans {
		plan.write(w)
	}
	fmt.Fprintf(w, "plan %s: %s\n", p.ID, count(p.Changes(), "change"))
}

func (p Plan) write(w io.Writer) {
	if p.Unknown {
		fmt.Fprintf(w, "%s: not known\n", p.Provider)
		return
	}
	ops := map[zone.Op]int{}
	marks := 0
	for _, c := range p.Changes {
		if strings.HasPrefix(c.Record.Name, markLabel) {
			marks++
		} else {
			ops[c.Op]++
		}
	}
	fmt.Fprintf(w, "%s: %d to add, %d to change, %d to delete, %s to write; %d as wanted, %d foreign, %d of the monitors\n",
		p.Provider, ops[zone.Create], ops[zone.Update], ops[zone.Delete], count(marks, "mark"), p.Same, len(p.Foreign), p.Homes)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range p.Adopted {
		fmt.Fprintf(t, "  =\t%s\t%s\t%s is taken over\n", r.Name, r.Type, show(r))
	}
	for _, c := range p.Changes {
		switch {
		case c.Op == zone.Create:
			fmt.Fprintf(t, "  +\t%s\t%s\t%s\n", c.Record.Name, c.Record.Type, show(c.Record))
		case c.Op == zone.Delete:
			fmt.Fprintf(t, "  -\t%s\t%s\t%s\n", c.Record.Name, c.Record.Type, show(c.Record))
		case c.Was.Type != c.Record.Type:
			fmt.Fprintf(t, "  ~\t%s\t%s\t%s -> %s %s\n", c.Record.Name, c.Was.Type, show(c.Was), c.Record.Type, show(c.Record))
		default:
			fmt.Fprintf(t, "  ~\t%s\t%s\t%s -> %s\n", c.Record.Name, c.Record.Type, show(c.Was), show(c.Record))
		}
	}
	for _, r := range p.Foreign {
		fmt.Fprintf(t, "  .\t%s\t%s\t%s is foreign\n", r.Name, r.Type, show(r))
	}
	t.Flush()
}

// WriteOutcomes prints what is where after an apply, and what to do about it.
func WriteOutcomes(w io.Writer, outcomes []Outcome) {
	all, some := true, false
	var missing []string
	for _, o := range outcomes {
		switch {
		case o.Untried:
			fmt.Fprintf(w, "%s: 0 of %s made: not tried, as the one before failed\n", o.Provider, count(o.Of, "change"))
		case o.Err != nil:
			fmt.Fprintf(w, "%s: %d of %s made: %v\n", o.Provider, o.Made, count(o.Of, "change"), o.Err)
		case o.Of == 0:
			fmt.Fprintf(w, "%s: nothing to change\n", o.Provider)
		case len(o.Behind) > 0:
			fmt.Fprintf(w, "%s: %s made, but not shown everywhere yet:\n", o.Provider, count(o.Made, "change"))
		default:
			fmt.Fprintf(w, "%s: %s made, and read back at %s\n", o.Provider, count(o.Made, "change"), count(o.Servers, "name server"))
		}
		for _, b := range o.Behind {
			fmt.Fprintf(w, "  %v\n", b)
		}
		all = all && o.Done()
		some = some || o.Made > 0 || o.Of == 0
		if o.Made < o.Of {
			missing = append(missing, o.Provider)
		}
	}
	switch {
	case all:
	case len(missing) > 0 && some:
		fmt.Fprintf(w, "half applied: missing at %s; once the cause is gone, apply again to finish it\n", strings.Join(missing, ", "))
	case len(missing) > 0:
		fmt.Fprintln(w, "nothing was changed")
	default:
		fmt.Fprintln(w, "all was accepted; drift tells when every name server shows it")
	}
}

// Write prints all differences.
func (d *Drift) Write(w io.Writer) {
	for _, p := range d.Proposal.Plans {
		if p.Unknown || len(p.Changes) > 0 {
			p.write(w)
		} else {
			fmt.Fprintf(w, "%s: %d records are as in the file\n", p.Provider, p.Same)
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range d.Sights {
		bad := 0
		for _, x := range d.Differences {
			if x.Provider == s.Provider && x.Server == s.Server {
				bad++
			}
		}
		switch {
		case s.Serial == 0:
			fmt.Fprintf(t, "%s\t%s\tno answer\n", s.Provider, s.Server)
		default:
			fmt.Fprintf(t, "%s\t%s\tserial %d\t%s\t%s\n", s.Provider, s.Server, s.Serial, count(s.Sets, "set"), count(bad, "difference"))
		}
	}
	t.Flush()
	for _, x := range d.Differences {
		fmt.Fprintf(w, "  %v\n", x)
	}
	if d.None() {
		fmt.Fprintln(w, "no drift")
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
