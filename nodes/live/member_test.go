package live

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/placement"
)

// seed stands in for the Seed of a cell on loopback: it takes everybody in, and
// its tables are what a test says.
type seed struct {
	t         testing.TB
	now       time.Time // about which certificates are valid
	authority *ca.Authority
	address   string
	port      string // of the meta ports of Live nodes
	joined    chan cell.Registration

	mu      sync.Mutex
	table   placement.Table
	changed chan struct{}
}

func newSeed(t testing.TB) *seed {
	s := &seed{t: t, now: time.Now(), joined: make(chan cell.Registration, 10), changed: make(chan struct{}),
		table: placement.Table{Epoch: 1}}
	s.authority = s.newAuthority()
	s.port, s.address = freePort(t, "127.0.0.1"), "127.0.0.1:"+freePort(t, "127.0.0.1")
	m := s.machine("seed-1", "127.0.0.1")
	s.run(func(ctx context.Context) error {
		return meta.Serve(ctx, m, meta.Options{Identity: s.identity(s.authority, "seed", "seed-1"), Listen: s.address,
			Routes: []meta.Route{{Pattern: "GET " + cell.Path, Stream: s.serve}}})
	})
	return s
}

func (s *seed) newAuthority() *ca.Authority {
	a, err := ca.New(rand.Reader, "us-east", s.now.Add(-time.Hour), s.now.Add(time.Hour))
	require.NoError(s.t, err)
	return a
}

func freePort(t testing.TB, host string) string {
	l, err := net.Listen("tcp", host+":0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// run runs f until the test ends.
func (s *seed) run(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			s.t.Error("something does not stop")
		}
	})
}

func (s *seed) machine(name, address string) *machine {
	log := &logHook{records: make(chan slog.Record, 10_000)}
	host := nodes.Host{Name: name, Region: "us-east", Addr: netip.MustParseAddr(address), Proc: name}
	system, err := nodes.NewOS(nodes.OSOptions{Host: host, Root: s.t.TempDir(), Log: slog.New(log)})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, system.Close()) })
	return &machine{OS: system, signals: make(chan nodes.Signal, 1), log: log, records: map[string][]string{}}
}

// certificate mints one.
func (s *seed) certificate(a *ca.Authority, role, name string) []byte {
	file, err := a.Node(rand.Reader, role, name, s.now.Add(-time.Hour), s.now.Add(time.Hour))
	require.NoError(s.t, err)
	return file
}

// identity mints a certificate of an authority, for a node that trusts this cell.
func (s *seed) identity(a *ca.Authority, role, name string) *ca.Identity {
	id, err := ca.NewIdentity(s.certificate(a, role, name), s.authority.RootsPEM())
	require.NoError(s.t, err)
	return id
}

// serve is the Seed's side of package cell.
func (s *seed) serve(ctx context.Context, st *meta.Stream) error {
	first, err := st.Receive()
	if err != nil {
		return err
	}
	var r cell.Registration
	if err := first.Decode(&r); err != nil {
		return err
	}
	send := func(kind string, t placement.Table, body any) error {
		f, err := meta.NewFrame(kind, t.Epoch, t.Revision, body)
		if err == nil {
			err = st.Send(f)
		}
		return err
	}
	t, changed := s.current()
	if err := send(cell.TypeWelcome, t, cell.Welcome{Leader: "seed-1", Cell: "us-east"}); err != nil {
		return err
	}
	s.joined <- r
	go func() {
		for {
			if t.Revision > 0 && send(cell.TypeSnapshot, t, cell.Report{Table: t}) != nil {
				return
			}
			select {
			case <-st.Done():
				return
			case <-changed:
			}
			t, changed = s.current()
		}
	}()
	for {
		f, err := st.Receive()
		if err != nil || f.Type == cell.TypeLeaving {
			return err
		}
		var beat cell.Beat
		if f.Type == cell.TypeAlive && f.Decode(&beat) == nil {
			t, _ := s.current()
			if err := send(cell.TypeSnapshot, t, cell.Report{Table: t}); err != nil {
				return err
			}
			if err := send(cell.TypeAnswer, t, cell.Answer{N: beat.N}); err != nil {
				return err
			}
		}
	}
}

func (s *seed) current() (placement.Table, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table, s.changed
}

// place makes the next table.
func (s *seed) place(all ...placement.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = placement.Table{Epoch: 1, Revision: s.table.Revision + 1, Nodes: all}
	close(s.changed)
	s.changed = make(chan struct{})
}

// live starts a Live node at an address of its own, and gives its place.
func (s *seed) live(number int, args ...string) (*node, placement.Node) {
	name, address := fmt.Sprintf("live-%d", number), fmt.Sprintf("127.0.0.%d", 10+number)
	m := s.machine(name, address)
	put := func(file string, b []byte) {
		d := m.Disk()
		f, err := d.Create(file)
		require.NoError(s.t, err)
		_, err = f.WriteAt(b, 0)
		require.NoError(s.t, err)
		require.NoError(s.t, f.Close())
	}
	put("/cert.pem", s.certificate(s.authority, "live", name))
	put("/roots.pem", s.authority.RootsPEM())
	args = append([]string{"--listen", address + ":0", "--meta", address + ":" + s.port, "--seeds", "seed-1=" + s.address,
		"--cell-cert", "/cert.pem", "--cell-roots", "/roots.pem"}, args...)
	n := &node{machine: m}
	s.run(func(ctx context.Context) error { return Run(ctx, m, args) })
	n.address = m.log.await(s.t, "listening")["address"].(string)
	require.Eventually(s.t, func() bool { // its meta port may come later
		c, err := net.Dial("tcp", address+":"+s.port)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 10*time.Second, time.Millisecond)
	select {
	case r := <-s.joined:
		return n, r.Node()
	case <-time.After(10 * time.Second):
		s.t.Fatal("the node does not register")
		return nil, placement.Node{}
	}
}

// placed waits until a node serves or refuses a key as its table says.
func (s *seed) placed(n *node, status int, key string) {
	require.Eventually(s.t, func() bool {
		got, _ := n.post(s.t, testHost, key+"/probe", "")
		return got == status
	}, 10*time.Second, 10*time.Millisecond)
}

// member starts a node that hears.
func (s *seed) member(name string) *Client {
	m := s.machine(name, "127.0.0.1")
	id := s.identity(s.authority, "fileserver", name)
	link, err := cell.NewLink(m, cell.Options{Identity: id, Seeds: []cell.Seed{{Name: "seed-1", Addr: s.address}}})
	require.NoError(s.t, err)
	c, err := NewClient(m, ClientOptions{Identity: id, Table: link.Table(), Meta: ":" + s.port})
	require.NoError(s.t, err)
	s.run(link.Run)
	<-s.joined
	s.run(c.Run)
	return c
}

func next(t testing.TB, c *Client) Event {
	t.Helper()
	select {
	case e := <-c.Events():
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was heard")
		return Event{}
	}
}

func say(t testing.TB, c *Client, ch Channel, data string) Position {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	at, err := c.Publish(ctx, ch, data)
	require.NoError(t, err)
	return at
}

// stream opens a stream by hand, as some node of some cell.
func (s *seed) stream(n placement.Node, id *ca.Identity) (*meta.Stream, error) {
	host, _, err := net.SplitHostPort(n.Addr)
	require.NoError(s.t, err)
	c := meta.NewClient(s.machine("hand", "127.0.0.1"), id, net.JoinHostPort(host, s.port), ca.Want{})
	s.t.Cleanup(c.Close)
	st, err := c.Open(s.t.Context(), memberPath)
	if err == nil {
		s.t.Cleanup(func() { st.Close("done") })
	}
	return st, err
}

func ask(t testing.TB, st *meta.Stream, body string) {
	t.Helper()
	require.NoError(t, st.Send(meta.Frame{Type: memberFrame, Body: json.RawMessage(body)}))
}

func hear(t testing.TB, st *meta.Stream) string {
	t.Helper()
	f, err := st.Receive()
	require.NoError(t, err)
	require.Equal(t, memberFrame, f.Type)
	return string(f.Body)
}

func TestMembersHearEachOther(t *testing.T) {
	s := newSeed(t)
	n, place := s.live(1)
	s.place(place)
	s.placed(n, 200, "k")
	a, b := s.member("files-1"), s.member("files-2")
	ch := Channel{Key: "files", Name: "7f"}
	require.NoError(t, a.Subscribe(ch))
	e := next(t, a)
	require.Equal(t, Event{ch, Subscribed, RecoveredFresh, Position{e.Position.Incarnation, 0}, ""}, e)
	for i, data := range []string{"one", strings.Repeat("\x01", maxMemberData), "<two>"} {
		at := say(t, b, ch, data)
		require.Equal(t, uint64(i+1), at.Offset)
		require.Equal(t, Event{ch, Message, "", at, data}, next(t, a))
	}

	// People hear what is said in their channels.
	c := n.open(t, "upload-1")
	c.subscribe("progress", nil)
	say(t, b, Channel{testHost, "upload-1", "progress"}, "50 %")
	c.wantMessage("progress", 1, "50 %")

	// What no node would take is given up at once.
	_, err := b.Publish(t.Context(), ch, strings.Repeat("x", maxMemberData+1))
	require.ErrorContains(t, err, "413")
	_, err = b.Publish(t.Context(), Channel{Key: "no name", Name: "x"}, "")
	require.Error(t, err)
	require.Error(t, a.Subscribe(Channel{testHost, "k", "c"}))

	// Nothing comes any more of what was left.
	a.Unsubscribe(ch)
	other := Channel{Key: "files", Name: "80"}
	require.NoError(t, a.Subscribe(other))
	require.Equal(t, other, next(t, a).Channel)
	say(t, b, ch, "three")
	at := say(t, b, other, "four")
	require.Equal(t, Event{other, Message, "", at, "four"}, next(t, a))
}

func TestChannelsOfTheCellAreClosedToPeople(t *testing.T) {
	n := start(t)
	for _, host := range []string{CellHost, "CELL.internal", CellHost + ".", CellHost + ":80"} {
		status, _ := n.post(t, host, "files/7f", "forged")
		require.Equal(t, http.StatusForbidden, status, host)
		for _, query := range []string{"", "?as=sse"} {
			res, err := n.far().Get("http://" + host + "/live/files/7f" + query)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, http.StatusForbidden, res.StatusCode, host)
		}
		_, res, err := n.dial(host, "files")
		require.Error(t, err)
		require.Equal(t, http.StatusForbidden, res.StatusCode, host)
	}
}

func TestOnlyMembersOfTheCell(t *testing.T) {
	s := newSeed(t)
	_, place := s.live(1)
	s.place(place)
	_, err := s.stream(place, s.identity(s.newAuthority(), "fileserver", "files-1"))
	require.Error(t, err, "of another authority")
	for _, role := range []string{"proxy", "live", "seed"} {
		_, err = s.stream(place, s.identity(s.authority, role, "other-1"))
		var status *meta.StatusError
		require.ErrorAs(t, err, &status, role)
		require.Equal(t, http.StatusForbidden, status.Status, role)
	}
}

// TestOwnerChanges: what moves is told as lost, found at its new owner, and
// known to have a gap; the rest is left alone.
func TestOwnerChanges(t *testing.T) {
	s := newSeed(t)
	_, one := s.live(1)
	_, two := s.live(2)
	s.place(one)
	a := s.member("files-1")
	both := placement.Table{Nodes: []placement.Node{one, two}}
	channel := func(owner placement.Node) Channel {
		for i := 0; ; i++ {
			ch := Channel{Key: fmt.Sprint("files-", i), Name: "changes"}
			if ownerIn(both, ch) == owner {
				return ch
			}
		}
	}
	stays, moves := channel(one), channel(two)
	for _, ch := range []Channel{stays, moves} {
		require.NoError(t, a.Subscribe(ch))
		require.Equal(t, RecoveredFresh, next(t, a).Recovered)
	}
	before := say(t, a, moves, "here")
	require.Equal(t, "here", next(t, a).Data)

	s.place(one, two)
	require.Equal(t, Event{Channel: moves, Kind: Lost}, next(t, a))
	e := next(t, a)
	require.Equal(t, []any{moves, Subscribed, RecoveredGap}, []any{e.Channel, e.Kind, e.Recovered})
	require.NotEqual(t, before.Incarnation, e.Position.Incarnation)
	say(t, a, moves, "there")
	require.Equal(t, "there", next(t, a).Data)
	say(t, a, stays, "still here")
	e = next(t, a)
	require.Equal(t, []any{stays, Message, uint64(1), "still here"}, []any{e.Channel, e.Kind, e.Position.Offset, e.Data})

	// With nobody there, a publish waits until somebody is.
	s.place()
	for range 2 {
		require.Equal(t, Lost, next(t, a).Kind)
	}
	said := make(chan error, 1)
	go func() {
		_, err := a.Publish(t.Context(), moves, "late")
		said <- err
	}()
	s.place(two)
	require.NoError(t, <-said)
}

// TestMemberPositions: what was missed is told over the stream as to people.
func TestMemberPositions(t *testing.T) {
	s := newSeed(t)
	n, place := s.live(1, "--history", "2")
	s.place(place)
	s.placed(n, 200, "k")
	b := s.member("files-2")
	var at Position
	for _, data := range []string{"one", "two", "three"} {
		at = say(t, b, Channel{Key: "k", Name: "c"}, data)
	}
	for name, tc := range map[string]struct {
		offset    uint64
		recovered string
		replayed  []string
	}{
		"the end":          {3, RecoveredNothing, nil},
		"all that is kept": {1, RecoveredReplay, []string{"two", "three"}},
		"too old":          {0, RecoveredGap, nil},
	} {
		st, err := s.stream(place, s.identity(s.authority, "fileserver", "files-1"))
		require.NoError(t, err, name)
		ask(t, st, fmt.Sprintf(`{"op":"subscribe","key":"k","channel":"c","position":{"incarnation":"%s","offset":%d}}`, at.Incarnation, tc.offset))
		require.Contains(t, hear(t, st), tc.recovered, name)
		for _, data := range tc.replayed {
			require.Contains(t, hear(t, st), data, name)
		}
		st.Close("done")
	}
}

// TestSlowMemberIsCut: and holds nobody up.
func TestSlowMemberIsCut(t *testing.T) {
	s := newSeed(t)
	n, place := s.live(1, "--queue-bytes", "16KiB")
	s.place(place)
	s.placed(n, 200, "k")
	slow, err := s.stream(place, s.identity(s.authority, "fileserver", "files-1"))
	require.NoError(t, err)
	ask(t, slow, `{"op":"subscribe","key":"k","channel":"c"}`)
	require.Contains(t, hear(t, slow), RecoveredFresh) // and takes nothing more
	b := s.member("files-2")
	for range 3000 { // more than what is between the two can hold
		say(t, b, Channel{Key: "k", Name: "c"}, strings.Repeat("x", maxMemberData))
	}
	require.Equal(t, errMemberSlow.Error(), n.log.await(t, "stream ended")["reason"])
}

func TestMemberBounds(t *testing.T) {
	s := newSeed(t)
	n, place := s.live(1, "--max-channels", "1200")
	s.place(place)
	s.placed(n, 200, "k")
	open := func() *meta.Stream {
		st, err := s.stream(place, s.identity(s.authority, "fileserver", "files-1"))
		require.NoError(t, err)
		return st
	}
	for body, want := range map[string]string{
		`{"op":"publish","key":"k","channel":"c"}`:     "publish with POST",
		`{"op":"subscribe","key":"a/b","channel":"c"}`: "invalid key",
		`{"op":"subscribe","channel":"c"}`:             "invalid key",
		`{"op":"subscribe","key":"k"}`:                 "invalid channel",
		`"subscribe"`:                                  "not a JSON object",
	} {
		st := open()
		ask(t, st, body)
		_, err := st.Receive()
		var closed *meta.ClosedError
		require.ErrorAs(t, err, &closed)
		require.Contains(t, closed.Reason, want)
	}
	// Half of the node's channels are for members.
	st := open()
	for i := range 601 {
		ask(t, st, fmt.Sprintf(`{"op":"subscribe","key":"k","channel":"c%d"}`, i))
		want := `"subscribed"`
		if i == 600 {
			want = `"no-room"`
		}
		require.Contains(t, hear(t, st), want, i)
	}
	ask(t, st, `{"op":"unsubscribe","key":"k","channel":"c0"}`)
	ask(t, st, `{"op":"subscribe","key":"k","channel":"c600"}`)
	require.Contains(t, hear(t, st), `"subscribed"`)
	ask(t, st, `{"op":"subscribe","key":"k","channel":"c600"}`)
	_, err := st.Receive()
	require.ErrorContains(t, err, "subscribed already")
}

func FuzzMemberFrame(f *testing.F) {
	f.Add([]byte(`{"op":"subscribe","key":"k","channel":"c","position":{"incarnation":"i","offset":7}}`))
	f.Add([]byte(`{"op":"unsubscribe","key":"k","channel":"c","KEY":"../x"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseMemberFrame(b)
		if err != nil {
			return
		}
		require.True(t, ValidName(a.Key) && ValidName(a.Channel))
		require.Contains(t, []string{"subscribe", "unsubscribe"}, a.Op)
		again, err := parseMemberFrame(encode(a))
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
}

func FuzzMemberMessage(f *testing.F) {
	f.Add(`{"data":"x"}`)
	f.Add(`{"data":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		data, status := parseMemberMessage(strings.NewReader(body))
		if status != 0 {
			require.Empty(t, data)
			return
		}
		require.LessOrEqual(t, len(data), maxMemberData)
		frame := (&memberSink{key: strings.Repeat("k", maxName)}).keyed(messageFrame(strings.Repeat("c", maxName), 1<<63, encode(data)))
		line, err := meta.AppendFrame(nil, meta.Frame{Type: memberFrame, Body: frame})
		require.NoError(t, err, "it fits")
		got, err := meta.ParseFrame(line)
		require.NoError(t, err)
		told, err := parseTold(got.Body)
		require.NoError(t, err)
		require.Equal(t, data, told.Data)
	})
}

func FuzzTold(f *testing.F) {
	f.Add([]byte(`{"op":"subscribed","key":"k","channel":"c","position":{"incarnation":"i","offset":7}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if told, err := parseTold(b); err == nil && told.Op == "subscribed" {
			require.NotNil(t, told.Position)
		}
	})
}
