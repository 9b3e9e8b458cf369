package scenarios

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// unmarked are files and messages of warnings that are no marks, with the reason
// why no story reaches them.
var unmarked = map[string]string{
	"nodes/keeper.go":    "it is what the program itself starts, and no story upgrades that",
	"nodes/osmachine.go": "a world has machines of its own",
	"nodes/oschild.go":   "the same",

	"control pipe broken": "a pipe of a world breaks only with its process",
	"child not started":   "a world can always start one",
	"kill child":          "a child that has ended has been noticed",
	"signal child":        "the same",
	"tell child":          "the same",
	"meta port lost":      "a world takes no listener away",
	"accept failed":       "the same",

	"observation does not fit, sent without some of its items": "the vantages of a story have few targets",

	"meta port":            "what net/http says is not the platform's",
	"http server":          "the same",
	"frame not sent":       "it could not be encoded",
	"status not shown":     "the same",
	"seal observation":     "the same",
	"registration refused": "nobody has the certificate of another",
	"request refused":      "nobody asks for more than its role may",
	"order refused":        "nobody gives orders but Seeds, on their streams",
	"order failed":         "the same",

	"order not carried out": "what is ordered in stories cannot fail",
	"record not read":       "a disk of a world that can be written can be read",
	"record not closed":     "the same",
}

// Each mark is one line of the code, and each line with a warning is a mark: a new
// one has to be looked for, too.
func TestMarksAreInTheCode(t *testing.T) {
	lines, texts := logLines(t, "nodes", "monitor")
	marked := func(l logLine) bool { return slices.ContainsFunc(Sometimes, l.is) }
	for i, m := range Sometimes {
		require.NotContains(t, Sometimes[:i], m)
		at := slices.DeleteFunc(slices.Clone(lines), func(l logLine) bool { return !l.is(m) })
		assert.Len(t, at, 1, "%s: want one line of the code that logs it, have %v", m, at)
		assert.True(t, m.Value == "" || m.Value == "true" || slices.ContainsFunc(texts, func(s string) bool { return strings.HasPrefix(s, m.Value) }),
			"%s: no text in the code begins so", m)
	}
	used := map[string]bool{}
	for _, l := range lines {
		key := l.file
		if unmarked[key] == "" {
			key = l.text
		}
		switch {
		case marked(l):
			assert.Empty(t, unmarked[key], "%s:%d: %q is a mark", l.file, l.line, l.text)
		case l.warns:
			used[key] = true
			assert.NotEmpty(t, unmarked[key], "%s:%d: %q is no mark: add it to Sometimes, or to unmarked with a reason", l.file, l.line, l.text)
		}
	}
	for key := range unmarked {
		assert.True(t, used[key], "nothing warns of %s", key)
	}
}

func TestReached(t *testing.T) {
	say := func(text string, fields ...sim.Field) sim.Event {
		return sim.Event{Kind: logEvent + text, Fields: fields}
	}
	m := newMarks()
	for _, e := range []sim.Event{
		say("frozen"), say("frozen", sim.Field{Key: "why", Value: "not renewed in time"}), say("table heard"), {Kind: "seed lost"},
		say("controls", sim.Field{Key: "abstains", Value: "false"}),
		say("tunnel closed", sim.Field{Key: "key", Value: "moved, resume"}, sim.Field{Key: "reason", Value: "idle"}),
		say("observation refused", sim.Field{Key: "error", Value: "observe: old sequence number: 7"}),
	} {
		m.hear(e)
	}
	want := []string{"nodes/seed: frozen", "monitor: observation refused error=observe: old sequence number"}
	require.Equal(t, want, m.names())

	var r Reached
	r.Add(nil)
	r.Add(want)
	lines := r.Lines()
	require.Equal(t, fmt.Sprintf("sometimes: 2 of %d rare branches reached; never:", len(Sometimes)), lines[0])
	text := strings.Join(lines, "\n")
	require.Contains(t, text, "\n  nodes           child ended; child keeps ending; hard stop children; ")
	require.Contains(t, text, "\n  nodes/seed      leader no longer; ")
	require.NotContains(t, text, "old sequence number")

	for _, m := range Sometimes {
		r.Add([]string{m.String()})
	}
	require.Equal(t, []string{fmt.Sprintf("sometimes: %d of %d rare branches reached", len(Sometimes), len(Sometimes))}, r.Lines())
}

// logLine is a call that logs.
type logLine struct {
	file, text string
	line       int
	attrs      map[string]string // those with literal keys; "" is a value that is no literal
	more       bool              // and others, made elsewhere
	warns      bool
}

func (l logLine) is(m Mark) bool {
	value, ok := l.attrs[m.Key]
	ok = ok || l.more
	return path.Dir(l.file) == m.Package && l.text == m.Text && (m.Key == "" || ok && (value == "" || strings.HasPrefix(value, m.Value)))
}

// logLines gives all calls that log in the production code of some folders of the
// module, and all literal texts in it.
func logLines(t *testing.T, folders ...string) (lines []logLine, texts []string) {
	files := token.NewFileSet()
	for _, folder := range folders {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, folder), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			name, err = filepath.Rel(root, name)
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := literal(n); ok {
					texts = append(texts, s)
				}
				if call, ok := n.(*ast.CallExpr); ok {
					if l, ok := asLogLine(call); ok {
						l.file, l.line = filepath.ToSlash(name), files.Position(call.Pos()).Line
						lines = append(lines, l)
					}
				}
				return true
			})
			return err
		}))
	}
	return lines, texts
}

// logs says at which argument the message is, of the methods of a logger and of
// those of the platform that pass one on.
var logs = map[string]int{"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "note": 0, "doubt": 0, "tell": 1, "once": 2}

func asLogLine(call *ast.CallExpr) (logLine, bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return logLine{}, false
	}
	i, ok := logs[method.Sel.Name]
	if !ok || i >= len(call.Args) {
		return logLine{}, false
	}
	text, ok := literal(call.Args[i])
	if !ok || text == "" {
		return logLine{}, false
	}
	warns := slices.Contains([]string{"Warn", "Error", "note", "once"}, method.Sel.Name)
	if level, ok := call.Args[0].(*ast.SelectorExpr); ok && method.Sel.Name == "tell" {
		warns = level.Sel.Name == "LevelWarn" || level.Sel.Name == "LevelError"
	}
	l := logLine{text: text, attrs: map[string]string{}, more: call.Ellipsis.IsValid(), warns: warns}
	for rest := call.Args[i+1:]; len(rest) > 1; rest = rest[2:] {
		if key, ok := literal(rest[0]); ok {
			l.attrs[key], _ = literal(rest[1])
		}
	}
	return l, true
}

func literal(n ast.Node) (string, bool) {
	l, ok := n.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}
