// Package strict reads YAML files that people write, and says where in the
// file a mistake is.
//
// It promises that a key which no field takes is an error, that every error
// begins with file:line:column, and that it suggests what was probably meant.
// What may fail is the file. Start at Decode; File.Errorf is for what only the
// reader of the values can judge.
package strict

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// File is a file that was read.
type File struct {
	name string
	tree *ast.File
}

// Decode reads a file into what v points to. The name is for messages. The File
// may be used as long as there is no error.
func Decode(name string, text []byte, v any) (*File, error) {
	f := &File{name: name}
	err := yaml.UnmarshalWithOptions(text, v, yaml.Strict())
	if err == nil {
		f.tree, err = parser.ParseBytes(text, 0)
	}
	if err == nil {
		return f, nil
	}
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	message := at.GetMessage()
	if m := unknownField.FindStringSubmatch(message); m != nil {
		seen := map[reflect.Type]bool{}
		message += Suggest(m[1], keys(reflect.TypeOf(v), seen))
	}
	return nil, fmt.Errorf("%s: %s", f.place(at.GetToken()), message)
}

var unknownField = regexp.MustCompile(`^unknown field "(.*)"$`)

// keys are all that a type and the types in it take.
func keys(t reflect.Type, seen map[reflect.Type]bool) []string {
	if seen[t] {
		return nil
	}
	seen[t] = true
	var known []string
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return keys(t.Elem(), seen)
	case reflect.Struct:
		for field := range t.Fields() {
			if key, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); key != "" {
				known = append(known, key)
			}
			if field.IsExported() {
				known = append(known, keys(field.Type, seen)...)
			}
		}
	}
	return known
}

// Errorf is an error about the value at a path, such as "targets[3].url". What
// is not in the file is said to be where it should stand.
func (f *File) Errorf(path, format string, args ...any) error {
	return fmt.Errorf("%s: %w", f.At(path), fmt.Errorf(format, args...))
}

// At gives file:line:column of a path, or else of the closest thing around it
// that the file has.
func (f *File) At(path string) string {
	if !wellFormed.MatchString(path) {
		return f.name
	}
	for path != "" {
		if p, err := yaml.PathString("$." + path); err == nil {
			if node, err := p.FilterFile(f.tree); err == nil && node != nil {
				return f.place(first(node))
			}
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return f.name
}

// wellFormed is what the library's own parser of paths can be trusted with.
var wellFormed = regexp.MustCompile(`^[a-z][a-z0-9-]*(\[[0-9]+\]|\.[a-z][a-z0-9-]*)*$`)

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

func (f *File) place(t *token.Token) string {
	return fmt.Sprintf("%s:%d:%d", f.name, t.Position.Line, t.Position.Column)
}
