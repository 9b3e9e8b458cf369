package record

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/nodes"
)

// desk is a machine whose clocks are set by hand, and whose disk can break.
type desk struct {
	nodes.Machine
	root    string
	now     time.Time
	elapsed time.Duration
	fault   func(op, name string) error // may be nil
}

func newDesk(t testing.TB) *desk {
	d := &desk{root: t.TempDir(), now: time.Date(2026, 11, 25, 15, 4, 5, 0, time.UTC)}
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: "vantage", Addr: netip.MustParseAddr("127.0.0.1"), Proc: "test"}, Root: d.root, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	d.Machine = m
	return d
}

func (d *desk) Now() time.Time         { return d.now }
func (d *desk) Elapsed() time.Duration { return d.elapsed }
func (d *desk) Disk() nodes.Disk       { return faulty{d.Machine.Disk(), d} }

// pass lets time go by on both clocks.
func (d *desk) pass(by time.Duration) { d.now, d.elapsed = d.now.Add(by), d.elapsed+by }

func (d *desk) broken(op, name string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op, name)
}

type faulty struct {
	nodes.Disk
	d *desk
}

func (f faulty) Create(name string) (nodes.File, error) {
	if err := f.d.broken("create", name); err != nil {
		return nil, err
	}
	file, err := f.Disk.Create(name)
	return faultyFile{file, name, f.d}, err
}

func (f faulty) Open(name string) (nodes.File, error) {
	if err := f.d.broken("open", name); err != nil {
		return nil, err
	}
	file, err := f.Disk.Open(name)
	return faultyFile{file, name, f.d}, err
}

func (f faulty) List(dir string) ([]string, error) {
	if err := f.d.broken("list", dir); err != nil {
		return nil, err
	}
	return f.Disk.List(dir)
}

type faultyFile struct {
	nodes.File
	name string
	d    *desk
}

// WriteAt writes half before it fails, as a full disk does.
func (f faultyFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.d.broken("write", f.name); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], at)
		return n, err
	}
	return f.File.WriteAt(b, at)
}

func (f faultyFile) Truncate(size int64) error {
	if err := f.d.broken("truncate", f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f faultyFile) Sync() error {
	if err := f.d.broken("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

const dir = "/var/record"

// log gives the lines of all files of a log.
func (d *desk) log(t testing.TB, name string) []string {
	files, err := filepath.Glob(filepath.Join(d.root, dir, name+"-*.log"))
	require.NoError(t, err)
	var lines []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, len(text) == 0 || text[len(text)-1] == '\n', "%s ends with a whole line", file)
		lines = append(lines, strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })...)
	}
	return lines
}

// result is one of us-east, now.
func (d *desk) result(outcome Outcome, took time.Duration) Result {
	return Result{At: d.now, Target: "us-east", Outcome: outcome, Phases: []probe.Phase{{Name: "connect", Took: took}}}
}

// counts are the results of the last so many minutes or hours.
func counts(d *desk, r *Recorder, bin time.Duration, bins int) (ok, failed, unknown int) {
	for _, p := range r.Window("us-east", d.now.Add(-bin*time.Duration(bins-1)), bin, bins) {
		ok, failed, unknown = ok+p.OK(), failed+p.Failed(), unknown+p.Unknown()
	}
	return ok, failed, unknown
}

func TestLines(t *testing.T) {
	d := newDesk(t)
	r := Open(d, dir, []string{"us-east"})
	r.Add(Result{At: d.now, Target: "us-east", Phases: []probe.Phase{{Name: "connect", Took: 11 * time.Millisecond}, {Name: "first byte", Took: 1234567 * time.Nanosecond}}})
	r.Add(Result{At: d.now.Add(123 * time.Millisecond), Target: "control/one", Outcome: Failed,
		Phases: []probe.Phase{{Name: "connect", Took: 4 * time.Second}}, Text: "connect: \"a\nb\" \xff\u00e9"})
	r.Add(Result{At: d.now, Target: "us-east", Outcome: Unknown, Text: strings.Repeat("x", 400)})
	r.Add(Result{At: d.now, Target: "us-east", Phases: []probe.Phase{{Name: "connect", Took: 767100}}, Text: "expires 2027-01-03, 38 days left"})
	r.Close()
	require.Equal(t, []string{
		"2026-11-25T15:04:05.000Z us-east ok 12.23ms connect=11ms first-byte=1.23ms",
		`2026-11-25T15:04:05.123Z control/one FAIL 4s connect=4s error="connect: \"a\nb\" \xff\u00e9"`,
		`2026-11-25T15:04:05.000Z us-east unknown 0s error="` + strings.Repeat("x", 300) + `"`,
		`2026-11-25T15:04:05.000Z us-east ok 767us connect=767us note="expires 2027-01-03, 38 days left"`,
	}, d.log(t, "results"))
	// All of them are read back, those of less than a millisecond, too.
	r = Open(d, dir, []string{"us-east"})
	ok, _, unknown := counts(d, r, time.Hour, 1)
	require.Equal(t, []int{2, 1}, []int{ok, unknown})
	require.Len(t, d.log(t, "results"), 4)
}

func TestHistorySurvivesRestarts(t *testing.T) {
	d := newDesk(t)
	const every = 10 * time.Second
	r := Open(d, dir, []string{"us-east", "www"})
	for range 26 * 360 { // hours
		d.pass(every)
		outcome := OK
		if d.now.Hour() == 3 && d.now.Minute() < 30 {
			outcome = Failed
		}
		r.Add(d.result(outcome, 20*time.Millisecond))
		r.Flush()
	}
	check := func(r *Recorder, which string) {
		ok, failed, _ := counts(d, r, time.Hour, 48)
		require.Equal(t, []int{25*360 + 180, 180}, []int{ok, failed}, "%s: hours", which)
		ok, failed, _ = counts(d, r, time.Minute, minutes)
		require.Equal(t, (24*60-1)*6+1, ok+failed, "%s: minutes", which)
		require.Equal(t, 180, failed)
		bins := r.Window("us-east", d.now.Add(-2*time.Hour), 15*time.Minute, 8)
		require.Equal(t, 20*time.Millisecond, bins[0].Mean())
		require.Equal(t, 20*time.Millisecond, bins[0].Max())
		percent, any := Uptime(bins)
		require.True(t, any)
		require.Equal(t, 100.0, percent)
		_, any = Uptime(r.Window("www", d.now.Add(-time.Hour), time.Hour, 2))
		require.False(t, any, "nothing was seen of it")
	}
	check(r, "at first")
	require.Len(t, d.log(t, "hours"), 26)
	// The process is lost, with nothing to flush.
	r = Open(d, dir, []string{"us-east", "www"})
	check(r, "started again")
	_, any := r.Last("us-east")
	require.False(t, any, "that was before")
	r.Close()
	require.Len(t, d.log(t, "hours"), 26, "no hour is told twice")
	// The log of hours is lost, and what can be is counted again.
	require.NoError(t, os.Remove(filepath.Join(d.root, dir, "hours-00000001.log")))
	r = Open(d, dir, []string{"us-east"})
	check(r, "without the log of hours")
	r.Close()
	require.Len(t, d.log(t, "hours"), 26)
	// A target that is gone is not kept in memory.
	r = Open(d, dir, []string{"www"})
	require.Len(t, r.targets, 1)
	ok, _, _ := counts(d, r, time.Hour, 48)
	require.Zero(t, ok)
}

func TestClockSteps(t *testing.T) {
	d := newDesk(t)
	r := Open(d, dir, []string{"us-east"})
	look := func(n int) {
		for range n {
			d.pass(10 * time.Second)
			r.Add(d.result(OK, time.Millisecond))
		}
	}
	look(360)
	right := d.now
	d.now = d.now.AddDate(30, 0, 0) // by mistake
	look(60)
	ok, _, _ := counts(d, r, time.Hour, 3)
	require.Equal(t, 60, ok)
	d.now = right.Add(10 * time.Minute) // set right
	look(60)
	for _, which := range []string{"at once", "after a restart"} {
		ok, _, _ = counts(d, r, time.Hour, 3)
		require.Equal(t, 420, ok, "%s: what was there is there, and what is in the future is not shown", which)
		ok, _, _ = counts(d, r, time.Minute, 120)
		require.Equal(t, 420, ok, which)
		r.Close()
		r = Open(d, dir, []string{"us-east"})
	}
	d.now = d.now.Add(-30 * time.Minute) // lived through twice
	look(60)
	d.pass(20 * time.Minute)
	ok, _, _ = counts(d, r, time.Hour, 3)
	require.Equal(t, 480, ok)
	d.now = time.Time{} // before all clocks
	look(3)
	d.now = right.AddDate(0, 0, 1)
	ok, _, _ = counts(d, r, time.Hour, 30)
	require.Equal(t, 480, ok)
	r.Close()
}

func TestSeriesIsBounded(t *testing.T) {
	s := series{step: time.Minute, keep: 3}
	for at := range uint32(10) {
		p, over := s.point(at)
		p.add(OK, 0)
		require.Equal(t, at > 0, over != nil)
	}
	require.Len(t, s.points, 3)
	require.Equal(t, uint32(9), s.last().at)
	require.Zero(t, s.total(6).OK())
	require.Equal(t, 1, s.total(7).OK())
	window := s.window(time.Unix(0, 0), 5*time.Minute, 2)
	require.Equal(t, []int{0, 3}, []int{window[0].OK(), window[1].OK()})

	p := Point{}
	for range 1 << 17 {
		p.add(OK, 200*time.Hour)
		p.add(Failed, 0)
		p.add(Unknown, 0)
	}
	require.Equal(t, Point{ok: 1<<16 - 1, failed: 1<<16 - 1, unknown: 1<<16 - 1, sum: 1<<32 - 1, max: 1<<16 - 1}, p)
}

func TestDiskFull(t *testing.T) {
	d := newDesk(t)
	r := Open(d, dir, []string{"us-east"})
	look := func(n int) {
		for range n {
			d.pass(10 * time.Second)
			r.Add(d.result(OK, time.Millisecond))
			r.Flush()
		}
	}
	look(10)
	d.fault = func(op, _ string) error {
		if op == "write" || op == "create" {
			return syscall.ENOSPC
		}
		return nil
	}
	look(100)
	ok, _, _ := counts(d, r, time.Hour, 2)
	require.Equal(t, 110, ok, "monitoring goes on")
	require.Len(t, d.log(t, "results"), 10)
	d.fault = nil
	look(1)
	require.Len(t, d.log(t, "results"), 111, "what has waited is written")

	// More than can wait is missing, and the log says so.
	d.fault = func(op, _ string) error {
		if op == "write" {
			return syscall.ENOSPC
		}
		return nil
	}
	long := Result{At: d.now, Target: "us-east", Text: strings.Repeat("x", maxText)}
	for range 12 << 20 / 360 {
		r.Add(long)
	}
	r.Flush()
	for range 12 << 20 / 360 {
		r.Add(long)
	}
	r.Flush()
	d.fault = nil
	r.Flush()
	lines := d.log(t, "results")
	require.Regexp(t, `^2026-11-25T15:22:35\.000Z - missing up to \d+ lines since 2026-11-25T15:22:35\.000Z error="write: no space left on device"$`, lines[len(lines)-1])
	var missing int
	_, err := fmt.Sscanf(lines[len(lines)-1], "2026-11-25T15:22:35.000Z - missing up to %d", &missing)
	require.NoError(t, err)
	require.Equal(t, 111+2*(12<<20/360), len(lines)-1+missing, "each line is there or missing")
	r.Close()
	r = Open(d, dir, []string{"us-east"})
	ok, _, _ = counts(d, r, time.Hour, 2)
	require.Equal(t, len(lines)-1, ok, "and the rest reads back")
}

func TestDiskBreaks(t *testing.T) {
	for _, op := range []string{"write", "sync", "create", "truncate", "open", "list"} {
		t.Run(op, func(t *testing.T) {
			d := newDesk(t)
			r := Open(d, dir, []string{"us-east"})
			look := func(n int) {
				for range n {
					d.pass(10 * time.Second)
					r.Add(d.result(OK, time.Millisecond))
					r.Flush()
				}
			}
			look(10)
			r.Close()
			failing := func(op string) func(string, string) error {
				return func(which, _ string) error {
					if which == op || op == "truncate" && which == "write" {
						return syscall.EIO
					}
					return nil
				}
			}
			d.fault = failing(op)
			r = Open(d, dir, []string{"us-east"})
			look(20)
			d.fault = nil
			look(10)
			r.Close()
			r = Open(d, dir, []string{"us-east"})
			ok, _, _ := counts(d, r, time.Hour, 2)
			// Half written lines that cannot be cut off are there twice.
			require.GreaterOrEqual(t, ok, 40)
			if op != "truncate" {
				require.Equal(t, 40, ok, "all is there in the end")
			}
			r.Close()
		})
	}
}

func TestTornEndIsCut(t *testing.T) {
	d := newDesk(t)
	r := Open(d, dir, []string{"us-east"})
	for range 10 {
		r.Add(d.result(OK, time.Millisecond))
	}
	r.Close()
	name := filepath.Join(d.root, dir, "results-00000001.log")
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	line := string(whole[:len(whole)/10])
	for what, tail := range map[string]string{
		"half a line": line[:40], "zeros": strings.Repeat("\x00", 9000), "zeros in a line": line[:30] + "\x00\x00" + line[32:], "nothing": "",
		"only an end": "\n", "half a line and zeros": line[:40] + strings.Repeat("\x00", 9000) + "\n",
	} {
		t.Run(what, func(t *testing.T) {
			require.NoError(t, os.WriteFile(name, append([]byte(nil), string(whole)+tail...), 0o600))
			r := Open(d, dir, []string{"us-east"})
			ok, _, _ := counts(d, r, time.Hour, 1)
			require.Equal(t, 10, ok)
			r.Add(d.result(OK, time.Millisecond))
			r.Close()
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Equal(t, string(whole)+line, string(text), "cut, and added to")
		})
	}
	// A line that nobody knows stays where it is: a later version may have written it.
	strange := "2026-11-25T15:04:05.000Z us-east fine 1ms\nyesterday" + line[9:]
	require.NoError(t, os.WriteFile(name, []byte(line+strange), 0o600))
	r = Open(d, dir, []string{"us-east"})
	ok, _, _ := counts(d, r, time.Hour, 1)
	require.Equal(t, 1, ok)
	r.Add(d.result(OK, time.Millisecond))
	r.Close()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, line+strange+line, string(text))
	// What is damaged further up is passed over.
	require.NoError(t, os.WriteFile(name, []byte(line+strings.Repeat("\x00", 300<<10)+"\n"+line), 0o600))
	r = Open(d, dir, []string{"us-east"})
	ok, _, _ = counts(d, r, time.Hour, 1)
	require.Equal(t, 2, ok)
}

func TestOldFilesGo(t *testing.T) {
	d := newDesk(t)
	r := Open(d, dir, []string{"us-east"})
	r.results.journal.maxFile, r.results.journal.maxAll = 10_000, 50_000
	for range 10_000 {
		d.pass(10 * time.Second)
		r.Add(d.result(OK, time.Millisecond))
		r.Flush()
	}
	r.Close()
	names, err := d.Disk().List(dir)
	require.NoError(t, err)
	size := int64(0)
	for _, s := range r.results.journal.files {
		size += s.size
	}
	require.LessOrEqual(t, size, int64(50_000))
	require.Greater(t, size, int64(30_000))
	require.Len(t, names, len(r.results.journal.files)+1, "and the log of hours")
	before := d.log(t, "results")
	r = Open(d, dir, []string{"us-east"})
	ok, _, _ := counts(d, r, time.Minute, minutes)
	require.Equal(t, len(before), ok)
	r.Add(d.result(OK, 0))
	r.Close()
	require.Len(t, d.log(t, "results"), len(before)+1)
}

func TestWithoutDirectory(t *testing.T) {
	d := newDesk(t)
	d.fault = func(op, name string) error { return errors.New(op + " " + name) }
	r := Open(d, "", []string{"us-east"})
	r.Add(d.result(Failed, time.Second))
	r.Flush()
	_, failed, _ := counts(d, r, time.Minute, 1)
	require.Equal(t, 1, failed)
	last, any := r.Last("us-east")
	require.True(t, any)
	require.Equal(t, Failed, last.Outcome)
	r.Close()
}

// What a file holds is read as lines or passed over, and what is read is what
// was written.
func FuzzScan(f *testing.F) {
	at := time.Date(2026, 11, 25, 15, 4, 5, 0, time.UTC)
	f.Add(string(Result{At: at, Target: "us-east", Phases: []probe.Phase{{Name: "connect", Took: time.Second}}}.append(nil)), "error")
	f.Add("2026-11-25T15:00:00.000Z us-east ok=360 failed=0 unknown=0 mean=45.2ms max=120ms\n", "\x00")
	f.Add(string(appendMissing(nil, at, at, 3, "why")), "\n")
	hour := series{step: time.Hour, keep: hours}
	f.Fuzz(func(t *testing.T, text, why string) {
		result := Result{At: at, Target: "us-east", Outcome: Failed, Phases: []probe.Phase{{Name: "connect", Took: 150 * time.Microsecond}}, Text: why}
		whole := string(result.append(nil))
		found := false
		end, damaged, torn, err := scan(strings.NewReader(text+"\n"+whole+text), func(line []byte) bool {
			if name, p, ok := parseHour(line, &hour); ok {
				again, q, ok := parseHour(appendHour(nil, &hour, string(name), p)[:len(appendHour(nil, &hour, string(name), p))-1], &hour)
				require.True(t, ok)
				require.Equal(t, string(name), string(again))
				require.Equal(t, p.at, q.at)
				require.Equal(t, p.OK(), q.OK())
			}
			seen, ok := parseResult(line)
			found = found || ok && seen.at.Equal(at) && seen.outcome == Failed && seen.took == 150*time.Microsecond && string(seen.target) == "us-east"
			return ok
		})
		require.NoError(t, err)
		require.True(t, found, "a whole line is found between whatever")
		require.LessOrEqual(t, end, int64(2*len(text)+1+len(whole)))
		require.GreaterOrEqual(t, end, int64(len(text)+1+len(whole)))
		require.LessOrEqual(t, damaged+torn, 2*strings.Count(text, "\n")+3)
	})
}
