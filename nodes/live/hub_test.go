package live

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// numbered gives the ids i1, i2, i3 and so on.
func numbered() func() string {
	n := 0
	return func() string { n++; return fmt.Sprintf("i%d", n) }
}

// ours is the keys of a node that serves all.
func ours(string) bool { return true }

// still is a clock that stands.
func still() time.Duration { return 0 }

// inbox is a sink that keeps all it gets.
type inbox struct{ frames []string }

func (b *inbox) push(frame []byte)       { b.frames = append(b.frames, string(frame)) }
func (b *inbox) pushReplay(frame []byte) { b.push(frame) }

func TestHubLimits(t *testing.T) {
	h := newHub(limits{history: 10, historyBytes: 200, allBytes: 1 << 20, channels: 3, perKey: 2, perClient: 1 << 20}, ours, numbered(), still)
	publish := func(key, name, data string) Position {
		t.Helper()
		p, err := h.publish("me", key, name, data)
		require.NoError(t, err)
		return p
	}
	require.Equal(t, Position{"i1", 1}, publish("k", "a", "x"))
	require.Equal(t, Position{"i2", 1}, publish("k", "b", "x"))
	require.Equal(t, Position{"i1", 2}, publish("k", "a", "x"))
	require.Equal(t, Position{"i3", 1}, publish("k", "c", "x"), "b of this key goes, idle for longest")
	require.Equal(t, Position{"i1", 3}, publish("k", "a", "x"))
	require.Equal(t, Position{"i4", 1}, publish("j", "d", "x"))
	require.Equal(t, Position{"i5", 1}, publish("j", "e", "x"), "c goes, idle for longest of all")
	require.Equal(t, Position{"i1", 4}, publish("k", "a", "x"))

	var in inbox
	sub, err := h.subscribe("me", "k", "a", &Position{"i1", 3}, &in)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]string{
		`{"op":"subscribed","channel":"a","position":{"incarnation":"i1","offset":3},"recovered":"replay"}`,
		`{"op":"message","channel":"a","offset":4,"data":"x"}`,
	}, in.frames))

	// Bytes bound the history, but the newest message is always kept.
	publish("k", "a", strings.Repeat("y", 500))
	var late inbox
	_, err = h.subscribe("me", "k", "a", &Position{"i1", 4}, &late)
	require.NoError(t, err)
	require.Len(t, late.frames, 2)
	_, err = h.subscribe("me", "k", "a", &Position{"i1", 3}, &late)
	require.NoError(t, err)
	require.Contains(t, late.frames[2], `"gap"`)

	for i := range 2 {
		_, err = h.subscribe("me", "j", fmt.Sprint(i), nil, &in)
		require.NoError(t, err)
	}
	_, err = h.publish("me", "l", "m", "x")
	require.ErrorIs(t, err, errNoRoom, "all have subscribers")

	h.forget(func(key string) bool { return key == "k" })
	heard := len(in.frames)
	require.Equal(t, Position{"i8", 1}, publish("k", "a", "x"), "a forgotten channel starts again")
	require.Len(t, in.frames, heard)
	h.unsubscribe(sub)
	h.unsubscribe(sub)
}

func TestHubCountsAreRight(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h := newHub(limits{history: 2, historyBytes: 100, allBytes: 600, channels: 32, perKey: 9, perClient: 1 << 20}, ours, numbered(), still)
	var subs []*subscription
	for range 20_000 {
		client, key, name := fmt.Sprint(r.IntN(3)), fmt.Sprint("k", r.IntN(4)), fmt.Sprint("c", r.IntN(12))
		switch r.IntN(10) {
		case 0, 1, 2, 3:
			_, _ = h.publish(client, key, name, "x")
		case 4, 5:
			if s, err := h.subscribe(client, key, name, nil, new(inbox)); err == nil {
				subs = append(subs, s)
			}
		case 6:
			if r.IntN(20) == 0 {
				h.forget(func(k string) bool { return k == key })
			}
		default:
			if len(subs) > 0 {
				i := r.IntN(len(subs))
				h.unsubscribe(subs[i])
				subs = append(subs[:i], subs[i+1:]...)
			}
		}
		channels, idle, bytes := 0, 0, 0
		makers := map[string][3]int{} // channels, those that are idle, bytes
		for _, k := range h.keys {
			require.NotEmpty(t, k.channels)
			require.LessOrEqual(t, len(k.channels), 9)
			idleHere := 0
			for _, c := range k.channels {
				channels++
				bytes += c.bytes
				m := makers[c.maker.client]
				m[0], m[2] = m[0]+1, m[2]+c.bytes
				if c.subscribers.Len() == 0 {
					idleHere++
					m[1]++
				}
				makers[c.maker.client] = m
			}
			require.Equal(t, idleHere, k.idle.Len())
			idle += idleHere
		}
		require.Len(t, h.makers, len(makers))
		hogs := 0
		for client, want := range makers {
			m := h.makers[client]
			require.Equal(t, want, [3]int{m.channels, m.idle.Len(), m.bytes})
			require.Equal(t, m.channels, m.idle.Len()+m.busy.Len())
			require.Equal(t, m.idle.Len() > 2 || m.bytes > 37, m.hog)
			require.Equal(t, m.hog, slices.Contains(h.hogs, m))
			if m.hog {
				hogs++
			}
		}
		require.Len(t, h.hogs, hogs)
		gotChannels, gotBytes := h.size()
		require.Equal(t, channels, gotChannels)
		require.Equal(t, bytes, gotBytes)
		require.LessOrEqual(t, bytes, 600)
		require.Equal(t, idle, h.idle.Len())
		require.LessOrEqual(t, channels, 32)
	}
}

// TestHubTellsAll lets clients come, go, lag and resume in random order, and
// holds what each hears against what was published: each message once and in
// order, unless a gap was told.
func TestHubTellsAll(t *testing.T) {
	total := map[string]int{}
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) { tellAll(t, seed, total) })
	}
	for _, outcome := range []string{RecoveredFresh, RecoveredNothing, RecoveredReplay, RecoveredGap} {
		require.Greater(t, total[outcome], 10, outcome)
	}
	require.Greater(t, total["messages"], 1000)
}

func tellAll(t *testing.T, seed uint64, total map[string]int) {
	h := newHub(limits{history: 8, historyBytes: 1 << 20, allBytes: 1 << 20, channels: 4, perKey: 4, perClient: 1 << 20}, ours, numbered(), still)
	published := map[Position]string{} // by the publisher alone, read after the end
	type said struct {
		Position
		data string
	}
	heard := make([][]said, 6)
	outcomes := make([]map[string]int, len(heard))
	done := make(chan struct{})
	const names = 5 // more than there is room for: idle ones are evicted

	pause := func(r *rand.Rand) { time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond) }
	for i := range heard {
		outcomes[i] = map[string]int{}
		go func() {
			defer func() { done <- struct{}{} }()
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			name := fmt.Sprint("c", r.IntN(names))
			var at *Position
			for range 25 {
				q := newQueue(300, func() {})
				sub, err := h.subscribe("me", "k", name, at, q)
				if err != nil {
					pause(r)
					continue
				}
				for range r.IntN(12) {
					frame, ok := q.next()
					if !ok {
						break // too slow
					}
					var f struct {
						Op, Recovered, Data string
						Offset              uint64
						Position            Position
					}
					if err := json.Unmarshal(frame, &f); err != nil {
						t.Error(err)
						return
					}
					if f.Op == "subscribed" {
						outcomes[i][f.Recovered]++
						if at != nil && (f.Recovered == RecoveredReplay || f.Recovered == RecoveredNothing) && *at != f.Position {
							t.Errorf("resumed at %v, asked for %v", f.Position, *at)
						}
						at = &f.Position
					} else {
						if f.Offset != at.Offset+1 {
							t.Errorf("client %d heard %d after %d", i, f.Offset, at.Offset)
						}
						at = &Position{at.Incarnation, f.Offset}
						heard[i] = append(heard[i], said{*at, f.Data})
					}
					pause(r)
					if r.IntN(3) == 0 {
						break
					}
					q.push([]byte(`{"op":"subscribed","recovered":"none","position":` + string(encode(*at)) + `}`))
				}
				h.unsubscribe(sub)
				q.stop(true)
				pause(r)
			}
		}()
	}
	stop := make(chan struct{})
	publisher := make(chan struct{})
	go func() {
		defer close(publisher)
		r := rand.New(rand.NewPCG(seed, 1000))
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			data := fmt.Sprint("message ", n)
			if p, err := h.publish("me", "k", fmt.Sprint("c", r.IntN(names)), data); err == nil {
				published[p] = data
			}
			pause(r)
		}
	}()
	for range heard {
		<-done
	}
	close(stop)
	<-publisher

	for i, client := range heard {
		for _, s := range client {
			require.Equal(t, published[s.Position], s.data, "client %d at %v", i, s.Position)
			total["messages"]++
		}
		for outcome, n := range outcomes[i] {
			total[outcome] += n
		}
	}
}

func TestQueueBounds(t *testing.T) {
	overflows := 0
	q := newQueue(100, func() { overflows++ })
	big := make([]byte, 1000)
	small := make([]byte, 60)
	take := func() int {
		t.Helper()
		frame, ok := q.next()
		require.True(t, ok)
		return len(frame)
	}
	q.push(big)
	require.Zero(t, overflows, "one frame alone always fits")
	require.Equal(t, 1000, take())
	for range 3 {
		q.pushReplay(big)
	}
	require.Equal(t, 1000, take())
	q.push(small)
	require.Zero(t, overflows, "a replay does not count")
	require.Equal(t, 1000, take())
	require.Equal(t, 1000, take())
	require.Equal(t, 60, take())
	require.True(t, q.waitRoom())

	q.push(small)
	require.Equal(t, 1, overflows, "the frame being written still counts")
	q.push(small)
	require.Equal(t, 1, overflows)
	_, ok := q.next()
	require.False(t, ok, "what is left is dropped")
	require.False(t, q.waitRoom())

	q = newQueue(100, nil)
	q.push(small)
	q.stop(false)
	q.push(small)
	require.Equal(t, 60, take())
	_, ok = q.next()
	require.False(t, ok)
}

func TestQueueRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(100, nil)
		for range 3 {
			q.pushReplay(make([]byte, 80))
		}
		room := make(chan bool, 1)
		go func() { room <- q.waitRoom() }()
		for range 2 {
			_, _ = q.next()
			synctest.Wait()
			require.Empty(t, room)
		}
		_, _ = q.next() // two are written now, one is left
		require.True(t, <-room)
	})
}

func TestParseHome(t *testing.T) {
	for text, want := range map[string]home{
		"v=home1 region=us-east epoch=1":         {"us-east", 1},
		"v=home1 epoch=0 region=eu-west later=x": {"eu-west", 0},
	} {
		got, err := parseHome(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{
		"", "v=spf1 -all", "v=home2 region=a epoch=1", "v=home1", "v=home1 region=a", "v=home1 epoch=1",
		"v=home1 region= epoch=1", "v=home1 region=a region=b epoch=1", "v=home1 region=a epoch=1 epoch=2",
		"v=home1 region=a epoch=-1", "v=home1 region=a epoch=18446744073709551616", "region=a epoch=1 v=home1",
		"v=home1 region=a epoch=1 " + strings.Repeat("x", 255),
	} {
		_, err := parseHome(text)
		require.Error(t, err, text)
	}
}

func TestNewest(t *testing.T) {
	for _, tc := range []struct {
		texts []string
		want  home
		ok    bool
	}{
		{nil, home{}, false},
		{[]string{"nonsense"}, home{}, false},
		{[]string{"nonsense", "v=home1 region=a epoch=1"}, home{"a", 1}, true},
		{[]string{"v=home1 region=a epoch=2", "v=home1 region=b epoch=1"}, home{"a", 2}, true},
		{[]string{"v=home1 region=a epoch=2", "v=home1 region=b epoch=2"}, home{}, false},
		{[]string{"v=home1 region=a epoch=2", "v=home1 region=b epoch=2", "v=home1 region=c epoch=3"}, home{"c", 3}, true},
	} {
		got, ok := newest(tc.texts)
		require.Equal(t, tc.ok, ok)
		if ok {
			require.Equal(t, tc.want, got)
		}
	}
}

func TestLearn(t *testing.T) {
	type step struct {
		record home
		want   change
		serves bool
	}
	for name, steps := range map[string][]step{
		"ours": {{home{"us", 1}, nowHere, true}, {home{"us", 1}, unchanged, true}, {home{"eu", 1}, unchanged, true},
			{home{"eu", 3}, movedAway, false}, {home{"us", 2}, unchanged, false}, {home{"ap", 4}, unchanged, false}, {home{"us", 5}, nowHere, true}},
		"ours again, unread in between": {{home{"us", 1}, nowHere, true}, {home{"us", 3}, hereAgain, true}, {home{"eu", 2}, unchanged, true},
			{home{"eu", 4}, movedAway, false}},
		"theirs": {{home{"eu", 0}, elsewhere, false}, {home{"us", 0}, unchanged, false}, {home{"us", 1}, nowHere, true}},
	} {
		h := newHomes("us", []string{"host"})
		require.True(t, h.serves("host"), "nothing was read yet")
		require.False(t, h.serves("stranger"))
		for i, s := range steps {
			require.Equal(t, s.want, h.learn("host", s.record), "%s %d", name, i)
			require.Equal(t, s.serves, h.serves("host"), "%s %d", name, i)
		}
	}
	require.True(t, newHomes("us", nil).serves("any"))
}

func FuzzParseHome(f *testing.F) {
	f.Add("v=home1 region=us-east epoch=1")
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := parseHome(s); err == nil {
			require.True(t, ValidName(h.region))
		}
	})
}

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte(`{"op":"subscribe","channel":"c","position":{"incarnation":"I","offset":7}}`))
	f.Add([]byte(`{"op":"publish","channel":"c","id":"x1","data":"\u0000<>"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := parseFrame(b)
		if err != nil {
			return
		}
		require.True(t, ValidName(frame.Channel))
		// Whatever is accepted comes out as it went in.
		var out struct{ Data string }
		require.NoError(t, json.Unmarshal(messageFrame(frame.Channel, 1, encode(frame.Data)), &out))
		require.Equal(t, frame.Data, out.Data)
	})
}

// BenchmarkFanOut is one message to a thousand subscribers whose writers keep
// up, up to the point where a frame would go to a socket.
func BenchmarkFanOut(b *testing.B) {
	const subscribers = 1000
	h := newHub(limits{history: 1000, historyBytes: 1 << 20, allBytes: 1 << 20, channels: 10, perKey: 10, perClient: 1 << 20}, ours, numbered(), still)
	written := make(chan struct{}, subscribers)
	for range subscribers {
		q := newQueue(256<<10, func() { b.Error("too slow") })
		_, err := h.subscribe("me", "k", "c", nil, q)
		require.NoError(b, err)
		_, _ = q.next()
		go func() {
			for {
				if _, ok := q.next(); !ok {
					return
				}
				written <- struct{}{}
			}
		}()
		b.Cleanup(func() { q.stop(true) })
	}
	data := strings.Repeat("x", 200)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = h.publish("me", "k", "c", data)
		for range subscribers {
			<-written
		}
	}
}
