package report

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/espra/protoplex/sim"
)

// BenchmarkWrite packs a page as full as one gets: 250,000 events and 400,000
// messages of 100 machines, and says how large it is.
func BenchmarkWrite(b *testing.B) {
	r := fullRecorder()
	var size count
	for b.Loop() {
		size = 0
		if err := Write(&size, Page{}, r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size), "bytes/page")
}

type count int

func (c *count) Write(p []byte) (int, error) {
	*c += count(len(p))
	return len(p), nil
}

var _ io.Writer = (*count)(nil)

// fullRecorder has kept as much as it can. Nothing in it comes at regular times.
func fullRecorder() *Recorder {
	r := &Recorder{limits: limits{maxMessages, maxEvents, maxWords}, index: map[string]int32{}, texts: newTexts(), counts: newCounts(), until: 40 * time.Minute}
	const machines = 100
	random := uint64(1)
	next := func(n uint64) uint64 {
		random = random*6364136223846793005 + 1442695040888963407
		return random >> 33 % n
	}
	name := func(i uint64) string { return fmt.Sprintf("machine-%02d", i) }
	var at [machines]time.Duration // when something arrived last
	for i := range maxMessages {
		now := time.Duration(i)*6*time.Millisecond + time.Duration(next(6e6))
		from, to := next(machines), next(machines)
		sent := at[from]
		if next(4) == 0 {
			sent = now - time.Duration(next(3e7))
		}
		at[to] = now
		r.delivery(sim.Delivery{At: now, Sent: max(sent, 0), Kind: "seg", Conn: fmt.Sprintf("%s>%s:443#%d", name(from), name(to), next(10)),
			From: name(from), To: name(to), Size: int(next(1500))})
	}
	for i := range maxEvents {
		now := time.Duration(i)*9600*time.Microsecond + time.Duration(next(9e6))
		r.event(sim.Event{At: now, Machine: name(next(machines)), Proc: "server", Kind: fmt.Sprintf("log: kind %d", next(20)),
			Fields: []sim.Field{{Key: "host", Value: name(next(machines))}, {Key: "id", Value: fmt.Sprint(next(50_000))}}})
	}
	return r
}
