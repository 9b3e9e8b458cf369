package live

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// village is a hub with channels of a few dozen clients, of whom each has said
// something that nobody is there to hear.
type village struct {
	*testing.T
	*hub
	now  time.Duration
	said map[string]Position // by client, before it
}

func newVillage(t *testing.T, l limits) *village {
	v := &village{T: t, said: make(map[string]Position)}
	v.hub = newHub(l, ours, numbered(), func() time.Duration { return v.now })
	for i := range 40 {
		client := fmt.Sprint("villager-", i)
		at, err := v.publish(client, "village", client, "precious")
		require.NoError(t, err)
		v.said[client] = Position{at.Incarnation, 0}
	}
	return v
}

// unharmed says that everybody finds what there was.
func (v *village) unharmed() {
	v.Helper()
	for client, at := range v.said {
		told, _, err := v.read(client, "village", client, &at, nil)
		require.NoError(v, err)
		require.Equal(v, RecoveredReplay, told.recovered, client)
	}
}

// ways are all the ways to make a channel.
func (v *village) ways() map[string]func(key, name string) error {
	return map[string]func(key, name string) error{
		"publish": func(key, name string) error {
			_, err := v.publish("stranger", key, name, strings.Repeat("x", 500))
			return err
		},
		"read": func(key, name string) error {
			_, _, err := v.read("stranger", key, name, nil, nil)
			return err
		},
		"subscribe": func(key, name string) error {
			sub, err := v.subscribe("stranger", key, name, nil, new(inbox))
			if err == nil {
				v.unsubscribe(sub)
			}
			return err
		},
	}
}

var roomy = limits{history: 1000, historyBytes: 1 << 20, allBytes: 1 << 20, channels: 5000, perKey: 1000, perClient: 1000}

// TestAMillionChannels: a client that makes channel after channel is refused,
// what it is given while time passes stays bounded, and it costs nobody anything.
func TestAMillionChannels(t *testing.T) {
	for _, way := range []string{"publish", "read", "subscribe"} {
		for name, key := range map[string]func(i int) string{
			"many keys": func(i int) string { return "k" + strconv.Itoa(i%97) },
			"one key":   func(int) string { return "village" },
		} {
			t.Run(way+" "+name, func(t *testing.T) {
				v := newVillage(t, roomy)
				another := v.ways()[way]
				made, refused := 0, 0
				for i := range 1_000_000 {
					v.now = time.Duration(i) * 600 * time.Microsecond
					switch err := another(key(i), "c"+strconv.Itoa(i)); err {
					case nil:
						made++
					case errTooMany:
						refused++
					default:
						t.Fatal(err)
					}
				}
				// A thousand, and as many in each of ten minutes.
				require.InDelta(t, 1000+10*1000, made, 2)
				require.Equal(t, 1_000_000, made+refused)
				v.unharmed()
				require.LessOrEqual(t, v.count, roomy.channels)
				require.LessOrEqual(t, v.bytes, roomy.allBytes)
				// Nobody else is refused.
				_, err := v.publish("somebody", "k", "new", "x")
				require.NoError(t, err)
			})
		}
	}
}

// TestChannelsWithoutEnd: who makes as many as it may, for minutes, costs nobody
// anything either, whether or not it stays in them.
func TestChannelsWithoutEnd(t *testing.T) {
	for _, stays := range []bool{false, true} {
		v := newVillage(t, roomy)
		var in inbox
		_, err := v.subscribe("villager", "village", "square", nil, &in)
		require.NoError(t, err)
		var subs []*subscription
		for i := range 12_000 {
			v.now += time.Minute / time.Duration(roomy.perClient)
			key, name := fmt.Sprint("k", i%7), fmt.Sprint("c", i)
			if stays {
				sub, err := v.subscribe("stranger", key, name, nil, new(inbox))
				require.NoError(t, err)
				if subs = append(subs, sub); len(subs) > 1000 {
					v.unsubscribe(subs[0])
					subs = subs[1:]
				}
			}
			for range 1 + i%2*3 {
				_, err := v.publish("stranger", key, name, strings.Repeat("x", 5000))
				require.NoError(t, err)
			}
			require.LessOrEqual(t, v.bytes, roomy.allBytes)
			require.LessOrEqual(t, v.count, roomy.channels)
		}
		v.unharmed()
		require.Len(t, v.hogs, 1)
		for i := range 10 {
			at, err := v.publish("villager", "village", "square", "x")
			require.NoError(t, err)
			require.Equal(t, uint64(i+1), at.Offset)
		}
		require.Len(t, in.frames, 1+10)
		v.unharmed()
	}
}

// TestManyHaveALittle: without a hog whose channel is idle for longest loses it,
// and a hog makes room before that.
func TestManyHaveALittle(t *testing.T) {
	v := newVillage(t, limits{history: 10, historyBytes: 1 << 20, allBytes: 1 << 20, channels: 140, perKey: 200, perClient: 1000})
	use := func(client, name string) {
		_, _, err := v.read(client, "k", name, nil, nil)
		require.NoError(t, err)
	}
	for i := range 80 {
		use(fmt.Sprint(i), fmt.Sprint(i))
	}
	for i := range 20 {
		use("hog", fmt.Sprint("hog", i))
	}
	v.unharmed() // and so they are the last to have used theirs
	for i := range 12 {
		use(fmt.Sprint(100+i), fmt.Sprint(100+i))
	}
	require.Equal(t, 8, v.makers["hog"].channels, "it had twelve more than its share")
	require.NotNil(t, v.makers["0"])
	use("somebody", "else")
	require.Equal(t, 8, v.makers["hog"].channels)
	require.Nil(t, v.makers["0"])
	v.unharmed()
}

// TestWhoSaysTheFirst: to have made a channel that others go on to use gives no
// hold of what they say in it.
func TestWhoSaysTheFirst(t *testing.T) {
	v := newVillage(t, roomy)
	_, _, err := v.read("stranger", "village", "news", nil, nil)
	require.NoError(t, err)
	at, err := v.publish("somebody", "village", "news", "precious")
	require.NoError(t, err)
	v.said["news"] = Position{at.Incarnation, 0}
	_, err = v.publish("stranger", "village", "news", "mine")
	require.NoError(t, err)
	require.Nil(t, v.makers["stranger"])
	another := v.ways()["publish"]
	for i := range 20_000 {
		v.now += time.Minute / time.Duration(roomy.perClient)
		require.NoError(t, another("k", strconv.Itoa(i)))
	}
	v.unharmed()
}

// TestTheCellIsNotRefused: its nodes may make as many as there is room for.
func TestTheCellIsNotRefused(t *testing.T) {
	v := newVillage(t, roomy)
	for i := range 10_000 {
		_, err := v.publish(theCell, "k", fmt.Sprint(i), "x")
		require.NoError(t, err)
	}
}
