package protoplex_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The house rules that can be read off the source. Each has a reason, which
// its findings give, and a case below that breaks it.

const module = "github.com/espra/protoplex"

// source is one Go file that is no test.
type source struct {
	path    string // from the root, slashes
	text    []byte
	fset    *token.FileSet
	file    *ast.File
	imports map[string]string // path by local name
}

// finding is one breach.
type finding struct {
	pos  token.Position
	text string
}

func (f finding) String() string { return fmt.Sprintf("%s: %s", f.pos, f.text) }

func (s *source) find(p token.Pos, format string, args ...any) finding {
	return finding{s.fset.Position(p), fmt.Sprintf(format, args...)}
}

// under reports whether the file lies in one of the folders.
func (s *source) under(dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(s.path, d+"/") })
}

func parse(name string, text []byte) (*source, error) {
	fset := token.NewFileSet()
	// Objects are resolved within the file, so that a local variable that has
	// the name of an import is told from it.
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	s := &source{path: name, text: text, fset: fset, file: file, imports: map[string]string{}}
	for _, i := range file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		local := path.Base(p)
		if regexp.MustCompile(`^v[0-9]+$`).MatchString(local) {
			local = path.Base(path.Dir(p))
		}
		if i.Name != nil {
			local = i.Name.Name
		}
		s.imports[local] = p
	}
	return s, nil
}

// of gives the import path and the name of a qualified identifier.
func (s *source) of(e ast.Node) (pkg, name string) {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok || x.Obj != nil {
		return "", ""
	}
	return s.imports[x.Name], sel.Sel.Name
}

func readSources(t *testing.T) []*source {
	var all []*source
	root := os.DirFS(".")
	require.NoError(t, fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		s, err := parse(name, text)
		if err != nil {
			return err
		}
		all = append(all, s)
		return nil
	}))
	return all
}

// A rule judges all files together.
type rule struct {
	name  string
	check func([]*source) []finding
}

func rules() []rule {
	return []rule{
		{"arrows", each(checkArrows)},
		{"world", each(checkWorld)},
		{"http", each(checkHTTP)},
		{"state", checkState},
		{"docs", checkDocs},
		{"gofmt", each(checkFormat)},
		{"markers", each(checkMarkers)},
	}
}

func each(check func(*source) []finding) func([]*source) []finding {
	return func(all []*source) []finding {
		var found []finding
		for _, s := range all {
			found = append(found, check(s)...)
		}
		return found
	}
}

func TestCheck(t *testing.T) {
	all := readSources(t)
	require.NotEmpty(t, all)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range r.check(all) {
				t.Error(f)
			}
		})
	}
	t.Run("exemptions", func(t *testing.T) {
		for name := range exempt() {
			if !slices.ContainsFunc(all, func(s *source) bool { return s.path == name || s.under(name) }) {
				t.Errorf("%s is exempt but does not exist", name)
			}
		}
	})
}

// Arrows: which part may know which.

type arrow struct{ from, to, why string }

func arrows() []arrow {
	const (
		general    = "sim is a general library that knows nothing of this platform"
		production = "production code must not be able to tell that it is simulated"
		apart      = "a stand-in knows the contracts it is held to, and not who uses it"
		top        = "only main joins roles to a world, and nothing builds on main"
	)
	return []arrow{
		{"sim", "nodes", general}, {"sim", "fakes", general}, {"sim", "monitor", general}, {"sim", "scenarios", general},
		{"nodes", "sim", production}, {"nodes", "fakes", production}, {"nodes", "scenarios", production},
		{"monitor", "sim", production}, {"monitor", "fakes", production}, {"monitor", "scenarios", production},
		{"fakes", "sim", apart}, {"fakes", "monitor", apart}, {"fakes", "scenarios", apart},
		{"sim", "cmd", top}, {"nodes", "cmd", top}, {"monitor", "cmd", top}, {"fakes", "cmd", top}, {"scenarios", "cmd", top},
	}
}

func checkArrows(s *source) []finding {
	var found []finding
	for _, i := range s.file.Imports {
		p, _ := strconv.Unquote(i.Path.Value) // parse has done it before
		for _, a := range arrows() {
			to := module + "/" + a.to
			if s.under(a.from) && (p == to || strings.HasPrefix(p, to+"/")) {
				found = append(found, s.find(i.Pos(), "%s must not import %s: %s", a.from, a.to, a.why))
			}
		}
	}
	return found
}

// World: what must go through the Machine and the helpers of timing.go.

// exempt lists the files, and the folders, that may reach the world.
func exempt() map[string]string {
	const system = "it is the Machine of the operating system"
	return map[string]string{
		"nodes/osmachine.go":       system,
		"nodes/osmachine_linux.go": system,
		"nodes/osmachine_other.go": system,
		"nodes/oschild.go":         system,
		"nodes/osdisk.go":          system,
		"nodes/osnames.go":         system,
		"nodes/timing.go":          "it holds the helpers",
		"nodes/machinetest":        "it is run by tests, and judges deadlines",
		"fakes/internal/desk":      "it is run by tests",
	}
}

func (s *source) exempt() bool {
	for name := range exempt() {
		if s.path == name || s.under(name) {
			return true
		}
	}
	return false
}

// banned says why a qualified name may not be used, or "".
func banned(pkg, name string) string {
	const (
		wait   = "wait through nodes.Every, Sleep, Timeout, Deadline or FanOut, which keep deadlines apart"
		clock  = "read the clock through Machine.Now or Elapsed"
		random = "draw through Machine.Rand, which replays"
		world  = "reach the network through the Machine"
		disk   = "reach files and the process through the Machine"
		shared = "it is shared by all machines of a simulated world"
		log    = "log through Machine.Log"
	)
	has := func(names string) bool { return slices.Contains(strings.Fields(names), name) }
	prefix := func(p ...string) bool {
		return slices.ContainsFunc(p, func(p string) bool { return strings.HasPrefix(name, p) })
	}
	switch pkg {
	case "time":
		if has("Now Since Until") {
			return clock
		}
		if has("NewTicker NewTimer Tick AfterFunc After Sleep Ticker Timer") {
			return wait
		}
	case "context":
		if prefix("WithTimeout", "WithDeadline") {
			return wait
		}
	case "math/rand", "math/rand/v2":
		if !has("New NewSource NewZipf NewPCG NewChaCha8 Rand Source Source64 Zipf PCG ChaCha8") {
			return random
		}
	case "crypto/rand":
		return random
	case "net":
		if prefix("Dial", "Listen", "Lookup", "Resolve", "File", "Interface") && name != "Listener" || has("DefaultResolver Resolver") {
			return world
		}
	case "crypto/tls":
		if prefix("Dial", "Listen") {
			return world
		}
	case "net/http":
		if has("Get Post Head PostForm DefaultClient DefaultTransport DefaultServeMux Handle HandleFunc") {
			return shared
		}
		if prefix("ListenAndServe") {
			return world
		}
	case "os":
		if !prefix("Err", "Is") && !has("FileMode FileInfo PathError SyscallError NewSyscallError") {
			return disk
		}
	case "syscall":
		if !prefix("E") && !has("Conn RawConn") {
			return disk
		}
	case "os/exec", "os/signal", "io/ioutil":
		return disk
	case "path/filepath":
		if has("Abs EvalSymlinks Glob Walk WalkDir") {
			return disk
		}
	case "log":
		if !has("Logger New Lmsgprefix") {
			return log
		}
	case "log/slog":
		if has("Debug Info Warn Error Log LogAttrs DebugContext InfoContext WarnContext ErrorContext Default SetDefault With") {
			return log
		}
	}
	return ""
}

func checkWorld(s *source) []finding {
	if !s.under("nodes", "monitor", "fakes") || s.exempt() {
		return nil
	}
	var found []finding
	ast.Inspect(s.file, func(n ast.Node) bool {
		if pkg, name := s.of(n); pkg != "" {
			if why := banned(pkg, name); why != "" {
				found = append(found, s.find(n.Pos(), "%s.%s: %s", pkg, name, why))
			}
		}
		return true
	})
	for _, i := range s.file.Imports {
		if p, _ := strconv.Unquote(i.Path.Value); i.Name != nil && i.Name.Name == "." && p != "" {
			found = append(found, s.find(i.Pos(), "import . hides where names come from"))
		}
	}
	return found
}

// HTTP: every client and server owns its connections, and speaks HTTP/1.1.

func checkHTTP(s *source) []finding {
	if !s.under("nodes", "monitor", "fakes") || s.exempt() {
		return nil
	}
	needs := map[string][]string{
		"Client":    {"Transport"},
		"Transport": {"DialContext", "TLSNextProto"},
		"Server":    {"TLSNextProto"},
	}
	why := map[string]string{
		"Transport":    "or it is the one that all share",
		"DialContext":  "or it dials past the Machine",
		"TLSNextProto": "empty but set, or it may speak HTTP/2, which holds mutexes while it waits",
	}
	var found []finding
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			pkg, name := s.of(n.Type)
			if pkg != "net/http" {
				break
			}
			for _, field := range needs[name] {
				if !hasKey(n, field) {
					found = append(found, s.find(n.Pos(), "http.%s without %s: set it, %s", name, field, why[field]))
				}
			}
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Shutdown" || len(n.Args) != 1 || !slices.Contains(values(s.imports), "net/http") {
				break
			}
			found = append(found, s.find(n.Pos(), "Shutdown of an http.Server polls at random times: use nodes.Drain's Serve"))
		}
		return true
	})
	return found
}

func hasKey(l *ast.CompositeLit, name string) bool {
	return slices.ContainsFunc(l.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return false
		}
		key, ok := kv.Key.(*ast.Ident)
		return ok && key.Name == name
	})
}

func values(m map[string]string) []string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// State: two machines of one simulated world share package-level variables, so
// those must never change. Allowed are the blank name, errors, compiled
// patterns and templates, parsed addresses, set instants, embedded files, and
// tables whose comment says "read-only", as long as no statement of the package changes one.

func checkState(all []*source) []finding {
	var found []finding
	tables := map[string]map[string]bool{} // names by folder
	for _, s := range all {
		if !s.under("nodes", "monitor", "fakes") {
			continue
		}
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				doc := g.Doc.Text() + v.Doc.Text() + v.Comment.Text()
				for i, name := range v.Names {
					if name.Name == "_" || s.embedded(g, v) {
						continue
					}
					if len(v.Values) == len(v.Names) && s.constant(v.Values[i]) || strings.Contains(doc, "read-only") {
						dir := path.Dir(s.path)
						if tables[dir] == nil {
							tables[dir] = map[string]bool{}
						}
						tables[dir][name.Name] = true
						continue
					}
					found = append(found, s.find(name.Pos(), "package-level var %s: machines of one world would share it; make it a const, "+
						"a function, a field, or a table that its comment calls read-only", name.Name))
				}
			}
		}
	}
	for _, s := range all {
		found = append(found, s.changes(tables[path.Dir(s.path)])...)
	}
	return found
}

// constant reports whether a value cannot be changed through its variable.
func (s *source) constant(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	switch pkg, name := s.of(call.Fun); pkg {
	case "errors":
		return name == "New"
	case "fmt":
		return name == "Errorf"
	case "regexp", "html/template", "text/template", "net/netip":
		return strings.HasPrefix(name, "Must")
	case "strings":
		return name == "NewReplacer"
	case "time":
		return name == "Unix" || name == "Date"
	}
	return false
}

func (s *source) embedded(g *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, c := range []*ast.CommentGroup{g.Doc, v.Doc} {
		if c != nil && slices.ContainsFunc(c.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") }) {
			return true
		}
	}
	return false
}

// changes finds statements that change one of the named variables.
func (s *source) changes(names map[string]bool) []finding {
	var found []finding
	judge := func(e ast.Expr) {
		// What another file of the package declares has no object here; what is
		// local has one that is not the file's.
		if id := base(e); id != nil && names[id.Name] && (id.Obj == nil || id.Obj == s.file.Scope.Lookup(id.Name)) {
			found = append(found, s.find(e.Pos(), "%s is read-only, as all package-level variables are", id.Name))
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				judge(e)
			}
		case *ast.IncDecStmt:
			judge(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				judge(n.X)
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "delete" || f.Name == "clear") && len(n.Args) > 0 {
				judge(n.Args[0])
			}
		}
		return true
	})
	return found
}

// base gives the variable at the bottom of x[i].f and the like.
func base(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// Docs: one package comment, and a comment on all that is exported.

func checkDocs(all []*source) []finding {
	var found []finding
	comments := map[string][]*source{}
	first := map[string]*source{}
	for _, s := range all {
		dir := path.Dir(s.path)
		if first[dir] == nil {
			first[dir] = s
		}
		if s.file.Doc != nil {
			comments[dir] = append(comments[dir], s)
		}
		if s.file.Name.Name != "main" {
			found = append(found, s.undocumented()...)
		}
	}
	for _, s := range all { // in order
		dir := path.Dir(s.path)
		if first[dir] != s {
			continue
		}
		switch list := comments[dir]; {
		case len(list) == 0:
			found = append(found, s.find(s.file.Package, "package %s has no package comment", s.file.Name.Name))
		case len(list) > 1:
			found = append(found, list[1].find(list[1].file.Doc.Pos(), "package %s has a package comment in %s already", s.file.Name.Name, list[0].path))
		case s.file.Name.Name != "main" && !strings.HasPrefix(list[0].file.Doc.Text(), "Package "+s.file.Name.Name+" "):
			found = append(found, list[0].find(list[0].file.Doc.Pos(), "a package comment begins with: Package %s", s.file.Name.Name))
		}
	}
	return found
}

func (s *source) undocumented() []finding {
	var found []finding
	missing := func(id *ast.Ident, docs ...*ast.CommentGroup) {
		if !id.IsExported() {
			return
		}
		for _, d := range docs {
			if strings.TrimSpace(d.Text()) != "" {
				return
			}
		}
		found = append(found, s.find(id.Pos(), "%s is exported and has no comment", id.Name))
	}
	// Everybody knows what these are for.
	known := []string{"Error", "String", "Unwrap"}
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv != nil && slices.Contains(known, d.Name.Name) {
				continue
			}
			if d.Recv == nil || ast.IsExported(receiver(d)) {
				missing(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					missing(spec.Name, d.Doc, spec.Doc, spec.Comment)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						missing(name, d.Doc, spec.Doc, spec.Comment)
					}
				}
			}
		}
	}
	return found
}

func receiver(d *ast.FuncDecl) string {
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func checkFormat(s *source) []finding {
	want, err := format.Source(s.text)
	if err != nil {
		return []finding{s.find(s.file.Pos(), "gofmt: %v", err)}
	}
	if !bytes.Equal(want, s.text) {
		return []finding{s.find(s.file.Pos(), "not as gofmt would have it")}
	}
	return nil
}

// Markers: what is left to do stands in an issue, where it can be found.

func checkMarkers(s *source) []finding {
	marker := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	var found []finding
	for _, g := range s.file.Comments {
		for _, c := range g.List {
			if m := marker.FindString(c.Text); m != "" {
				found = append(found, s.find(c.Pos(), "comment with %s", m))
			}
		}
	}
	return found
}

// The rules themselves.

func TestRules(t *testing.T) {
	const doc = "// Package p is p.\npackage p\n\n"
	imports := func(paths ...string) string {
		text := doc
		for _, p := range paths {
			text += "import " + p + "\n"
		}
		return text + "\n"
	}
	in := func(body string) string { return "func f() {\n" + body + "\n}\n" }
	for _, test := range []struct {
		rule, path, text string
		want             string // in the one finding; none when empty
	}{
		{"arrows", "sim/x.go", imports(`"github.com/espra/protoplex/nodes"`), "sim must not import nodes: sim is a general"},
		{"arrows", "sim/names/x.go", imports(`"github.com/espra/protoplex/fakes/dns"`), "sim must not import fakes"},
		{"arrows", "nodes/live/x.go", imports(`x "github.com/espra/protoplex/sim"`), "nodes must not import sim: production"},
		{"arrows", "monitor/x.go", imports(`"github.com/espra/protoplex/scenarios/story"`), "monitor must not import scenarios"},
		{"arrows", "fakes/dns/x.go", imports(`"github.com/espra/protoplex/monitor"`), "fakes must not import monitor"},
		{"arrows", "scenarios/x.go", imports(`"github.com/espra/protoplex/cmd/protoplex"`), "scenarios must not import cmd"},
		{"arrows", "fakes/dns/x.go", imports(`"github.com/espra/protoplex/nodes"`), ""},
		{"arrows", "scenarios/x.go", imports(`"github.com/espra/protoplex/sim"`, `"github.com/espra/protoplex/nodes"`), ""},
		{"arrows", "nodes/x.go", imports(`"example.com/sim"`, `"github.com/espra/protoplex/simple"`), ""},

		{"world", "nodes/x.go", imports(`"time"`) + in("time.Now()"), "time.Now: read the clock"},
		{"world", "nodes/x.go", imports(`"time"`) + in("time.Since(t)"), "time.Since"},
		{"world", "monitor/x.go", imports(`clock "time"`) + in("<-clock.After(1)"), "time.After: wait through"},
		{"world", "nodes/x.go", imports(`"time"`) + in("time.Sleep(1)"), "time.Sleep"},
		{"world", "nodes/x.go", imports(`"time"`) + in("time.NewTicker(1)"), "time.NewTicker"},
		{"world", "nodes/x.go", imports(`"time"`) + in("f := time.AfterFunc\n_ = f"), "time.AfterFunc"},
		{"world", "nodes/x.go", imports(`"context"`) + in("context.WithTimeout(ctx, 1)"), "context.WithTimeout"},
		{"world", "fakes/x.go", imports(`"math/rand"`) + in("rand.Intn(3)"), "math/rand.Intn: draw"},
		{"world", "fakes/x.go", imports(`"math/rand/v2"`) + in("rand.N(3)"), "math/rand/v2.N"},
		{"world", "fakes/x.go", imports(`"math/rand/v2"`) + in("rand.New(rand.NewPCG(1, 2))"), ""},
		{"world", "nodes/x.go", imports(`"crypto/rand"`) + in("rand.Read(b)"), "crypto/rand.Read"},
		{"world", "nodes/x.go", imports(`"net"`) + in(`net.Dial("tcp", "x")`), "net.Dial: reach the network"},
		{"world", "nodes/x.go", imports(`"net"`) + in("var d net.Dialer\n_ = d"), "net.Dialer"},
		{"world", "nodes/x.go", imports(`"net"`) + in(`net.ListenPacket("udp", "x")`), "net.ListenPacket"},
		{"world", "nodes/x.go", imports(`"net"`) + in(`net.LookupHost("x")`), "net.LookupHost"},
		{"world", "nodes/x.go", imports(`"net"`) + in("_ = net.DefaultResolver"), "net.DefaultResolver"},
		{"world", "nodes/x.go", imports(`"net"`) + in(`net.JoinHostPort("a", "b")`), ""},
		{"world", "nodes/x.go", imports(`"net"`) + in("var l net.Listener\n_ = l"), ""},
		{"world", "nodes/x.go", imports(`"crypto/tls"`) + in(`tls.Dial("tcp", "x", nil)`), "crypto/tls.Dial"},
		{"world", "nodes/x.go", imports(`"net/http"`) + in(`http.Get("x")`), "net/http.Get: it is shared"},
		{"world", "nodes/x.go", imports(`"net/http"`) + in("_ = http.DefaultTransport"), "net/http.DefaultTransport"},
		{"world", "nodes/x.go", imports(`"net/http"`) + in(`http.NewRequest("GET", "x", nil)`), ""},
		{"world", "nodes/x.go", imports(`"os"`) + in(`os.ReadFile("x")`), "os.ReadFile: reach files"},
		{"world", "nodes/x.go", imports(`"os"`) + in(`os.Getenv("x")`), "os.Getenv"},
		{"world", "nodes/x.go", imports(`"os"`) + in("_ = os.ErrNotExist"), ""},
		{"world", "nodes/x.go", imports(`"os/exec"`) + in(`exec.Command("x")`), "os/exec.Command"},
		{"world", "nodes/x.go", imports(`"syscall"`) + in("syscall.Kill(1, 9)"), "syscall.Kill"},
		{"world", "nodes/x.go", imports(`"syscall"`) + in("_ = syscall.ENOSPC"), ""},
		{"world", "nodes/x.go", imports(`"log/slog"`) + in(`slog.Info("x")`), "log/slog.Info: log through"},
		{"world", "nodes/x.go", imports(`"log"`) + in(`log.Println("x")`), "log.Println"},
		{"world", "nodes/x.go", imports(`. "time"`), "import . hides"},
		{"world", "nodes/x.go", imports(`"time"`) + in("time := clock{}\ntime.Now()"), ""},
		{"world", "nodes/timing.go", imports(`"time"`) + in("time.Now()"), ""},
		{"world", "nodes/machinetest/x.go", imports(`"time"`) + in("time.Now()"), ""},
		{"world", "sim/x.go", imports(`"time"`) + in("time.Now()"), ""},

		{"http", "nodes/x.go", imports(`"net/http"`) + in("_ = &http.Client{}"), "http.Client without Transport"},
		{"http", "nodes/x.go", imports(`"net/http"`) + in("_ = http.Transport{DialContext: d}"), "http.Transport without TLSNextProto"},
		{"http", "nodes/x.go", imports(`"net/http"`) + in("_ = http.Transport{TLSNextProto: p}"), "http.Transport without DialContext"},
		{"http", "nodes/x.go", imports(`"net/http"`) + in("_ = http.Server{Handler: h}"), "http.Server without TLSNextProto"},
		{"http", "nodes/x.go", imports(`"net/http"`) + in("_ = http.Server{TLSNextProto: p}"), ""},
		{"http", "nodes/x.go", imports(`"net/http"`) + in("server.Shutdown(ctx)"), "polls at random"},
		{"http", "sim/x.go", imports(`"net/http"`) + in("_ = &http.Client{}"), ""},

		{"state", "nodes/x.go", doc + "var x int\n", "package-level var x"},
		{"state", "fakes/x.go", doc + "var (\n\ta = 1\n)\n", "package-level var a"},
		{"state", "monitor/x.go", doc + "var table = map[string]int{}\n", "package-level var table"},
		{"state", "monitor/x.go", doc + "// table is read-only.\nvar table = map[string]int{}\n", ""},
		{"state", "monitor/x.go", doc + "// table is read-only.\nvar table = map[string]int{}\n\n" + in(`table["x"] = 1`), "table is read-only, as all"},
		{"state", "monitor/x.go", doc + "// table is read-only.\nvar table = map[string]int{}\n\n" + in(`delete(table, "x")`), "table is read-only, as all"},
		{"state", "monitor/x.go", doc + "// table is read-only.\nvar table = [3]int{}\n\n" + in("table[1]++"), "table is read-only, as all"},
		{"state", "monitor/x.go", doc + "// table is read-only.\nvar table = [3]int{}\n\n" + in("_ = &table"), "table is read-only, as all"},
		{"state", "monitor/x.go", doc + "// table is read-only.\nvar table = [3]int{}\n\n" + in("table := 1\ntable = 2\n_ = table"), ""},
		{"state", "monitor/x.go", doc + "// table is read-only.\nvar table = [3]int{}\n\n" + in("var table int\ntable = 2\n_ = table"), ""},
		{"state", "nodes/x.go", imports(`"errors"`) + "var errX = errors.New(\"x\")\n", ""},
		{"state", "nodes/x.go", imports(`"errors"`) + "var errX = errors.New(\"x\")\n\n" + in("errX = nil"), "errX is read-only"},
		{"state", "nodes/x.go", imports(`"regexp"`) + "var re = regexp.MustCompile(`x`)\n", ""},
		{"state", "nodes/x.go", imports(`"io"`) + "var _ io.Reader = (*x)(nil)\n", ""},
		{"state", "nodes/x.go", imports(`"embed"`) + "//go:embed x\nvar files embed.FS\n", ""},
		{"state", "sim/x.go", doc + "var x int\n", ""},

		{"docs", "sim/x.go", "package p\n", "no package comment"},
		{"docs", "sim/x.go", "// This is p.\npackage p\n", "begins with: Package p"},
		{"docs", "sim/x.go", doc + "func F() {}\n", "F is exported"},
		{"docs", "sim/x.go", doc + "type T int\n", "T is exported"},
		{"docs", "sim/x.go", doc + "const C = 1\n", "C is exported"},
		{"docs", "sim/x.go", doc + "// T is t.\ntype T[K any] int\n\nfunc (*T[K]) M() {}\n", "M is exported"},
		{"docs", "sim/x.go", doc + "type t int\n\nfunc (t) M() {}\n", ""},
		{"docs", "sim/x.go", doc + "// T is t.\ntype T int\n\nfunc (T) String() string { return \"\" }\n", ""},
		{"docs", "sim/x.go", doc + "// Some.\nconst (\n\tA = 1\n\tB = 2\n)\n", ""},
		{"docs", "sim/x.go", doc + "const (\n\tA = 1 // is one\n)\n", ""},
		{"docs", "cmd/x/x.go", "// The x command.\npackage main\n\nfunc F() {}\n", ""},

		{"gofmt", "sim/x.go", doc + "var  x int\n", "not as gofmt"},
		{"gofmt", "sim/x.go", doc + "var x int\n", ""},
		{"markers", "sim/x.go", doc + "// TO" + "DO: more\nvar x int\n", "comment with"},
		{"markers", "sim/x.go", doc + "// todos are fine as a word\nvar x int\n", ""},
	} {
		t.Run(test.rule+"/"+test.want, func(t *testing.T) {
			s, err := parse(test.path, []byte(test.text))
			require.NoError(t, err)
			i := slices.IndexFunc(rules(), func(r rule) bool { return r.name == test.rule })
			require.GreaterOrEqual(t, i, 0)
			found := rules()[i].check([]*source{s})
			if test.want == "" {
				require.Empty(t, found, test.text)
				return
			}
			require.Len(t, found, 1, test.text)
			require.Contains(t, found[0].String(), test.want)
		})
	}
}

func TestRulesAcrossFiles(t *testing.T) {
	one, err := parse("nodes/a.go", []byte("// Package nodes is one.\npackage nodes\n\n// table is read-only.\nvar table = []int{1}\n"))
	require.NoError(t, err)
	two, err := parse("nodes/b.go", []byte("// Package nodes is two.\npackage nodes\n\nfunc f() { table[0] = 2 }\n"))
	require.NoError(t, err)
	both := []*source{one, two}
	found := checkState(both)
	require.Len(t, found, 1)
	require.Equal(t, "nodes/b.go", found[0].pos.Filename)
	found = checkDocs(both)
	require.Len(t, found, 1)
	require.Contains(t, found[0].text, "has a package comment in nodes/a.go already")
}
