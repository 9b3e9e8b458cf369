// Package strict reads YAML files that people write, and says where in the
// file a mistake is.
//
// It promises that a key which no field takes is an error, that all mistakes
// are reported together, that each begins with file:line:column, and that what
// was probably meant is suggested. What may fail is the file. Start at Decode;
// File.Errorf is for what only the reader of the values can judge.
package strict

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// File is a file that was read.
type File struct {
	name  string
	lines map[string]*token.Token // where the value of a path begins
}

// mistake is an error with its place.
type mistake struct {
	file string
	at   *token.Token // nil if it is about the file
	err  error
}

func (m mistake) Error() string {
	if m.at == nil {
		return m.file + ": " + m.err.Error()
	}
	return fmt.Sprintf("%s:%d:%d: %s", m.file, m.at.Position.Line, m.at.Position.Column, m.err)
}

func (m mistake) Unwrap() error { return m.err }

// Decode reads a file into what v points to, and gives all mistakes in it,
// joined in the order of the file. What is right is in v even so, and the File
// may be used. The name is for messages.
func Decode(name string, text []byte, v any) (*File, error) {
	f := &File{name: name, lines: map[string]*token.Token{}}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return f, f.mistake(nil, err)
	}
	var errs []error
	switch {
	case len(tree.Docs) > 1:
		errs = append(errs, mistake{name, tree.Docs[1].GetToken(), errors.New("a second document")})
	case len(tree.Docs) == 1 && tree.Docs[0].Body != nil:
		f.read(tree.Docs[0].Body, "", reflect.ValueOf(v).Elem(), &errs)
	}
	return f, Join(errs)
}

// Join brings errors of one file into the order of their places.
func Join(errs []error) error {
	var all []error
	for _, err := range errs {
		if list, ok := err.(interface{ Unwrap() []error }); ok {
			all = append(all, list.Unwrap()...)
		} else if err != nil {
			all = append(all, err)
		}
	}
	place := func(err error) (line, column int) {
		if m, ok := errors.AsType[mistake](err); ok && m.at != nil {
			return m.at.Position.Line, m.at.Position.Column
		}
		return 0, 0
	}
	slices.SortStableFunc(all, func(a, b error) int {
		aLine, aColumn := place(a)
		bLine, bColumn := place(b)
		return cmp.Or(cmp.Compare(aLine, bLine), cmp.Compare(aColumn, bColumn))
	})
	return errors.Join(all...)
}

// mistake places an error of the YAML library.
func (f *File) mistake(node ast.Node, err error) error {
	var at *token.Token
	if node != nil {
		at = node.GetToken()
	}
	if e := yaml.Error(nil); errors.As(err, &e) {
		if at == nil || node == nil {
			at = e.GetToken()
		}
		err = errors.New(e.GetMessage())
	}
	return mistake{f.name, at, errors.New(strings.TrimPrefix(err.Error(), "time: "))}
}

// read takes a node apart along the type of v, so that one mistake hides no
// other.
func (f *File) read(node ast.Node, path string, v reflect.Value, errs *[]error) {
	f.lines[path] = first(node)
	wrong := func(format string, args ...any) {
		*errs = append(*errs, mistake{f.name, node.GetToken(), fmt.Errorf(format, args...)})
	}
	switch n := node.(type) {
	case *ast.NullNode:
		return
	case *ast.TagNode, *ast.AnchorNode, *ast.AliasNode:
		wrong("tags, anchors and aliases are not read")
		return
	case *ast.MappingValueNode:
		node = &ast.MappingNode{BaseNode: &ast.BaseNode{}, Start: n.GetToken(), Values: []*ast.MappingValueNode{n}}
	}
	switch {
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct && !leaf(v.Type()):
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		f.read(node, path, v.Elem(), errs)
		return
	case v.Kind() == reflect.Struct && !leaf(v.Type()):
		if mapping, ok := node.(*ast.MappingNode); ok {
			f.fields(mapping, path, v, errs)
		} else {
			wrong("want keys and values here")
		}
		return
	case v.Kind() == reflect.Slice:
		list, ok := node.(*ast.SequenceNode)
		if !ok {
			wrong("want a list here")
			return
		}
		items := reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values))
		for k, item := range list.Values {
			f.read(item, fmt.Sprintf("%s[%d]", path, k), items.Index(k), errs)
		}
		v.Set(items)
		return
	}
	if err := yaml.NodeToValue(node, v.Addr().Interface(), yaml.Strict()); err != nil {
		*errs = append(*errs, f.mistake(node, err))
	}
}

// fields reads the keys of a mapping into the fields of a struct.
func (f *File) fields(mapping *ast.MappingNode, path string, v reflect.Value, errs *[]error) {
	fields := map[string]reflect.Value{}
	var known []string
	collect(v, fields, &known)
	given := map[string]bool{}
	for _, entry := range mapping.Values {
		key := strings.Trim(entry.Key.String(), `"'`)
		field, ok := fields[key]
		switch {
		case !ok:
			*errs = append(*errs, mistake{f.name, entry.Key.GetToken(), fmt.Errorf("unknown field %q%s", key, Suggest(key, known))})
		case given[key]:
			*errs = append(*errs, mistake{f.name, entry.Key.GetToken(), fmt.Errorf("%q is given twice", key)})
		default:
			given[key] = true
			f.read(entry.Value, strings.TrimPrefix(path+"."+key, "."), field, errs)
		}
	}
}

// collect lists the fields that keys name, those of inlined structs included.
func collect(v reflect.Value, fields map[string]reflect.Value, known *[]string) {
	for k := range v.NumField() {
		key, options, _ := strings.Cut(v.Type().Field(k).Tag.Get("yaml"), ",")
		switch {
		case strings.Contains(options, "inline"):
			collect(v.Field(k), fields, known)
		case key != "" && key != "-":
			fields[key] = v.Field(k)
			*known = append(*known, key)
		}
	}
}

// leaf says that a type reads its YAML in a way of its own, or has no keys that
// are known here.
func leaf(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Slice {
		return false
	}
	for _, reads := range []reflect.Type{reflect.TypeFor[yaml.BytesUnmarshaler](), reflect.TypeFor[yaml.InterfaceUnmarshaler]()} {
		if reflect.PointerTo(t).Implements(reads) {
			return true
		}
	}
	for k := range t.NumField() {
		if t.Field(k).Tag.Get("yaml") != "" {
			return false
		}
	}
	return true // such as time.Time
}

// first is where a node begins: a mapping at its first key.
func first(node ast.Node) *token.Token {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return first(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	case *ast.SequenceNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return first(n.Values[0])
		}
	}
	return node.GetToken()
}

// Errorf is an error about the value at a path, such as "targets[3].url". What
// is not in the file is said to be where it should stand.
func (f *File) Errorf(path, format string, args ...any) error {
	at := f.lines[path]
	for at == nil && path != "" {
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
		at = f.lines[path]
	}
	if path == "" {
		at = nil // it is not about the first line in particular
	}
	return mistake{f.name, at, fmt.Errorf(format, args...)}
}
