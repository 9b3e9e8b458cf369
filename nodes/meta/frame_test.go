package meta_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes/meta"
)

func TestWhatIsNoFrame(t *testing.T) {
	for line, want := range map[string]error{
		`{"type":"x","other":"` + "\xff" + `"}`:                     meta.ErrFrame,
		`{"type":"x","body":"` + strings.Repeat("x", meta.MaxFrame): meta.ErrFrameTooLarge,
		`{"type":"x"}{}`:            meta.ErrFrame,
		`{"epoch":1}`:               meta.ErrFrame,
		`{"type":"x","epoch":"1"}`:  meta.ErrFrame,
		`{"type":"x","epoch":1e99}`: meta.ErrFrame,
		`"x"`:                       meta.ErrFrame,
	} {
		_, err := meta.ParseFrame([]byte(line))
		require.ErrorIs(t, err, want, line[:min(len(line), 40)])
	}
	f, err := meta.ParseFrame([]byte(`{"type":"x","of-the-next-version":[]}` + "\n"))
	require.NoError(t, err)
	require.Equal(t, meta.Frame{Type: "x"}, f)
}

// What is taken for a frame can be sent on, and means the same to the next.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		`{"type":"table","epoch":3,"revision":7,"body":{"a":[1,2.50,"\u2028<"]}}`, `{"type":"beat"}`, `{"TYPE":"x","body":null}`,
		`{"type":"x","type":"y"}`, `{"type":"x","epoch":18446744073709551616}`, "{\"type\":\"\xff\"}", "[]", "", "{\"type\":\"x\"}\n\n",
		`{"type":"x","body":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		frame, err := meta.ParseFrame(line)
		if err != nil {
			return
		}
		sent, err := meta.AppendFrame(nil, frame)
		if err != nil {
			if len(line) < meta.MaxFrame/6 {
				t.Fatalf("taken but not sent: %v", err)
			}
			return // escapes made it too long
		}
		if bytes.IndexByte(sent, '\n') != len(sent)-1 {
			t.Fatalf("not one line: %q", sent)
		}
		again, err := meta.ParseFrame(sent)
		if err != nil {
			t.Fatalf("not taken again: %v", err)
		}
		resent, err := meta.AppendFrame(nil, again)
		if err != nil || !bytes.Equal(sent, resent) {
			t.Fatalf("changed on its way: %s", cmp.Diff(string(sent), string(resent)))
		}
	})
}
