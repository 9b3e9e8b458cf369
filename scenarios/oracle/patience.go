package oracle

import (
	"strings"
	"time"
)

// asker is one activity of one client that asks again and again, one request
// after another.
type asker struct{ client, host, what string }

// AnsweredInTime judges that nobody who asks something of the host waits for
// longer than within until it is answered, be it with a refusal. A client whose
// patience ends asks again, and waits since it asked first: it may lose one
// request, or some, with connections that died in silence, but it must not go on
// for ever losing them. An empty host means all hosts. It counts requests.
func AnsweredInTime(h History, host string, within time.Duration) Verdict {
	var d docket
	var longest time.Duration
	since := map[asker]time.Duration{} // of those who wait: when they asked first
	for _, r := range requests(h, host) {
		d.judged++
		from, waits := since[r.asker]
		if !waits {
			from = r.from
		}
		wait := r.from + r.latency - from
		longest = max(longest, wait)
		if wait > within {
			d.broke(from+within, "%s at %s, no answer since %s%s", r.client, Offset(from+within), Offset(from), because(r.why))
		}
		if silent(r.why) {
			since[r.asker] = from
		} else {
			delete(since, r.asker)
		}
	}
	measured := Span(longest)
	if d.judged == 0 {
		measured = "no requests"
	}
	name := "longest wait for an answer"
	if host != "" {
		name += " of " + host
	}
	return d.verdict(name, measured, Span(within))
}

// silent tells whether a request ended only with its client's patience.
func silent(why string) bool { return strings.HasSuffix(why, "timeout") }

func because(why string) string {
	if why == "" {
		return ""
	}
	return ", " + why
}
