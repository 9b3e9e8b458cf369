package oracle

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Detected judges that the monitors held the fault's region to be down within a
// time of the fault. It counts the one fault.
func Detected(h History, f Fault, within time.Duration) Verdict {
	const name = "outage detected"
	var d docket
	if !slices.Contains(h.Faults, f) || f.From > h.Lasts || knownDown(h, f.Region, f.From-1, f.From-1) {
		return d.verdict(name, "no new outage", Span(within))
	}
	d.judged = 1
	i := slices.IndexFunc(h.Notices, func(n Notice) bool { return n.Region == f.Region && !n.Up && n.At >= f.From })
	if i < 0 {
		d.broke(f.From+within, "nobody at %s held %s to be down", Offset(f.From+within), f.Region)
		return d.verdict(name, "never", Span(within))
	}
	took := h.Notices[i].At - f.From
	if took > within {
		d.broke(f.From+within, "nobody at %s held %s to be down; %s did at %s", Offset(f.From+within), f.Region, h.Notices[i].By, Offset(h.Notices[i].At))
	}
	return d.verdict(name, Span(took), Span(within))
}

// Paging says how many texts an incident may cause.
type Paging struct {
	Admins      []string
	Others      []string      // admins too; those who are not in Admins are judged elsewhere
	From, Until time.Duration // texts accepted in [From, Until) belong to it
	Each        Range         // pages to each admin
	AllClear    Range         // all-clears to each admin
}

// Pages judges that each admin got as many pages, and as many all-clears, as
// the incident is worth, and none before anything was broken. It counts admins.
func Pages(h History, p Paging) Verdict {
	var d docket
	pages, clears := map[string]int{}, map[string]int{}
	first := firstFault(h)
	for _, t := range h.Texts {
		if slices.Contains(p.Others, t.To) && !slices.Contains(p.Admins, t.To) {
			continue
		}
		if t.At < first {
			d.broke(t.At, "%s at %s was sent %q before anything was broken", t.To, Offset(t.At), t.Body)
		}
		if t.At < p.From || t.At >= p.Until {
			continue
		}
		count, allowed := pages, p.Each
		if t.AllClear() {
			count, allowed = clears, p.AllClear
		}
		count[t.To]++
		if !slices.Contains(p.Admins, t.To) {
			d.broke(t.At, "%s at %s is no admin, but was sent %q", t.To, Offset(t.At), t.Body)
		} else if count[t.To] > allowed.Max {
			d.broke(t.At, "%s at %s was sent one too many: %q", t.To, Offset(t.At), t.Body)
		}
	}
	var each, clear []int
	for _, admin := range p.Admins {
		d.judged++
		each, clear = append(each, pages[admin]), append(clear, clears[admin])
		if pages[admin] < p.Each.Min {
			d.broke(p.Until, "%s by %s had %d of %d pages", admin, Offset(p.Until), pages[admin], p.Each.Min)
		}
		if clears[admin] < p.AllClear.Min {
			d.broke(p.Until, "%s by %s had %d of %d all-clears", admin, Offset(p.Until), clears[admin], p.AllClear.Min)
		}
	}
	name := "pages to each admin"
	if p.Others != nil {
		name = "pages to " + strings.Join(p.Admins, ", ")
	}
	return d.verdict(name,
		fmt.Sprintf("%s, all-clear %s", spread(each), spread(clear)),
		fmt.Sprintf("%s, all-clear %s", p.Each, p.AllClear))
}

// Acknowledged judges that within a time of the fault somebody followed the link of
// a page, said that they look after it, and was shown as who does. It counts those
// who did.
func Acknowledged(h History, f Fault, within time.Duration) Verdict {
	const name = "page acknowledged"
	var d docket
	measured := "never"
	for _, a := range h.Acks {
		if a.At < f.From {
			continue
		}
		if d.judged++; d.judged == 1 {
			measured = Span(a.At - f.From)
			if a.At-f.From > within {
				d.broke(f.From+within, "nobody at %s looked after it; %s did at %s", Offset(f.From+within), a.By, Offset(a.At))
			}
		}
	}
	if d.judged == 0 {
		d.broke(f.From+within, "nobody at %s looked after it", Offset(f.From+within))
	}
	return d.verdict(name, measured, Span(within))
}

func spread(counts []int) Range {
	if len(counts) == 0 {
		return Range{}
	}
	return Range{slices.Min(counts), slices.Max(counts)}
}

// Peace says who is to be left in peace, and who watches that there is peace.
type Peace struct {
	Admins   []string
	Vantages []string // each judges each region
	Regions  []string
	Watching []string      // vantages that nothing keeps from watching at the end
	Pause    time.Duration // the longest from one look of such a vantage to the next
}

// NobodyPaged judges that no text was sent at all, though every vantage judged
// every region, and was seen to look around up to the end unless something kept
// it from that: monitors that do nothing page nobody. It counts the admins who
// were left in peace for the whole of the history.
func NobodyPaged(h History, p Peace) Verdict {
	var d docket
	if h.Lasts > 0 {
		d.judged = len(p.Admins)
	}
	for _, vantage := range p.Vantages {
		for _, region := range p.Regions {
			if !slices.ContainsFunc(h.Watches, func(w Watch) bool { return w.Vantage == vantage && w.Region == region }) {
				d.missed(h.Lasts, "%s until %s never judged %s", vantage, Offset(h.Lasts), region)
			}
		}
	}
	for _, vantage := range p.Watching {
		last := time.Duration(0)
		for _, l := range h.Looks {
			if l.Vantage == vantage {
				last = l.At
			}
		}
		if h.Lasts-last > p.Pause {
			d.missed(last, "%s at %s looked around for the last time", vantage, Offset(last))
		}
	}
	for _, t := range h.Texts {
		d.broke(t.At, "%s at %s was sent %q", t.To, Offset(t.At), t.Body)
	}
	return d.verdict("texts to anybody", fmt.Sprint(len(h.Texts)), "0")
}
