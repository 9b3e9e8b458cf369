package report

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// evil is what no text of a page may do: end an element, an attribute, or a text of
// the script, or begin another.
const evil = `"'` + "`" + `</script></template></title></style><script>document.title="taken"</script><img src=x onerror=alert(1)>&#39; --> ${1} {{.}} ` + "\u2028\x00"

func evilPage() Page {
	fault := Fault{Name: "fault " + evil, Text: evil, From: time.Second, Until: 2 * time.Second, Machines: []string{"client" + evil, "none"}}
	return Page{
		Title: "title " + evil, Summary: "summary " + evil, Verdict: "1 of 2 held", Failed: true,
		Story: []string{"story " + evil}, Facts: []Fact{{"fact " + evil, "value " + evil}},
		Groups: []Group{{Name: "group " + evil, Machines: []string{"client" + evil}}},
		Faults: []Fault{fault},
		Claims: []Claim{{Machine: "client" + evil, Text: "claims " + evil, From: time.Second, Until: 3 * time.Second}, {Machine: "none"}},
		Lines:  []Line{{At: 61 * time.Second, Who: "who", Text: "told " + evil, Tone: Bad}},
		Checks: []Check{
			{Name: "check " + evil, Measured: "12 s", Budget: "10 s", Judged: "7", First: "broken " + evil, At: 62 * time.Second},
			{Name: "good check", Measured: "1 s", Budget: "2 s", Judged: "8", OK: true},
		},
		Measure: Table{Title: "seen", Columns: []string{"between", "ok"}, Rows: [][]string{{"row " + evil, "97 %"}}},
		Charts: []Chart{{Title: "chart " + evil, Unit: Count, Step: time.Second, Curves: []Curve{{Name: "curve " + evil, Values: []int64{1, -1, 2}}}},
			{Title: "latency", Unit: Microseconds, Step: time.Second, Curves: []Curve{{Name: "p50", Values: []int64{1, 1000000, -1}}}},
			{Title: "requests", Unit: Count, Bars: true, Step: time.Second, Curves: []Curve{{Name: "ok", Tone: Good, Values: []int64{1, 2}}, {Name: "failed", Tone: Bad, Values: []int64{1, 0}}}}},
		Replay: []string{"replay " + evil},
	}
}

// evilRun is a short run in which everything that can have a name has a bad one.
func evilRun(t *testing.T, w *sim.World) *Recorder {
	r := Record(w)
	m := w.NewMachine("client"+evil, sim.In("region "+evil, "zone "+evil))
	other := w.NewMachine("other")
	m.Start("proc "+evil, func(p *sim.Process) error {
		p.Emit("kind "+evil, sim.Field{Key: "key " + evil, Value: "value " + evil}, sim.Field{Key: "error", Value: "boom"})
		_, err := p.DialContext(t.Context(), "tcp", other.Addr().String()+":7")
		return err
	})
	time.Sleep(5 * time.Second)
	r.Stop()
	return r
}

var (
	dataPattern   = regexp.MustCompile(`(?s)<template id="data">[A-Za-z0-9+/=]*</template>`)
	scriptPattern = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
	stylePattern  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	tagPattern    = regexp.MustCompile(`(?s)<[^>]*>`)
)

// Nothing that a run says becomes markup, and nothing but the page's own script and
// style may run: the policy knows them by their hashes, and allows no request.
func TestPageIsClosed(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		page := write(t, evilPage(), evilRun(t, w))
		require.Len(t, dataPattern.FindAllString(page, -1), 1)
		bare := dataPattern.ReplaceAllString(page, "")
		scripts := scriptPattern.FindAllStringSubmatch(bare, -1)
		styles := stylePattern.FindAllStringSubmatch(bare, -1)
		require.Len(t, scripts, 1)
		require.Len(t, styles, 1)
		hash := func(s string) string {
			sum := sha256.Sum256([]byte(s))
			return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		}
		policy := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(bare)
		require.Len(t, policy, 2)
		require.Equal(t, "default-src 'none'; script-src "+hash(scripts[0][1])+"; style-src "+hash(styles[0][1])+
			"; base-uri 'none'; form-action 'none'", html.UnescapeString(policy[1]))

		markup := stylePattern.ReplaceAllString(scriptPattern.ReplaceAllString(bare, ""), "")
		for _, tag := range tagPattern.FindAllString(markup, -1) {
			require.NotRegexp(t, `(?i)^<(script|img|iframe|object|embed|link|base|form|svg)\b`, tag)
			require.NotRegexp(t, `(?i)\s(on\w+|style|src|action)\s*=`, tag)
		}
		for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(markup, -1) {
			require.Regexp(t, `^#at=\d+\.\d{9}$`, m[1])
		}
		require.NotRegexp(t, `(?i)https?:|url\(|@import`, bare)
		require.NotRegexp(t, `\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function|fetch|XMLHttpRequest|WebSocket|import)\b`, scripts[0][1])
	})
}

// Who has no JavaScript reads the whole story.
func TestPageWithoutScript(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		p := evilPage()
		page := dataPattern.ReplaceAllString(write(t, p, evilRun(t, w)), "")
		page = stylePattern.ReplaceAllString(scriptPattern.ReplaceAllString(page, ""), "")
		page = regexp.MustCompile(`(?s)<section[^>]* hidden>.*?</section>`).ReplaceAllString(page, "")
		text := html.UnescapeString(tagPattern.ReplaceAllString(page, ""))
		for _, want := range []string{p.Title, p.Summary, p.Verdict, p.Story[0], p.Facts[0].Value, "fault " + p.Faults[0].Name, p.Lines[0].Text, "1:01",
			p.Checks[0].Name, p.Checks[0].First, "12 s", "10 s", "good check", p.Measure.Rows[0][0], "97 %", p.Replay[0]} {
			require.Contains(t, text, strings.ReplaceAll(want, "\x00", "\ufffd"))
		}
	})
}

// A browser shows the page without a word of complaint.
func TestPageInABrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil || testing.Short() {
		t.Skip("wants chromium")
	}
	name := shared(t, "page.html")
	sim.Test(t, func(t *testing.T, w *sim.World) {
		require.NoError(t, os.WriteFile(name, []byte(write(t, evilPage(), evilRun(t, w))), 0o600))
	})
	if inWorld() {
		return
	}
	address := url.URL{Scheme: "file", Path: name}
	cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
		"--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom", address.String())
	var logged strings.Builder
	cmd.Stderr = &logged
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("chromium does not run here: %v", err)
	}
	dom := string(out)
	for _, want := range []string{`data-ready="`, `<title>title `, `id="found" aria-live="polite">2 rows<`, `aria-expanded="true"`} {
		require.True(t, strings.Contains(dom, want), want)
	}
	require.False(t, strings.Contains(dom, `class="failure">The timeline`))
	for line := range strings.Lines(logged.String()) {
		require.NotContains(t, line, "CONSOLE")
	}
}

// inWorld tells whether this is the process that a test has for its world.
func inWorld() bool { return os.Getenv("SIM_INSIDE") != "" }

// shared names a file that a test and the process with its world both find.
func shared(t *testing.T, name string) string {
	if !inWorld() {
		t.Setenv("REPORT_FILE", filepath.Join(t.TempDir(), name))
	}
	return os.Getenv("REPORT_FILE")
}

func TestOffset(t *testing.T) {
	for at, want := range map[time.Duration]string{0: "0:00", 5*time.Minute + 32*time.Second: "5:32", time.Hour + time.Second: "1:00:01", -time.Second: "-0:01"} {
		require.Equal(t, want, Offset(at))
	}
}
