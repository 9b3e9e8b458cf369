package protoplex_test

import (
	"fmt"
	"go/ast"
	"go/build"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What README.md and ARCHITECTURE.md name must exist: a document that nobody
// checks tells of the code as it was.

func TestDocs(t *testing.T) {
	k := readKnowledge(t)
	for _, name := range []string{"README.md", "ARCHITECTURE.md"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			for _, f := range k.judge(string(text)) {
				t.Errorf("%s: %s", name, f)
			}
		})
	}
}

// Each document breaks one rule; the first breaks none.
func TestDocsFindings(t *testing.T) {
	k := readKnowledge(t)
	for _, c := range []struct{ text, want string }{
		{"`sim`, `sim/pump.go`, `nodes/proxy/`, `net/http`, `go.mod`, `sim.World.Impair`, `http.Serve`, `us-1.live.espra.com`, " +
			"[a](UNLICENSE) [b](https://example.com/none) [c](#here)\n```sh\nmake test\nprotoplex sim run steady\ngo test ./sim/...\n```\n", ""},
		{"`sim/pumps.go`", "sim/pumps.go does not exist"},
		{"`simm/pump.go`", "simm/pump.go does not exist"},
		{"`none.go`", "none.go does not exist"},
		{"`nodes/none/`", "nodes/none does not exist"},
		{"a link [to](NONE)", "NONE does not exist"},
		{"`sim.World.Impaired`", "sim.World.Impaired is not declared"},
		{"`sim.Worlds`", "sim.Worlds is not declared"},
		{"`simm.World`", "no package is called simm"},
		{"`make none`", "make none: no such target"},
		{"```sh\nmake none\n```", "make none: no such target"},
		{"```sh\nprotoplex sim run none\n```", "testdata/scenarios/none.yaml does not exist"},
		{"```sh\ngo test ./none/...\n```", "none does not exist"},
		{"```go\nfunc TestNone() {}\n```", "the Go example is in no file"},
	} {
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		require.Equal(t, want, k.judge(c.text), c.text)
	}
}

// knowledge is what documents can be held to.
type knowledge struct {
	declared map[string]bool // zone.Linode, sim.World.Impair, also unexported
	packages map[string]bool // of this module
	imported map[string]bool // local names of all other packages in use
	targets  map[string]bool // of the Makefile
	code     string          // of the tests of sim, where examples come from
}

func readKnowledge(t *testing.T) *knowledge {
	k := &knowledge{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, ""}
	for _, s := range readSources(t) {
		k.packages[s.file.Name.Name] = true
		for local := range s.imports {
			k.imported[local] = true
		}
		for _, name := range declarations(s.file) {
			k.declared[s.file.Name.Name+"."+name] = true
		}
	}
	makefile, err := os.ReadFile("Makefile")
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^([a-z]+):`).FindAllStringSubmatch(string(makefile), -1) {
		k.targets[m[1]] = true
	}
	examples, err := filepath.Glob("sim/*_test.go")
	require.NoError(t, err)
	for _, name := range examples {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		k.code += string(text)
	}
	return k
}

// declarations lists what a file declares: names, and members as Type.Member.
func declarations(f *ast.File) []string {
	var names []string
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = receiver(d) + "." + name
			}
			names = append(names, name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					for _, n := range spec.Names {
						names = append(names, n.Name)
					}
				case *ast.TypeSpec:
					names = append(names, spec.Name.Name)
					for _, member := range members(spec.Type) {
						names = append(names, spec.Name.Name+"."+member)
					}
				}
			}
		}
	}
	return names
}

func members(e ast.Expr) []string {
	var fields *ast.FieldList
	switch e := e.(type) {
	case *ast.StructType:
		fields = e.Fields
	case *ast.InterfaceType:
		fields = e.Methods
	default:
		return nil
	}
	var names []string
	for _, f := range fields.List {
		for _, n := range f.Names {
			names = append(names, n.Name)
		}
	}
	return names
}

var (
	fencePattern      = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	spanPattern       = regexp.MustCompile("`([^`\n]+)`")
	linkPattern       = regexp.MustCompile(`\]\(([^)#\s]+)\)`)
	makePattern       = regexp.MustCompile(`(?m)(?:^|\$ )make ([a-z]+)`)
	storyPattern      = regexp.MustCompile(`\bsim (?:run|verify) ([a-z][a-z0-9-]*)`)
	argumentPattern   = regexp.MustCompile(`(?:^|\s)\./([\w/.-]+)`)
	pathPattern       = regexp.MustCompile(`^[\w.-]+(/[\w.-]+)+/?$|^[\w.-]+/$|^[\w-]+\.(go|md|mod|sum|yaml)$`)
	identifierPattern = regexp.MustCompile(`^([a-z]\w*)\.[A-Za-z]\w*(\.[A-Za-z]\w*)?$`)
)

// judge lists what a document names and nobody has.
func (k *knowledge) judge(text string) []string {
	var found []string
	miss := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	exists := func(name string) {
		if _, err := os.Stat(name); err != nil {
			miss("%s does not exist", name)
		}
	}
	commands := func(code string) {
		for _, m := range makePattern.FindAllStringSubmatch(code, -1) {
			if !k.targets[m[1]] {
				miss("make %s: no such target", m[1])
			}
		}
		for _, m := range storyPattern.FindAllStringSubmatch(code, -1) {
			exists("testdata/scenarios/" + m[1] + ".yaml")
		}
		for _, m := range argumentPattern.FindAllStringSubmatch(code, -1) {
			exists(strings.TrimSuffix(m[1], "/..."))
		}
	}
	for _, m := range fencePattern.FindAllStringSubmatch(text, -1) {
		commands(m[2])
		if m[1] == "go" && !strings.Contains(k.code, m[2]) {
			miss("the Go example is in no file")
		}
	}
	text = fencePattern.ReplaceAllString(text, "")
	for _, m := range linkPattern.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(m[1], "://") {
			exists(m[1])
		}
	}
	for _, m := range spanPattern.FindAllStringSubmatch(text, -1) {
		span := m[1]
		commands(span)
		identifier := identifierPattern.FindStringSubmatch(span)
		switch {
		case pathPattern.MatchString(span):
			if !standard(span) {
				exists(path.Clean(span))
			}
		case identifier == nil || strings.HasSuffix(span, ".com"):
		case k.packages[identifier[1]]:
			if !k.declared[span] {
				miss("%s is not declared", span)
			}
		case !k.imported[identifier[1]]:
			miss("no package is called %s", identifier[1])
		}
	}
	return found
}

// standard reports whether a path is that of a package of the standard library.
func standard(name string) bool {
	p, err := build.Import(name, ".", build.FindOnly)
	return err == nil && p.Goroot
}
