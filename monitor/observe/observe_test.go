package observe_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
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
	most = observe.MaxBytes(4, 2)
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
	body, signature, err := observe.Seal(good, key, most)
	require.NoError(t, err)
	got, err := observe.Open(body, signature, keys, most)
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
		{"too long", func(o *observe.Observation) { o.Texts[0].Receipt = strings.Repeat("x", most) }, key, observe.ErrMalformed},
		{"a long name", func(o *observe.Observation) { o.Results[0].Target = strings.Repeat("x", 201) }, key, observe.ErrMalformed},
		{"too many", func(o *observe.Observation) { o.Acks = make([]observe.Ack, 1<<14+1) }, key, observe.ErrMalformed},
		{"a negative streak", func(o *observe.Observation) { o.Results[0].Streak = -1 }, key, observe.ErrMalformed},
		{"a state that is none", func(o *observe.Observation) { o.Texts[0].State = 7 }, key, observe.ErrMalformed},
		{"a silence without end", func(o *observe.Observation) { o.Silences[0].Until = now.AddDate(1, 0, 0) }, key, observe.ErrMalformed},
		{"too many targets", func(o *observe.Observation) { o.Results = make([]observe.Result, 1025) }, key, observe.ErrMalformed},
		{"an odd lead", func(o *observe.Observation) { o.Texts[0].Lead = "7K2 ana" }, key, observe.ErrMalformed},
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
			body, err := json.Marshal(o)
			require.NoError(t, err)
			_, err = observe.Open(body, sign(tt.key, body), keys, most)
			require.ErrorIs(t, err, tt.want)
			if tt.want == observe.ErrMalformed {
				_, _, err := observe.Seal(o, key, most)
				require.ErrorIs(t, err, tt.want, "it is not sent in the first place")
			}
		})
	}
	t.Run("altered", func(t *testing.T) {
		body, signature, err := observe.Seal(good, key, most)
		require.NoError(t, err)
		altered := strings.Replace(string(body), `"ok":true`, `"ok":false`, 1)
		require.NotEqual(t, string(body), altered)
		_, err = observe.Open([]byte(altered), signature, keys, most)
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

// full is what a vantage tells at worst: all is down, each admin was texted of
// each subject and looks after it, and every name is as long as may be. Tries is
// how many providers refused each text before.
func full(subjects, admins, tries int) observe.Observation {
	at := time.Date(2026, 11, 26, 3, 0, 0, 123456789, time.UTC)
	name := func(n int) string { return fmt.Sprintf("%040d", n) }
	o := observe.Observation{Vantage: "london", Sequence: math.MaxInt64, At: at, Controls: true}
	for n := range subjects {
		id := fmt.Sprintf("%03X", n)
		o.Results = append(o.Results, observe.Result{Target: name(n), Streak: 12345678, Since: at})
		o.Claims = append(o.Claims, observe.Claim{Subject: name(n), Incident: id, Since: at, Flapping: true})
		for k := range admins {
			o.Acks = append(o.Acks, observe.Ack{Incident: id, By: name(k), At: at})
			text := observe.Text{Incident: id, Kind: "open-0", Admin: name(k), By: name(9), N: 1, Provider: "sns-us-gov-west-1", At: at, Lead: "000"}
			for range tries {
				text.State = observe.Refused
				o.Texts = append(o.Texts, text)
				text.N++
			}
			text.State, text.Receipt = observe.Delivered, "5bc16a29-9e2c-4d52-a7a1-0e2f3c1d5b6a"
			o.Texts = append(o.Texts, text)
		}
	}
	for n := range 128 {
		o.Silences = append(o.Silences, observe.Silence{ID: fmt.Sprintf("%08d", n), Subject: name(n), From: at, Until: at.Add(time.Hour),
			Why: strings.Repeat("w", 100), By: name(1), Keep: true})
	}
	return o
}

// Whatever is configured, the worst that happens to it fits.
func TestTheWorstFits(t *testing.T) {
	for _, c := range []struct{ subjects, admins int }{{1, 0}, {4, 2}, {500, 3}, {610, 16}} {
		most := observe.MaxBytes(c.subjects, c.admins)
		o := full(c.subjects, c.admins, 0)
		body, signature, err := observe.Seal(o, key, most)
		require.NoError(t, err)
		got, err := observe.Open(body, signature, keys, most)
		require.NoError(t, err)
		require.Equal(t, o, got)
		same, left := o.Fit(most)
		require.Zero(t, left)
		require.Equal(t, o, same)
	}
}

// What is too much for one message goes without what is least needed.
func TestFit(t *testing.T) {
	const subjects, admins = 500, 3
	most := observe.MaxBytes(subjects, admins)
	o := full(subjects, admins, 4)
	_, _, err := observe.Seal(o, key, most)
	require.ErrorIs(t, err, observe.ErrMalformed)

	fitting, left := o.Fit(most)
	body, signature, err := observe.Seal(fitting, key, most)
	require.NoError(t, err)
	require.Greater(t, len(body), most-1000, "no more than had to go")
	got, err := observe.Open(body, signature, keys, most)
	require.NoError(t, err)
	require.Equal(t, o.Results, got.Results)
	require.Equal(t, o.Claims, got.Claims)
	require.Equal(t, o.Acks, got.Acks)
	require.Equal(t, o.Silences, got.Silences)
	reached := 0
	for _, text := range got.Texts {
		if text.State == observe.Delivered {
			reached++
		}
	}
	require.Equal(t, subjects*admins, reached, "those that tell that nobody need be told again")
	require.Equal(t, len(o.Texts)-len(got.Texts), left)

	// Half of the room, and the order tells: all acks, the silences, some texts.
	half, _ := o.Fit(most / 2)
	require.Len(t, half.Acks, subjects*admins)
	require.Len(t, half.Silences, 128)
	require.NotEmpty(t, half.Texts)
	require.Equal(t, o.Texts[4], half.Texts[0], "in their order, those that were delivered")

	// One item that nobody would take does not silence the rest.
	odd := good
	odd.Texts = []observe.Text{{Incident: "7K2", Receipt: strings.Repeat("x", 201)}, good.Texts[0]}
	fitting, left = odd.Fit(most)
	require.Equal(t, 1, left)
	require.Empty(t, cmp.Diff(good, fitting))
}

func sign(key ed25519.PrivateKey, body []byte) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(key, append([]byte("protoplex observation 1\n"), body...)))
}

func FuzzOpen(f *testing.F) {
	body, signature, err := observe.Seal(good, key, most)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body, signature)
	f.Add([]byte(`{"vantage":"london"}`), "")
	f.Fuzz(func(t *testing.T, fuzzed []byte, sig string) {
		// What was not signed never opens, in whatever way it is broken.
		o, err := observe.Open(fuzzed, sig, keys, most)
		if err == nil {
			require.Equal(t, string(body), string(fuzzed))
			require.Equal(t, "london", o.Vantage)
		}
		// What was signed opens within bounds or not at all, and means the same
		// when it is sealed again.
		o, err = observe.Open(fuzzed, sign(key, fuzzed), keys, most)
		if err != nil {
			return
		}
		require.LessOrEqual(t, max(len(o.Results), len(o.Claims), len(o.Silences)), 1<<10)
		require.LessOrEqual(t, max(len(o.Texts), len(o.Acks)), 1<<14)
		again, sig, err := observe.Seal(o, key, 6*most) // escaped letters take more room
		require.NoError(t, err)
		if len(again) > most {
			return
		}
		o2, err := observe.Open(again, sig, keys, most)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(o, o2))
	})
}
