package story

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"github.com/espra/protoplex/nodes/config"
)

// reader turns YAML nodes into values and collects what is wrong on the way, so
// that one run reports everything. Its methods give zero values where they
// report an error.
type reader struct {
	file string
	errs Errors

	// What is known to be wrong already must not be reported again as something
	// else that follows from it.
	loose  bool            // topology or workload: match no names against them
	broken map[string]bool // events, by ID
}

func (r *reader) failf(p Pos, format string, args ...any) {
	r.errs = append(r.errs, &Error{File: r.file, Pos: p, Message: fmt.Sprintf(format, args...)})
}

// value is a YAML node together with the key it stands under. A value without a
// node is one that the file leaves out.
type value struct {
	key  string // for messages
	node ast.Node
	pos  Pos
}

func (v value) given() bool { return v.node != nil }

// document checks bounds and syntax and gives the file's one document.
func (r *reader) document(data []byte) (value, bool) {
	root, err := config.Parse(r.file, data)
	if errs := (Errors)(nil); errors.As(err, &errs) {
		r.errs = append(r.errs, errs...)
		return value{}, false
	}
	return value{key: "the file", node: root, pos: config.Place(root)}, true
}

func (r *reader) wrongType(v value, want string) {
	r.failf(v.pos, "%s: want %s, got %s", v.key, want, config.Describe(v.node))
}

// entries gives the keys and values of a mapping in file order; keys that come
// twice are reported and left out.
func (r *reader) entries(v value) []entry {
	if !v.given() {
		return nil
	}
	m, ok := v.node.(ast.MapNode)
	if !ok {
		r.wrongType(v, "a mapping")
		return nil
	}
	var all []entry
	seen := map[string]Pos{}
	for it := m.MapRange(); it.Next(); {
		name, at := it.Key().GetToken().Value, config.Place(it.Key())
		if first, twice := seen[name]; twice {
			r.failf(at, "the key %q comes twice; first at %v", clip(name), first)
			continue
		}
		seen[name] = at
		all = append(all, entry{key: name, keyPos: at, value: under(name, at, it.Value())})
	}
	return all
}

type entry struct {
	key    string
	keyPos Pos
	value  value
}

func under(key string, keyPos Pos, n ast.Node) value {
	v := value{key: clip(key), node: n, pos: config.Place(n)}
	if _, null := n.(*ast.NullNode); null {
		v.pos = keyPos // an empty value has no place of its own
	}
	return v
}

// fields are the values of a mapping by key.
type fields map[string]value

// fields reads a mapping whose keys are known beforehand. A name in known that
// ends in "!" must be there.
func (r *reader) fields(v value, known ...string) fields {
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = strings.TrimSuffix(k, "!")
	}
	f := fields{}
	var meant []string
	for _, e := range r.entries(v) {
		if !slices.Contains(names, e.key) {
			r.failf(e.keyPos, "unknown key %q%s", clip(e.key), r.suggest(e.key, names))
			meant = append(meant, config.Nearest(e.key, names))
			continue
		}
		f[e.key] = e.value
	}
	if v.given() && isMap(v.node) {
		for i, k := range known {
			if _, there := f[names[i]]; !there && k != names[i] && !slices.Contains(meant, names[i]) {
				r.failf(v.pos, "%s: the key %q is missing", v.key, names[i])
			}
		}
	}
	return f
}

func isMap(n ast.Node) bool { _, ok := n.(ast.MapNode); return ok }

func isEmptyList(v value) bool {
	n, ok := v.node.(*ast.SequenceNode)
	return ok && len(n.Values) == 0
}

// list gives the elements of a list of at most limit elements.
func (r *reader) list(v value, limit int) []value {
	if !v.given() {
		return nil
	}
	n, ok := v.node.(*ast.SequenceNode)
	if !ok {
		r.wrongType(v, "a list")
		return nil
	}
	if len(n.Values) > limit {
		r.failf(v.pos, "%s: %d entries; at most %d", v.key, len(n.Values), limit)
		return nil
	}
	all := make([]value, len(n.Values))
	for i, e := range n.Values {
		all[i] = under(v.key, v.pos, e)
	}
	return all
}

// phrase is a text of one line whose words can be pointed at.
type phrase struct {
	text  string
	pos   Pos
	exact bool // columns within the text are known
}

// at gives the place of the character at a byte offset of the text.
func (p phrase) at(offset int) Pos {
	if !p.exact {
		return p.pos
	}
	return Pos{Line: p.pos.Line, Column: p.pos.Column + utf8.RuneCountInString(p.text[:offset])}
}

// phrase reads a text that is not empty.
func (r *reader) phrase(v value) (phrase, bool) {
	if !v.given() {
		return phrase{}, false
	}
	n, ok := v.node.(*ast.StringNode)
	if !ok {
		r.wrongType(v, "text on one line")
		return phrase{}, false
	}
	if strings.TrimSpace(n.Value) == "" {
		r.failf(v.pos, "%s: the text is empty", v.key)
		return phrase{}, false
	}
	p := phrase{text: n.Value, pos: v.pos}
	switch origin := strings.TrimSpace(n.Token.Origin); origin {
	case n.Value:
		p.exact = true
	case `"` + n.Value + `"`, "'" + n.Value + "'":
		p.exact, p.pos.Column = true, p.pos.Column+1
	}
	return p, true
}

// text reads a text of at most limit characters, on one line or several.
func (r *reader) text(v value, limit int) string {
	if !v.given() {
		return ""
	}
	var s string
	switch n := v.node.(type) {
	case *ast.StringNode:
		s = n.Value
	case *ast.LiteralNode:
		s = n.Value.Value
	default:
		r.wrongType(v, "text")
		return ""
	}
	s = strings.TrimSpace(s)
	switch n := utf8.RuneCountInString(s); {
	case n == 0:
		r.failf(v.pos, "%s: the text is empty", v.key)
	case n > limit:
		r.failf(v.pos, "%s: %d characters; at most %d", v.key, n, limit)
	}
	return s
}

// texts reads a list of texts.
func (r *reader) texts(v value, limit int) []string {
	var all []string
	for _, e := range r.list(v, 100) {
		all = append(all, r.text(e, limit))
	}
	return all
}

// name reads a name, in the form of a host name's label.
func (r *reader) name(v value) string {
	if p, ok := r.phrase(v); ok {
		if isName(p.text) {
			return p.text
		}
		r.failf(p.pos, "%s: %q is no name: small letters, digits and single dashes, a letter first, less than %d in all",
			v.key, clip(p.text), maxName)
	}
	return ""
}

// names reads a list of different names; a list that is given may be empty.
func (r *reader) names(v value, limit int) (all []string, places []Pos) {
	for _, e := range r.list(v, limit) {
		name := r.name(e)
		switch {
		case name == "":
		case slices.Contains(all, name):
			r.failf(e.pos, "%s: %q comes twice", v.key, name)
		default:
			all, places = append(all, name), append(places, e.pos)
		}
	}
	return all, places
}

// chosen reads a list of different names out of known ones.
func (r *reader) chosen(v value, known []string) []string {
	all, places := r.names(v, 100)
	var good []string
	for i, name := range all {
		if slices.Contains(known, name) {
			good = append(good, name)
			continue
		}
		r.failf(places[i], "%s: unknown name %q%s", v.key, name, r.suggest(name, known))
	}
	return good
}

// scalar gives the text of a number or of a text on one line.
func (r *reader) scalar(v value, want string) (string, bool) {
	if !v.given() {
		return "", false
	}
	switch n := v.node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	r.wrongType(v, want)
	return "", false
}

func (r *reader) duration(v value, signed bool) time.Duration {
	if s, ok := r.scalar(v, "a duration such as 90s"); ok {
		d, err := parseDuration(s, signed)
		if err != nil {
			r.failf(v.pos, "%s: %v", v.key, err)
		}
		return d
	}
	return 0
}

// durations reads one duration, or a range from which one will be chosen.
func (r *reader) durations(v value, signed bool) (least, most time.Duration) {
	if s, ok := r.scalar(v, "a duration such as 2m, or a range such as 2m-2m30s"); ok {
		var err error
		if least, most, err = parseDurations(s, signed); err != nil {
			r.failf(v.pos, "%s: %v", v.key, err)
		}
	}
	return least, most
}

func (r *reader) share(v value) BasisPoints {
	if s, ok := r.scalar(v, "a percentage such as 99.9%"); ok {
		b, err := parseShare(s)
		if err != nil {
			r.failf(v.pos, "%s: %v", v.key, err)
		}
		return b
	}
	return 0
}

func (r *reader) factor(v value) Factor {
	if s, ok := r.scalar(v, "a factor such as 3x"); ok {
		f, err := parseFactor(s)
		if err != nil {
			r.failf(v.pos, "%s: %v", v.key, err)
		}
		return f
	}
	return 0
}

func (r *reader) rate(v value) Rate {
	if s, ok := r.scalar(v, "a rate such as 64KB/s"); ok {
		x, err := parseRate(s)
		if err != nil {
			r.failf(v.pos, "%s: %v", v.key, err)
		}
		return x
	}
	return 0
}

func (r *reader) span(v value) Range {
	if s, ok := r.scalar(v, "a count such as 1, or a range such as 1-2"); ok {
		n, err := parseRange(s)
		if err != nil {
			r.failf(v.pos, "%s: %v", v.key, err)
		}
		return n
	}
	return Range{}
}

// count reads a number from low to high.
func (r *reader) count(v value, low, high int) int {
	if !v.given() {
		return 0
	}
	n, ok := v.node.(*ast.IntegerNode)
	if !ok {
		r.wrongType(v, fmt.Sprintf("a number from %d to %d", low, high))
		return low
	}
	i, err := parseCount(n.Token.Value)
	if err != nil || i < low || i > high {
		r.failf(v.pos, "%s: want a number from %d to %d, not %s", v.key, low, high, clip(n.Token.Value))
		return low
	}
	return i
}

// clip makes a stranger's text short and one line, for a message.
func clip(s string) string {
	if strings.Contains(s, "\n") {
		s = strings.Join(strings.Fields(s), " ")
	}
	if r := []rune(s); len(r) > maxName {
		return string(r[:maxName]) + "..."
	}
	return s
}
