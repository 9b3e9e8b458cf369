package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds that keep a hostile file from costing more than a moment. The parser's
// work grows with the square of the tokens, and its stack with the depth.
const (
	maxBytes  = 256 << 10
	maxTokens = 40000
	maxDepth  = 16
	maxIndent = 100
)

// Parse gives the one document of a file, for those who read nodes themselves.
// Its mappings may have keys twice. What is wrong comes as Errors.
func Parse(name string, text []byte) (ast.Node, error) {
	f := &File{name: name}
	return f.document(text), f.Err()
}

// document checks bounds and syntax and gives the file's one document, nil if
// there is something wrong with it.
func (f *File) document(data []byte) ast.Node {
	if len(data) > maxBytes {
		f.failAt(Pos{1, 1}, "the file has more than %d bytes", maxBytes)
		return nil
	}
	// Line ends first: the scanner miscounts lines where a comment meets "\r\n".
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	if !f.characters(text) {
		return nil
	}
	root, err := f.parse(text)
	if err != nil {
		p, message := Pos{1, 1}, err.Error()
		if e := yaml.Error(nil); errors.As(err, &e) {
			p, message = tokenPos(e.GetToken()), e.GetMessage()
		}
		f.failAt(p, "not valid YAML: %s", Clip(message))
	}
	if len(f.errs) > 0 {
		return nil
	}
	return root
}

// characters refuses what no text editor would have written.
func (f *File) characters(text string) bool {
	at := Pos{1, 1}
	for rest := text; rest != ""; {
		c, n := utf8.DecodeRuneInString(rest)
		switch {
		case c == utf8.RuneError && n == 1:
			f.failAt(at, "not valid UTF-8")
			return false
		case c == '\t':
			f.failAt(at, "a tab; use spaces")
			return false
		case c < ' ' && c != '\n', c == 0x7f, c == '\ufeff':
			f.failAt(at, "control character %U", c)
			return false
		case c == '\n':
			at = Pos{at.Line + 1, 1}
		default:
			at.Column++
		}
		rest = rest[n:]
	}
	return true
}

// parse gives the only document of text. It turns a panic of the YAML library
// into an error, because files may come from anywhere.
func (f *File) parse(text string) (root ast.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, errors.New("the parser cannot make sense of it")
		}
	}()
	tokens := lexer.Tokenize(text)
	if !f.tokens(tokens) {
		return nil, nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, err
	}
	if len(file.Docs) > 1 && file.Docs[1].Body != nil {
		f.failAt(Place(file.Docs[1].Body), "a second document; a file holds one")
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		f.failAt(Pos{1, 1}, "the file is empty")
		return nil, nil
	}
	return file.Docs[0].Body, nil
}

// tokens refuses the parts of YAML that hide what a file says, and nesting that
// no scenario needs.
func (f *File) tokens(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		f.failAt(tokenPos(tokens[maxTokens]), "the file is too long: more than %d words and signs", maxTokens)
		return false
	}
	ok, depth := true, 0
	for _, t := range tokens {
		problem := ""
		switch t.Type {
		case token.AnchorType:
			problem = "anchors (&) are not allowed"
		case token.AliasType:
			problem = "aliases (*) are not allowed; quote a text that starts with *"
		case token.MergeKeyType:
			problem = "merge keys (<<) are not allowed"
		case token.TagType:
			problem = "tags (!) are not allowed"
		case token.DirectiveType:
			problem = "directives (%) are not allowed"
		case token.MappingKeyType:
			problem = "complex keys (?) are not allowed"
		case token.MappingStartType, token.SequenceStartType:
			depth++
			if depth > maxDepth {
				f.failAt(tokenPos(t), "nested too deeply")
				return false
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType:
			if t.Position.Column > maxIndent {
				f.failAt(tokenPos(t), "nested too deeply")
				return false
			}
		}
		if problem != "" {
			f.failAt(tokenPos(t), "%s", problem)
			ok = false
		}
	}
	return ok
}

func (f *File) failAt(at Pos, format string, args ...any) {
	f.errs = append(f.errs, &Error{f.name, at, fmt.Sprintf(format, args...)})
}

func tokenPos(t *token.Token) Pos {
	if t == nil || t.Position == nil || t.Position.Line < 1 {
		return Pos{1, 1}
	}
	return Pos{t.Position.Line, max(t.Position.Column, 1)}
}

// Place is where a node begins.
func Place(n ast.Node) Pos {
	switch n := n.(type) {
	case *ast.LiteralNode:
		return tokenPos(n.Start)
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return Place(n.Values[0])
		}
		return tokenPos(n.Start)
	case *ast.MappingValueNode:
		return Place(n.Key)
	}
	return tokenPos(n.GetToken())
}
