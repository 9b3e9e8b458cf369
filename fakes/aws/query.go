package aws

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of one request's parameters.
const (
	maxParams = 500
	maxDepth  = 12 // dots in a name
	maxMember = 100
	maxValue  = 4096 // bytes
)

// params are the parameters of a request of the AWS Query protocol as the tree
// that their names spell: Targets.member.1.Id is a leaf three levels down.
type params struct {
	name  string // from the root
	value string
	leaf  bool
	kids  map[string]*params
}

// parseQuery reads a form-encoded body.
func parseQuery(body string) (*params, *apiError) {
	form, err := url.ParseQuery(body)
	if err != nil {
		return nil, malformed("the body is not form-encoded: " + err.Error())
	}
	if len(form) > maxParams {
		return nil, malformed(fmt.Sprintf("more than %d parameters", maxParams))
	}
	root := &params{}
	// By name, so that of several mistakes always the same one is reported.
	for _, name := range slices.Sorted(maps.Keys(form)) {
		values := form[name]
		if len(values) > 1 {
			return nil, malformed(clip(name) + " comes twice")
		}
		if len(values[0]) > maxValue || strings.Count(name, ".") > maxDepth {
			return nil, malformed(clip(name) + " is too long")
		}
		at := root
		for part := range strings.SplitSeq(name, ".") {
			next := at.kids[part]
			if next == nil {
				next = &params{name: strings.TrimPrefix(at.name+"."+part, ".")}
				if at.kids == nil {
					at.kids = map[string]*params{}
				}
				at.kids[part] = next
			}
			at = next
		}
		at.value, at.leaf = values[0], true
	}
	return root, nil
}

// take removes a parameter of the root and gives its value.
func (p *params) take(name string) string {
	kid := p.kids[name]
	delete(p.kids, name)
	if kid == nil {
		return ""
	}
	return kid.value
}

// decode reads parameters into a struct whose fields have their names: strings,
// ints, bools, pointers to those where being left out matters, structs, and
// slices of all of them. A parameter without a field is refused: nothing is
// ignored in silence.
func (p *params) decode(into any) *apiError { return p.set(reflect.ValueOf(into).Elem()) }

func (p *params) set(v reflect.Value) *apiError {
	switch v.Kind() {
	case reflect.Struct:
		return p.setStruct(v)
	case reflect.Slice:
		return p.setSlice(v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return p.set(v.Elem())
	}
	if !p.leaf || len(p.kids) > 0 {
		return invalid(clip(p.name) + " is one value")
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(p.value)
	case reflect.Bool:
		b, err := strconv.ParseBool(p.value)
		if err != nil {
			return invalid(clip(p.name) + " is neither true nor false")
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.ParseInt(p.value, 10, 32)
		if err != nil {
			return invalid(clip(p.name) + " is not a whole number")
		}
		v.SetInt(n)
	default:
		panic("aws: parameter of type " + v.Type().String())
	}
	return nil
}

func (p *params) setStruct(v reflect.Value) *apiError {
	if p.leaf {
		return invalid(clip(p.name) + " has parts")
	}
	for _, name := range slices.Sorted(maps.Keys(p.kids)) {
		f := v.FieldByName(name)
		if !f.IsValid() {
			return notServed("parameter " + clip(p.kids[name].name))
		}
		if e := p.kids[name].set(f); e != nil {
			return e
		}
	}
	return nil
}

// setSlice reads X.member.1, X.member.2 and so on; an empty list is written X=.
func (p *params) setSlice(v reflect.Value) *apiError {
	if p.leaf && p.value == "" && len(p.kids) == 0 {
		return nil
	}
	members := p.kids["member"]
	if p.leaf || members == nil || members.leaf || len(p.kids) > 1 || len(members.kids) > maxMember {
		return malformed(clip(p.name) + " is not a list of up to " + strconv.Itoa(maxMember) + " members")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(members.kids), len(members.kids)))
	for i := range len(members.kids) {
		member := members.kids[strconv.Itoa(i+1)]
		if member == nil {
			return malformed(clip(p.name) + " lacks member " + strconv.Itoa(i+1))
		}
		if e := member.set(v.Index(i)); e != nil {
			return e
		}
	}
	return nil
}

// clip shortens what a stranger wrote before it is repeated.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// stamp writes an instant as these APIs do.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
