// Package config reads configuration files: one strict YAML document each.
//
// It promises that all that is wrong with a file is reported at once, each with
// file, line and column, and with what was probably meant where that is close:
// keys that are not known or come twice, values of another type, keys that are
// missing, and whatever the caller finds wrong. Files are bounded, and what hides
// the meaning of a file (anchors, aliases, tags, several documents) is refused.
// What may fail is only the file: Errors. Start at Read.
package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// File is a file that was read, and what is wrong with it. It is for one
// goroutine.
type File struct {
	name   string
	errs   Errors
	places map[string]Pos
	broken map[string]bool // values that are reported already
}

// Read fills the struct that into points to. Its fields have tags such as
// `yaml:"name"`; a key whose tag ends in ",omitempty" may be left out, and then
// the field keeps what it had. Fields are strings, bools, ints, durations
// ("90s"), instants (RFC 3339), structs and pointers to them, slices of these, and
// maps from string to string. The keys of a struct whose tag is ",inline" are
// those of the struct that it is in. Fields without a tag are left alone.
//
// Whoever checks further calls Failf and, at the end, Err. Values are addressed
// by path: "", "name", "providers[1].url", "lb.us-east".
func Read(name string, text []byte, into any) *File {
	f := &File{name: name, places: map[string]Pos{}, broken: map[string]bool{}}
	root := f.document(text)
	if root == nil {
		f.broken[""] = true
		return f
	}
	f.decode("", Pos{1, 1}, root, reflect.ValueOf(into).Elem())
	return f
}

// Failf reports that the value at a path is wrong. What stands in a value that is
// reported already, or is not there at all, is not reported again.
func (f *File) Failf(path, format string, args ...any) {
	if f.Broken(path) {
		return
	}
	f.broken[path] = true
	at, message := f.place(path), fmt.Sprintf(format, args...)
	if path != "" {
		message = path + ": " + message
	}
	f.failAt(at, "%s", message)
}

// Broken tells whether a value, or one that it stands in, is reported already.
func (f *File) Broken(path string) bool {
	for {
		if f.broken[path] {
			return true
		}
		if path == "" {
			return false
		}
		path = parent(path)
	}
}

// Given tells whether the file has a value at a path.
func (f *File) Given(path string) bool { _, ok := f.places[path]; return ok }

// Err gives all that is wrong, as Errors, or nil.
func (f *File) Err() error {
	if len(f.errs) == 0 {
		return nil
	}
	return f.errs.Sorted()
}

// place is where a value stands; for one that is left out, what it would stand
// in.
func (f *File) place(path string) Pos {
	for {
		if at, ok := f.places[path]; ok || path == "" {
			return at
		}
		path = parent(path)
	}
}

func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

func under(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// decode puts a node into a value. At is the place of its key.
func (f *File) decode(path string, at Pos, n ast.Node, v reflect.Value) {
	if _, null := n.(*ast.NullNode); !null {
		at = Place(n) // an empty value has no place of its own
	}
	f.places[path] = at
	wrong := func(want string) { f.Failf(path, "want %s, got %s", want, Describe(n)) }
	switch v.Interface().(type) {
	case time.Duration:
		text, ok := scalar(n)
		d, err := time.ParseDuration(text)
		switch {
		case !ok:
			wrong("a duration such as 90s")
		case err != nil:
			f.Failf(path, "%q is no duration such as 90s or 1h30m", Clip(text))
		default:
			v.SetInt(int64(d))
		}
		return
	case time.Time:
		text, ok := scalar(n)
		at, err := time.Parse(time.RFC3339, text)
		switch {
		case !ok:
			wrong("an instant such as 2026-03-07T02:00:00Z")
		case err != nil:
			f.Failf(path, "%q is no instant such as 2026-03-07T02:00:00Z", Clip(text))
		default:
			v.Set(reflect.ValueOf(at))
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		text, ok := scalar(n)
		if !ok {
			wrong("text")
			return
		}
		v.SetString(text)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			wrong("true or false")
			return
		}
		v.SetBool(b.Value)
	case reflect.Int:
		i, ok := n.(*ast.IntegerNode)
		if !ok {
			wrong("a whole number")
			return
		}
		x, err := strconv.Atoi(i.Token.Value)
		if err != nil {
			f.Failf(path, "%s is no number in decimal", Clip(i.Token.Value))
			return
		}
		v.SetInt(int64(x))
	case reflect.Slice:
		s, ok := n.(*ast.SequenceNode)
		if !ok {
			wrong("a list")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
		for i, e := range s.Values {
			f.decode(fmt.Sprintf("%s[%d]", path, i), at, e, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, e := range f.entries(path, n) {
			value := reflect.New(v.Type().Elem()).Elem()
			f.decode(under(path, e.key), e.at, e.node, value)
			v.SetMapIndex(reflect.ValueOf(e.key), value)
		}
	case reflect.Struct:
		f.fields(path, n, v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.decode(path, at, n, v.Elem())
	default:
		panic(fmt.Sprintf("config: no way to read a %s", v.Type()))
	}
}

// fields puts a mapping into a struct.
func (f *File) fields(path string, n ast.Node, v reflect.Value) {
	known := map[string]reflect.Value{}
	var names, needed []string
	keys(v, func(name string, field reflect.Value, need bool) {
		known[name], names = field, append(names, name)
		if need {
			needed = append(needed, name)
		}
	})
	entries := f.entries(path, n)
	if f.Broken(path) {
		return
	}
	meant := map[string]bool{}
	for _, e := range entries {
		field, ok := known[e.key]
		if !ok {
			f.failAt(e.at, "unknown key %q%s", Clip(e.key), Suggest(e.key, names))
			meant[Nearest(e.key, names)] = true
			continue
		}
		meant[e.key] = true
		f.decode(under(path, e.key), e.at, e.node, field)
	}
	for _, name := range needed {
		if !meant[name] {
			f.Failf(under(path, name), "the key is missing")
		}
	}
	for name := range meant {
		if _, ok := f.places[under(path, name)]; !ok {
			f.broken[under(path, name)] = true // misspelt: not wrong in another way too
		}
	}
}

// keys lists the keys of a struct with their fields, and whether they must be
// given.
func keys(v reflect.Value, each func(name string, field reflect.Value, need bool)) {
	for i := range v.NumField() {
		switch name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ","); {
		case option == "inline":
			keys(v.Field(i), each)
		case name != "":
			each(name, v.Field(i), option != "omitempty")
		}
	}
}

type entry struct {
	key  string
	at   Pos
	node ast.Node
}

// entries gives the keys and values of a mapping in the order of the file; keys
// that come twice are reported and left out.
func (f *File) entries(path string, n ast.Node) []entry {
	m, ok := n.(ast.MapNode)
	if !ok {
		f.Failf(path, "want a mapping, got %s", Describe(n))
		return nil
	}
	var all []entry
	seen := map[string]Pos{}
	for it := m.MapRange(); it.Next(); {
		key, at := it.Key().GetToken().Value, Place(it.Key())
		if first, twice := seen[key]; twice {
			f.failAt(at, "the key %q comes twice; first at %v", Clip(key), first)
			continue
		}
		seen[key] = at
		all = append(all, entry{key, at, it.Value()})
	}
	return all
}

// scalar gives the text of a text or a number.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// Describe says what a node is, in the words of a message.
func Describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.BoolNode:
		return "true or false"
	}
	return "a number"
}
