package observe_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/observe"
)

var (
	key  = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	keys = map[string]ed25519.PublicKey{"london": key.Public().(ed25519.PublicKey)}
	now  = time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC)
	good = observe.Observation{
		Vantage: "london", Sequence: 7, At: now, Controls: true,
		Results: []observe.Result{{Target: "us-east", OK: true, Streak: 3, Since: now}},
		Claims:  []observe.Claim{{Subject: "us-east", Incident: "7K2", Since: now, Flapping: true}},
		Texts: []observe.Text{{Incident: "7K2", Kind: "open", Admin: "ana", By: "london", N: 1, Provider: "twilio",
			State: observe.Delivered, At: now, Receipt: "SM1"}},
		Acks:     []observe.Ack{{Incident: "7K2", By: "ana", At: now}},
		Silences: []observe.Silence{{ID: "S1", Subject: "us-east", From: now, Until: now.Add(time.Hour), Why: "new switch", By: "raj"}},
	}
)

func TestSealAndOpen(t *testing.T) {
	body, signature, err := observe.Seal(good, key)
	require.NoError(t, err)
	got, err := observe.Open(body, signature, keys)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(good, got))
}

func TestOpenRefuses(t *testing.T) {
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize)))
	tests := []struct {
		name   string
		change func(*observe.Observation)
		key    ed25519.PrivateKey
		want   error
	}{
		{"forged", func(*observe.Observation) {}, other, observe.ErrForged},
		{"a stranger", func(o *observe.Observation) { o.Vantage = "mars" }, key, observe.ErrUnknown},
		{"too long", func(o *observe.Observation) { o.Texts[0].Receipt = strings.Repeat("x", observe.MaxBytes) }, key, observe.ErrMalformed},
		{"a long name", func(o *observe.Observation) { o.Results[0].Target = strings.Repeat("x", 201) }, key, observe.ErrMalformed},
		{"too many", func(o *observe.Observation) { o.Acks = make([]observe.Ack, 513) }, key, observe.ErrMalformed},
		{"a negative streak", func(o *observe.Observation) { o.Results[0].Streak = -1 }, key, observe.ErrMalformed},
		{"a state that is none", func(o *observe.Observation) { o.Texts[0].State = 7 }, key, observe.ErrMalformed},
		{"a silence without end", func(o *observe.Observation) { o.Silences[0].Until = now.AddDate(1, 0, 0) }, key, observe.ErrMalformed},
		{"an odd incident", func(o *observe.Observation) { o.Claims[0].Incident = "7K2 ana" }, key, observe.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			o.Results = append([]observe.Result(nil), good.Results...)
			o.Claims = append([]observe.Claim(nil), good.Claims...)
			o.Texts = append([]observe.Text(nil), good.Texts...)
			o.Silences = append([]observe.Silence(nil), good.Silences...)
			tt.change(&o)
			body, signature, err := observe.Seal(o, tt.key)
			require.NoError(t, err)
			_, err = observe.Open(body, signature, keys)
			require.ErrorIs(t, err, tt.want)
		})
	}
	t.Run("altered", func(t *testing.T) {
		body, signature, err := observe.Seal(good, key)
		require.NoError(t, err)
		altered := strings.Replace(string(body), `"ok":true`, `"ok":false`, 1)
		require.NotEqual(t, string(body), altered)
		_, err = observe.Open([]byte(altered), signature, keys)
		require.ErrorIs(t, err, observe.ErrForged)
	})
}

func TestBoard(t *testing.T) {
	b := observe.NewBoard(map[string]uint64{"london": 6})
	old := good
	old.Sequence = 6
	require.ErrorIs(t, b.Put(old, 0), observe.ErrOld, "seen before the restart")
	require.NoError(t, b.Put(good, time.Second))
	require.ErrorIs(t, b.Put(good, 2*time.Second), observe.ErrOld, "replayed")
	for n := range 20 {
		next := good
		next.Sequence += uint64(n) + 1
		require.NoError(t, b.Put(next, time.Minute))
	}
	require.Len(t, b.History("london"), 8)
	latest := b.Latest()
	require.Len(t, latest, 1)
	require.Equal(t, uint64(27), latest[0].Sequence)
	require.Equal(t, map[string]uint64{"london": 27}, b.Floors())
}

func TestStreaks(t *testing.T) {
	r := observe.Result{Target: "us-east"}
	for i, ok := range []bool{true, true, false, false, false} {
		r = r.Then(ok, now.Add(time.Duration(i)*time.Second))
	}
	require.Equal(t, observe.Result{Target: "us-east", OK: false, Streak: 3, Since: now.Add(2 * time.Second)}, r)
}

func FuzzOpen(f *testing.F) {
	body, signature, err := observe.Seal(good, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body, signature)
	f.Add([]byte(`{"vantage":"london"}`), "")
	f.Fuzz(func(t *testing.T, fuzzed []byte, sig string) {
		// What was not signed never opens, in whatever way it is broken.
		o, err := observe.Open(fuzzed, sig, keys)
		if err == nil {
			require.Equal(t, string(body), string(fuzzed))
			require.Equal(t, "london", o.Vantage)
		}
		// What was signed opens within bounds or not at all, and means the same
		// when it is sealed again.
		signed := ed25519.Sign(key, append([]byte("protoplex observation 1\n"), fuzzed...))
		o, err = observe.Open(fuzzed, base64.StdEncoding.EncodeToString(signed), keys)
		if err != nil {
			return
		}
		require.LessOrEqual(t, max(len(o.Results), len(o.Claims), len(o.Texts), len(o.Acks), len(o.Silences)), 512)
		again, sig, err := observe.Seal(o, key)
		require.NoError(t, err)
		if len(again) > observe.MaxBytes {
			return // escaped letters take more room
		}
		o2, err := observe.Open(again, sig, keys)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(o, o2))
	})
}
