// Package smstest is the conformance suite of [sms.Texter]. Each implementation
// runs it against a stand-in of its provider.
//
// It promises to judge only what the contract says, by what the texter tells and
// by what the provider has taken, and to measure no durations, so that it holds
// over real sockets and in virtual time alike.
//
// Start reading at [Tests]:
//
//	for _, test := range smstest.Tests() {
//		t.Run(test.Name, func(t *testing.T) { test.Run(t, newWorld(t, test.Rate)) })
//	}
package smstest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/sms"
)

// The numbers of a World.
const (
	Ana      = "+447700900001" // takes what comes
	Off      = "+447700900002" // of a phone that is off
	OptedOut = "+447700900003" // whose owner wants no messages
	None     = "07700900001"   // not a number in international form
)

// Message is what a provider took.
type Message struct{ To, Body string }

// World is one provider with an account that may send.
type World interface {
	// Texter gives one whose requests pass through wrap on their way, unless it
	// is nil.
	Texter(t testing.TB, wrap func(http.RoundTripper) http.RoundTripper) sms.Texter
	// Stranger gives one with wrong credentials.
	Stranger(t testing.TB) sms.Texter
	// Taken gives the messages that the provider took upon itself so far.
	Taken() []Message
	// Tells says that the provider can be asked for deliveries, and for what it
	// took.
	Tells() bool
	// Now is the time by the clock of the texters' machine.
	Now() time.Time
}

// Test is one property of a Texter.
type Test struct {
	Name string
	Rate int // messages that the World must take in a second at most; 0 is any number
	// Run judges one fresh world.
	Run func(t testing.TB, w World)
}

// Tests gives the suite.
func Tests() []Test {
	return []Test{
		{Name: "a message of one segment arrives unchanged", Run: testUnchanged},
		{Name: "a wrong number is refused", Run: refused(None)},
		{Name: "a number that opted out is refused", Run: refused(OptedOut)},
		{Name: "wrong credentials are refused", Run: testStranger},
		{Name: "no answer is unknown", Run: unknown(lose)},
		{Name: "half an answer is unknown", Run: unknown(halve)},
		{Name: "a provider's failure is unknown", Run: unknown(spoil)},
		{Name: "a time-out is unknown", Run: testTimeout},
		{Name: "who comes late is not accepted", Run: testLate},
		{Name: "too many are refused", Rate: 3, Run: testRate},
		{Name: "many at once", Run: testMany},
		{Name: "what arrives is delivered", Run: delivery(Ana, sms.Delivered)},
		{Name: "what does not arrive has failed", Run: delivery(Off, sms.Failed)},
		{Name: "a message that nobody knows", Run: testStrangeID},
		{Name: "what was taken unheard is found", Run: testFind},
	}
}

// mark is in every body but one.
const mark = "MARK-7K2"

func testUnchanged(t testing.TB, w World) {
	text := w.Texter(t, nil)
	require.NotEmpty(t, text.Name())
	const tricky = "@£$¥èéùìòÇ\nØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./09:;<=>?¡AZÄÖÑÜ§¿azäöñüà "
	body := tricky + strings.Repeat("a", sms.MaxSegment-len([]rune(tricky)))
	r, err := text.Text(t.Context(), Ana, body)
	require.NoError(t, err)
	require.Equal(t, sms.Accepted, r.Outcome)
	require.NotEmpty(t, r.ID)
	require.Equal(t, []Message{{Ana, body}}, w.Taken())

	// Nothing keeps a person from getting the same text again.
	again, err := text.Text(t.Context(), Ana, body)
	require.NoError(t, err)
	require.Equal(t, sms.Accepted, again.Outcome)
	require.NotEqual(t, r.ID, again.ID)
	require.Len(t, w.Taken(), 2)
}

// requireRefused checks that a message was not sent, and that it says why.
func requireRefused(t testing.TB, r sms.Receipt, err error) {
	t.Helper()
	require.Equal(t, sms.Receipt{Outcome: sms.Refused}, r, "%v", err)
	require.Error(t, err)
}

func refused(to string) func(testing.TB, World) {
	return func(t testing.TB, w World) {
		r, err := w.Texter(t, nil).Text(t.Context(), to, mark)
		requireRefused(t, r, err)
		require.Empty(t, w.Taken())
	}
}

func testStranger(t testing.TB, w World) {
	stranger := w.Stranger(t)
	r, err := stranger.Text(t.Context(), Ana, mark)
	requireRefused(t, r, err)
	require.Empty(t, w.Taken())

	r, err = w.Texter(t, nil).Text(t.Context(), Ana, mark)
	require.NoError(t, err)
	d, err := stranger.Delivery(t.Context(), r.ID)
	require.Error(t, err)
	require.Equal(t, sms.Delivery(sms.Unknown), d)
}

// unknown checks that a message was taken once, and that nobody claims to know.
func unknown(hurt func(*http.Response) (*http.Response, error)) func(testing.TB, World) {
	return func(t testing.TB, w World) {
		text := w.Texter(t, func(next http.RoundTripper) http.RoundTripper { return &trouble{next, hurt} })
		r, err := text.Text(t.Context(), Ana, mark)
		require.Error(t, err)
		require.Equal(t, sms.Receipt{Outcome: sms.Unknown}, r, "%v", err)
		require.Equal(t, []Message{{Ana, mark}}, w.Taken())
	}
}

// testTimeout has the time run out when the provider has taken the message.
func testTimeout(t testing.TB, w World) {
	ctx, cancel := context.WithCancel(t.Context())
	text := w.Texter(t, func(next http.RoundTripper) http.RoundTripper {
		return &trouble{next, func(resp *http.Response) (*http.Response, error) {
			resp.Body.Close()
			cancel()
			return nil, ctx.Err()
		}}
	})
	r, err := text.Text(ctx, Ana, mark)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, sms.Receipt{Outcome: sms.Unknown}, r)
	require.Equal(t, []Message{{Ana, mark}}, w.Taken())
}

func testLate(t testing.TB, w World) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := w.Texter(t, nil).Text(ctx, Ana, mark)
	require.ErrorIs(t, err, context.Canceled)
	require.NotEqual(t, sms.Accepted, r.Outcome)
	require.Empty(t, r.ID)
	require.Empty(t, w.Taken())
}

// burst sends many at once.
func burst(t testing.TB, text sms.Texter) (bodies []string, receipts []sms.Receipt, errs []error) {
	const n = 24
	bodies, receipts, errs = make([]string, n), make([]sms.Receipt, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		bodies[i] = fmt.Sprintf("%s %02d", mark, i)
		wg.Go(func() { receipts[i], errs[i] = text.Text(t.Context(), Ana, bodies[i]) })
	}
	wg.Wait()
	return bodies, receipts, errs
}

func testMany(t testing.TB, w World) {
	bodies, receipts, errs := burst(t, w.Texter(t, nil))
	ids := map[string]bool{}
	for i, r := range receipts {
		require.NoError(t, errs[i])
		require.Equal(t, sms.Accepted, r.Outcome)
		ids[r.ID] = true
	}
	require.Len(t, ids, len(bodies))
	require.Equal(t, bodies, takenBodies(w))
}

func testRate(t testing.TB, w World) {
	bodies, receipts, errs := burst(t, w.Texter(t, nil))
	var accepted []string
	for i, r := range receipts {
		if r.Outcome == sms.Accepted {
			require.NoError(t, errs[i])
			accepted = append(accepted, bodies[i])
			continue
		}
		requireRefused(t, r, errs[i])
	}
	require.NotEmpty(t, accepted)
	require.Less(t, len(accepted), len(bodies))
	require.Equal(t, accepted, takenBodies(w))
}

func takenBodies(w World) []string {
	var bodies []string
	for _, m := range w.Taken() {
		bodies = append(bodies, m.Body)
	}
	slices.Sort(bodies)
	return bodies
}

const (
	patience = 20 * time.Second
	pause    = 20 * time.Millisecond
)

func delivery(to string, want sms.Delivery) func(testing.TB, World) {
	return func(t testing.TB, w World) {
		text := w.Texter(t, nil)
		r, err := text.Text(t.Context(), to, mark)
		require.NoError(t, err)
		require.Equal(t, sms.Accepted, r.Outcome)
		d, err := text.Delivery(t.Context(), r.ID)
		if !w.Tells() {
			require.Equal(t, sms.Delivery(sms.Unknown), d)
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		require.Equal(t, sms.Underway, d)
		require.Eventually(t, func() bool {
			d, err = text.Delivery(t.Context(), r.ID)
			return d != sms.Underway
		}, patience, pause)
		require.Equal(t, want, d)
		require.Equal(t, want == sms.Delivered, err == nil, "%v", err)

		d, _ = text.Delivery(t.Context(), r.ID)
		require.Equal(t, want, d, "it is for good")
		require.Equal(t, []Message{{to, mark}}, w.Taken(), "who asks changes nothing")
	}
}

func testStrangeID(t testing.TB, w World) {
	for _, id := range []string{"SM00000000000000000000000000000000", "", "../Calls", "?"} {
		d, err := w.Texter(t, nil).Delivery(t.Context(), id)
		require.Error(t, err, id)
		require.Equal(t, sms.Delivery(sms.Unknown), d, id)
	}
}

// testFind loses answers, to messages that the provider took and that it did not.
func testFind(t testing.TB, w World) {
	text, now := w.Texter(t, nil), w.Now()
	losing := w.Texter(t, func(next http.RoundTripper) http.RoundTripper { return &trouble{next, lose} })
	for _, body := range []string{mark, mark + " and more"} {
		r, err := losing.Text(t.Context(), Ana, body)
		require.Error(t, err)
		require.Equal(t, sms.Receipt{Outcome: sms.Unknown}, r)
	}
	for _, c := range []struct {
		to, body string
		at       time.Time
		outcome  sms.Outcome
	}{
		{Ana, mark, now, sms.Accepted},
		{Ana, mark + " and more", now, sms.Accepted},
		{Ana, mark, now.Add(time.Minute), sms.Accepted}, // clocks differ
		{Ana, "another", now, sms.Refused},
		{Off, mark, now, sms.Refused},
		{Ana, mark, now.Add(time.Hour), sms.Refused}, // somebody else's
	} {
		r, err := text.Find(t.Context(), c.to, c.body, c.at)
		if !w.Tells() {
			require.Error(t, err)
			require.Equal(t, sms.Receipt{Outcome: sms.Unknown}, r)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.outcome, r.Outcome, "%+v", c)
		require.Equal(t, c.outcome == sms.Accepted, r.ID != "")
		if r.ID != "" {
			_, err := text.Delivery(t.Context(), r.ID)
			require.NoError(t, err)
		}
	}
	r, err := w.Stranger(t).Find(t.Context(), Ana, mark, now)
	require.Error(t, err)
	require.Equal(t, sms.Receipt{Outcome: sms.Unknown}, r)
	require.Len(t, w.Taken(), 2, "who asks changes nothing")
}
