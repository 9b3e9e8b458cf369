package nodes

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOrders(t *testing.T) {
	var pipe bytes.Buffer
	require.NoError(t, writeOrder(&pipe, wordDrain))
	require.NoError(t, writeOrder(&pipe, wordStop))
	require.Equal(t, "{\"word\":\"drain\"}\n{\"word\":\"stop\"}\n", pipe.String())

	for _, test := range []struct {
		name, text string
		words      []string
		fails      bool
	}{
		{"nothing", "", nil, false},
		{"two", pipe.String(), []string{"drain", "stop"}, false},
		{"more fields", `{"word":"ready","since":3}`, []string{"ready"}, false},
		{"other objects", `{}`, []string{""}, false},
		{"no JSON", "{\"word\":\"ready\"}\nready\n{\"word\":\"stop\"}\n", []string{"ready"}, true},
		{"too long", `{"word":"` + strings.Repeat("x", maxOrder) + `"}`, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var words []string
			err := readOrders(strings.NewReader(test.text), func(w string) { words = append(words, w) })
			require.Equal(t, test.words, words)
			require.Equal(t, test.fails, err != nil, "%v", err)
		})
	}
}

func FuzzReadOrders(f *testing.F) {
	f.Add([]byte("{\"word\":\"drain\"}\n{\"word\":\"stop\"}\n"))
	f.Add([]byte("\x00{}\n[]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = readOrders(bytes.NewReader(data), func(word string) {
			require.LessOrEqual(t, len(word), 3*maxOrder) // of bytes that are no UTF-8
		})
	})
}
