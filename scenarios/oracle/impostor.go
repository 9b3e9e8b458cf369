package oracle

import (
	"fmt"
	"time"
)

// Visit is somebody who was led to an impostor and saw its certificate.
type Visit struct {
	At       time.Duration
	From     string // machine
	Believed bool   // went on all the same
}

// ImpostorRefused judges that nobody who was led to an impostor spoke to it. It
// counts the visits.
func ImpostorRefused(h History) Verdict {
	var d docket
	for _, v := range h.Visits {
		d.judged++
		if v.Believed {
			d.broke(v.At, "%s at %s took the impostor's word", v.From, Offset(v.At))
		}
	}
	return d.verdict("taken in by the impostor", fmt.Sprint(d.broken), "0")
}
