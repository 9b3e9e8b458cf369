package monitor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSecret(t *testing.T) {
	_, err := parseSecret([]byte("short\n"))
	require.ErrorContains(t, err, "too short")
	s, err := parseSecret([]byte("sixteen or more letters\n"))
	require.NoError(t, err)
	require.Regexp(t, "^[A-Z2-7]{8}$", s.token("7K2"))
	require.True(t, s.allows("7K2", strings.ToLower(s.token("7K2"))+" "), "as people type it")
	require.False(t, s.allows("7K3", s.token("7K2")))
	require.False(t, s.allows("7K2", ""))
	require.False(t, secret(nil).allows("7K2", secret(nil).token("7K2")), "without a secret nobody may")
	require.True(t, s.signed([]byte("x"), s.sign([]byte("x"))))
	require.False(t, s.signed([]byte("y"), s.sign([]byte("x"))))
	require.False(t, secret(nil).signed(nil, secret(nil).sign(nil)))
}

func TestGuesses(t *testing.T) {
	var g guesses
	for range maxGuesses {
		require.False(t, g.exhausted("a", 0))
		g.wrong("a")
	}
	require.True(t, g.exhausted("a", 0))
	require.False(t, g.exhausted("b", 0), "others may still try")
	require.False(t, g.exhausted("a", guessWindow))
	for n := range maxGuessers {
		g.wrong(fmt.Sprint(n))
	}
	require.True(t, g.exhausted("stranger", guessWindow), "the table is bounded")
}

// Whatever is sent, signed or not, is answered, and changes nothing that it may
// not change.
func FuzzCommand(f *testing.F) {
	for _, c := range []Command{{By: "ana", Ack: "7K2"}, {By: "ana", Lift: "apex"}, {By: "eve", Ack: "7K2"}} {
		c.At = wall
		body, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"by":"ana","at":"2026-03-02T14:05:00Z","silence":{"id":"S","subject":"all","from":"2026-03-02T14:05:00Z","until":"2026-03-02T15:05:00Z","why":"x"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v := still(t)
		v.secret = secret("sixteen or more letters")
		v.incidents["apex"] = &Incident{ID: "7K2", Subject: "apex", Open: true}
		send := func(signature string) int {
			r := httptest.NewRequest(http.MethodPost, "/commands", bytes.NewReader(body))
			r.Header.Set(commandHeader, signature)
			w := httptest.NewRecorder()
			v.command(w, r)
			return w.Code
		}
		require.NotEqual(t, http.StatusOK, send("nobody's"))
		require.Empty(t, v.incidents["apex"].Acks)
		require.Empty(t, v.silences)
		send(v.secret.sign(body))
		for _, s := range v.silences {
			require.NoError(t, v.cfg.checkSilence(s))
			require.Equal(t, "ana", s.By)
		}
	})
}

func FuzzForm(f *testing.F) {
	s := secret("sixteen or more letters")
	f.Add("7K2", s.token("7K2"), "ana")
	f.Add("7K2-X", "", "ana")
	f.Add("<b>", s.token("7K2"), "eve")
	f.Fuzz(func(t *testing.T, link, token, by string) {
		v := still(t)
		v.secret = s
		v.incidents["apex"] = &Incident{ID: "7K2", Subject: "apex", Open: true, Since: time.Unix(1e9, 0)}
		r := httptest.NewRequest(http.MethodPost, "/i/x", strings.NewReader(url.Values{"token": {token}, "by": {by}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetPathValue("link", link)
		w := httptest.NewRecorder()
		v.agree(w, r)
		if len(v.incidents["apex"].Acks) > 0 {
			require.True(t, s.allows("7K2", token))
			require.Equal(t, "ana", by)
		}
		r = httptest.NewRequest(http.MethodGet, "/i/x", nil)
		r.SetPathValue("link", "7K2-"+token)
		acks := len(v.incidents["apex"].Acks)
		v.look(httptest.NewRecorder(), r)
		require.Len(t, v.incidents["apex"].Acks, acks, "looking changes nothing")
	})
}

// Whatever bit flips, the state is refused or what it was. One of an earlier version
// has no seal.
func TestDamagedState(t *testing.T) {
	text := []byte(`{"format":1,"generation":5,"homes":{"www.espra.com":{"Region":"us-east","Epoch":2}}}`)
	want, err := parseState(text)
	require.NoError(t, err)
	require.EqualValues(t, 2, want.Homes["www.espra.com"].Epoch)
	sealed := sealState(bytes.Clone(text))
	refused := 0
	for i := range 8 * len(sealed) {
		damaged := bytes.Clone(sealed)
		damaged[i/8] ^= 1 << (i % 8)
		s, err := parseState(damaged)
		if err != nil {
			refused++
			continue
		}
		require.Equal(t, want, s)
	}
	require.Greater(t, refused, 8*len(text))
	s, err := parseState(sealed)
	require.NoError(t, err)
	require.Equal(t, want, s)
	_, err = parseState(sealed[:len(sealed)-10])
	require.ErrorContains(t, err, "damaged")
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"format":1,"incidents":{"apex":{"id":"7K2","subject":"apex"}}}`))
	f.Add([]byte(`{"format":1,"incidents":{"apex":null}}`))
	f.Add([]byte(`{"format":2}`))
	f.Add(sealState([]byte(`{"format":1}`)))
	f.Add([]byte("{\"format\":1}\nsha256 0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseState(text)
		if err != nil {
			require.Empty(t, s.Incidents)
		}
	})
}
