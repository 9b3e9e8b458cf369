package report

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"time"
)

// Page is what the caller knows of a run. Every text may hold anything.
type Page struct {
	Title   string
	Summary string // one line: what ran, how large
	Verdict string // one line: 13 of 13 held
	Failed  bool
	Story   []string // paragraphs
	Facts   []Fact   // what else is known, such as the seed
	Groups  []Group
	Faults  []Fault
	Claims  []Claim
	Lines   []Line
	Checks  []Check
	Measure Table
	Charts  []Chart
	Replay  []string // command lines
	Against *Trace   // of another run, or nil
}

// Fact is a name and what it stands for.
type Fact struct{ Name, Value string }

// Group is a set of machines whose lanes stand together, under one head that can be
// folded. Machines of no group come last, by region.
type Group struct {
	Name     string
	Machines []string
	Folded   bool
}

// Fault is an interval in which something was broken. Machines, if any, are those
// whose lanes it colours.
type Fault struct {
	Name, Text  string
	From, Until time.Duration
	Machines    []string
}

// Claim is an interval in which a machine took itself for something that only one
// may be at a time, such as the holder of a lease. Claims that overlap show who was
// wrong.
type Claim struct {
	Machine, Text string
	From, Until   time.Duration
}

// Tone says whether something is good news.
type Tone string

// The tones. The zero value says nothing.
const (
	Good Tone = "good"
	Bad  Tone = "bad"
)

// Line is one moment of the story in words.
type Line struct {
	At   time.Duration
	Who  string
	Text string
	Tone Tone
}

// Check is something that had to hold. First tells of the first moment At at which
// it did not; it may be empty.
type Check struct {
	Name, Measured, Budget, Judged string
	OK                             bool
	First                          string
	At                             time.Duration
}

// Table is a table of words. Its first column is a head.
type Table struct {
	Title   string
	Columns []string
	Rows    [][]string
}

// Chart is a measure over time: curves of one unit, or bars that add up.
type Chart struct {
	Title  string        `json:"title"`
	Unit   Unit          `json:"unit"`
	Bars   bool          `json:"bars"` // curves are counts that stand upon one another
	Step   time.Duration `json:"step"` // the n-th value is of the time from n steps on
	Curves []Curve       `json:"curves"`
}

// Unit is that of the values of a [Chart].
type Unit string

// The units: plain counts, and microseconds, which are shown on a scale by powers.
const (
	Count        Unit = "count"
	Microseconds Unit = "us"
)

// Curve is one of the curves of a [Chart]. A value below zero is a hole.
type Curve struct {
	Name   string  `json:"name"`
	Tone   Tone    `json:"tone"`
	Values []int64 `json:"values"`
}

//go:embed page.html page.css script
var files embed.FS

// scripts in the order in which they run as one.
func scripts() []string {
	return []string{"data.js", "causes.js", "lanes.js", "timeline.js", "drawing.js", "pointer.js", "events.js", "start.js"}
}

// Write writes the page of a recording that has been stopped.
func Write(w io.Writer, p Page, r *Recorder) error {
	in, err := r.prepare(p)
	if err != nil {
		return err
	}
	data, err := in.pack()
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	css, err := files.ReadFile("page.css")
	if err != nil {
		return err
	}
	var script bytes.Buffer
	script.WriteString("\"use strict\";\n{\n")
	for _, name := range scripts() {
		text, err := files.ReadFile("script/" + name)
		if err != nil {
			return err
		}
		script.Write(text)
	}
	script.WriteString("}\n")
	t, err := template.New("page.html").Funcs(template.FuncMap{"offset": Offset, "seconds": seconds}).ParseFS(files, "page.html")
	if err != nil {
		return err
	}
	return t.Execute(w, struct {
		Page
		Kept              keptText
		Compared          *against
		CSS               template.CSS
		Script            template.JS
		StyleOf, ScriptOf string // hashes, for the policy
		Data              template.HTML
	}{p, in.keptText(), in.head.Against, template.CSS(css), template.JS(script.Bytes()), hashOf(css), hashOf(script.Bytes()), template.HTML(data)})
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Offset writes a moment of a run as 5:32, or 1:05:32, with what is below a second
// only where there is some.
func Offset(at time.Duration) string {
	sign := ""
	if at < 0 {
		sign, at = "-", -at
	}
	text := fmt.Sprintf("%d:%02d", at/time.Minute%60, at/time.Second%60)
	if at >= time.Hour {
		text = fmt.Sprintf("%d:%02d:%02d", at/time.Hour, at/time.Minute%60, at/time.Second%60)
	}
	return sign + text
}

// seconds is a moment as the page's own links have it.
func seconds(at time.Duration) string {
	return fmt.Sprintf("%d.%09d", at/time.Second, at%time.Second)
}

// pack gives the recording as text in base64.
func (in *packed) pack() (string, error) {
	head, err := json.Marshal(in.head)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	zip, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	for _, part := range append([][]byte{head}, in.columns()...) {
		if _, err := zip.Write(appendPart(nil, part)); err != nil {
			return "", err
		}
	}
	if err := zip.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}
