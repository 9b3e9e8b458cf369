package strict_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/strict"
)

// Base is exported, or it could not be set.
type Base struct {
	Name string `yaml:"name"`
}

type thing struct {
	Base  `yaml:",inline"`
	Ports []int  `yaml:"ports"`
	Inner *inner `yaml:"inner"`
}

type inner struct {
	HoldDown string  `yaml:"hold-down"`
	More     []inner `yaml:"more"`
}

type file struct {
	Things []thing `yaml:"things"`
}

const text = `things:
  - name: one
    ports: [80, 443]
  # the second
  - ports:
      - 1
      - 2
    inner: {hold-down: 10m}
    name: two
`

func TestAt(t *testing.T) {
	var v file
	f, err := strict.Decode("x.yaml", []byte(text), &v)
	require.NoError(t, err)
	require.Equal(t, "two", v.Things[1].Name)
	for path, want := range map[string]string{
		"things":                    "x.yaml:2:5",
		"things[0]":                 "x.yaml:2:5",
		"things[0].name":            "x.yaml:2:11",
		"things[0].ports":           "x.yaml:3:12",
		"things[0].ports[1]":        "x.yaml:3:17",
		"things[0].ports[7]":        "x.yaml:3:12", // what is around it
		"things[0].inner.hold-down": "x.yaml:2:5",
		"things[1]":                 "x.yaml:5:5",
		"things[1].ports[1]":        "x.yaml:7:9",
		"things[1].inner.hold-down": "x.yaml:8:24",
		"things[2].name":            "x.yaml:2:5",
		"none":                      "x.yaml",
		"":                          "x.yaml",
		"][":                        "x.yaml",
	} {
		require.Equal(t, want, f.At(path), path)
	}
	require.EqualError(t, f.Errorf("things[1].name", "%q is taken", "two"), `x.yaml:9:11: "two" is taken`)
}

func TestDecodeErrors(t *testing.T) {
	for text, want := range map[string]string{
		"things:\n  - nmae: x\n":                          `x.yaml:2:5: unknown field "nmae"; did you mean "name"?`,
		"things:\n  - inner:\n      hold-dwon: x\n":       `x.yaml:3:7: unknown field "hold-dwon"; did you mean "hold-down"?`,
		"things:\n  - name: x\n    colour: blue\n":        `x.yaml:3:5: unknown field "colour"`,
		"things:\n  - ports: [many]\n":                    "x.yaml:2:13: cannot unmarshal string",
		"things:\n  - name: x\n    name: y\n":             `x.yaml:3:5: mapping key "name" already defined`,
		"things: [\n":                                     "x.yaml:1:9: ",
		"things:\n  - name: 'x\n":                         "x.yaml:2:11: ",
		"things:\n  - inner: {more: [{hold-don: 10m}]}\n": `did you mean "hold-down"?`,
	} {
		var v file
		_, err := strict.Decode("x.yaml", []byte(text), &v)
		require.ErrorContains(t, err, want, "%s", text)
	}
}

func TestSuggest(t *testing.T) {
	kinds := []string{"certificate", "dns", "http", "s3", "smtp", "tcp"}
	for word, want := range map[string]string{
		"htp": "http", "https": "http", "HTTP": "http", "cert": "", "certifcate": "certificate", "dsn": "dns", "icmp": "", "": "", "dns": "",
	} {
		if want != "" {
			want = `; did you mean "` + want + `"?`
		}
		require.Equal(t, want, strict.Suggest(word, kinds), word)
	}
}

// Whatever a file holds, it is read or its mistake has a place.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(text), "things[0].name")
	f.Add([]byte("things: *none"), "things[")
	f.Add([]byte("a: &a [*a]"), "..")
	f.Fuzz(func(t *testing.T, text []byte, path string) {
		var v file
		if f, err := strict.Decode("x.yaml", text, &v); err == nil {
			require.Regexp(t, `^x\.yaml`, f.At(path))
		}
	})
}
