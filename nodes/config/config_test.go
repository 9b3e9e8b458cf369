package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes/config"
)

type pond struct {
	Name  string            `yaml:"name"`
	Depth int               `yaml:"depth,omitempty"`
	Deep  bool              `yaml:"deep,omitempty"`
	Every time.Duration     `yaml:"every,omitempty"`
	Words []string          `yaml:"words,omitempty"`
	Ducks []duck            `yaml:"ducks,omitempty"`
	Banks map[string]string `yaml:"banks,omitempty"`
	Since time.Time         `yaml:"since,omitempty"`
	Owner *owner            `yaml:"owner,omitempty"`
}

type owner struct {
	Name string `yaml:"name"`
}

type duck struct {
	bird `yaml:",inline"`
	Age  int `yaml:"age"`
}

type bird struct {
	Name string `yaml:"name"`
}

func TestRead(t *testing.T) {
	got := pond{Depth: 7, Every: time.Minute}
	f := config.Read("pond.yaml", []byte(`
name: mill     # a comment
deep: true
every: 1m30s
words: [a, 1.5]
ducks:
  - {name: ana, age: 2}
  - name: raj
    age: 3
banks: {north: reed, south: "mud: soft"}
since: 2026-03-02T14:00:00+01:00
owner: {name: lee}
`), &got)
	require.NoError(t, f.Err())
	require.Empty(t, cmp.Diff(pond{
		Name: "mill", Depth: 7, Deep: true, Every: 90 * time.Second, Words: []string{"a", "1.5"},
		Ducks: []duck{{bird{"ana"}, 2}, {bird{"raj"}, 3}}, Banks: map[string]string{"north": "reed", "south": "mud: soft"},
		Since: time.Date(2026, 3, 2, 13, 0, 0, 0, time.UTC), Owner: &owner{"lee"},
	}, got, cmp.AllowUnexported(duck{})))
	require.True(t, f.Given("ducks[1].age"))
	require.False(t, f.Given("depth"))

	f.Failf("ducks[1].name", "is asleep")
	f.Failf("ducks[1].name", "snores")
	f.Failf("banks.south", "too wet")
	f.Failf("depth", "must be measured")
	require.EqualError(t, f.Err(), `pond.yaml:2:1: depth: must be measured
pond.yaml:8:11: ducks[1].name: is asleep
pond.yaml:10:29: banks.south: too wet`)
	var errs config.Errors
	require.True(t, errors.As(f.Err(), &errs))
	require.Equal(t, config.Pos{Line: 8, Column: 11}, errs[1].Pos)
}

// All that is wrong is said at once, each thing once.
func TestWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "1:1: the file is empty",
		"[]":                                   "1:1: want a mapping, got a list",
		"name: a\nnaem: b":                     "2:1: unknown key \"naem\"; did you mean name?",
		"naem: b":                              "1:1: unknown key \"naem\"; did you mean name?",
		"qqqqqq: b":                            "1:1: name: the key is missing\n1:1: unknown key \"qqqqqq\"",
		"name: [a]\ndepth: x\ndeep: 1":         "1:7: name: want text, got a list\n2:8: depth: want a whole number, got text\n3:7: deep: want true or false, got a number",
		"name:\nevery: soon":                   "1:1: name: want text, got nothing\n2:8: every: \"soon\" is no duration such as 90s or 1h30m",
		"name: a\nname: b":                     "2:1: the key \"name\" comes twice; first at 1:1",
		"name: a\nducks: {}":                   "2:8: ducks: want a list, got a mapping",
		"name: a\nducks:\n- {nam: x, age: 1}":  "3:4: unknown key \"nam\"; did you mean name?",
		"name: a\nducks:\n- {name: x}":         "3:3: ducks[0].age: the key is missing",
		"name: a\nsince: noon":                 "2:8: since: \"noon\" is no instant such as 2026-03-07T02:00:00Z",
		"name: a\nsince: []":                   "2:8: since: want an instant such as 2026-03-07T02:00:00Z, got a list",
		"name: a\nowner: {nam: x}":             "2:9: unknown key \"nam\"; did you mean name?",
		"name: a\nowner: x":                    "2:8: owner: want a mapping, got text",
		"name: &a b":                           "1:7: anchors (&) are not allowed",
		"name: a\n---\nname: b":                "3:1: a second document; a file holds one",
		"name: a\n\tdepth: 1":                  "2:1: a tab; use spaces",
		"depth: 99999999999999999999\nname: a": "1:8: depth: want a whole number, got text",
	} {
		var p pond
		f := config.Read("f", []byte(text), &p)
		require.EqualError(t, f.Err(), "f:"+strings.ReplaceAll(want, "\n", "\nf:"), text)
	}
}

// Nothing that follows from an error is reported beside it, and what is right is
// read.
func TestBroken(t *testing.T) {
	var p pond
	f := config.Read("f", []byte("name: ["), &p)
	f.Failf("", "is no pond")
	f.Failf("depth", "is 0")
	require.EqualError(t, f.Err(), "f:1:7: not valid YAML: sequence end token ']' not found")

	f = config.Read("f", []byte("naem: a\nducks: [{name: x, age: old}]"), &p)
	f.Failf("name", "is empty")
	f.Failf("ducks[0].age", "is too low")
	f.Failf("ducks[0].name", "is short")
	require.Equal(t, "x", p.Ducks[0].Name)
	require.EqualError(t, f.Err(), "f:1:1: unknown key \"naem\"; did you mean name?\n"+
		"f:2:16: ducks[0].name: is short\nf:2:24: ducks[0].age: want a whole number, got text")
}

func FuzzRead(f *testing.F) {
	f.Add("name: a\nducks: [{name: x, age: 1}]\nbanks: {a: b}")
	f.Add("? a\n: b")
	f.Add("name: |\n  a\nevery: 1s")
	f.Add("- - - -")
	f.Add("name: [\n")
	f.Add("ducks: !tag\nx")
	f.Add("owner: &a {}\nducks: *a\n")
	f.Add("ducks: [{}, null, 1]\nowner:\nsince: 2026-03-02")
	f.Fuzz(func(t *testing.T, text string) {
		var p pond
		if err := config.Read("f", []byte(text), &p).Err(); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				require.Regexp(t, `^f:[1-9]\d*:[1-9]\d*: `, line)
			}
		}
	})
}
