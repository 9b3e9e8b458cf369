package scenarios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/s3"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/aws"
	"github.com/espra/protoplex/sim"
)

// leaseContest is a world of machines that contend for one lease, a store, and a
// fence that takes their orders.
type leaseContest struct {
	t       *testing.T
	w       *sim.World
	history *leaseHistory
	fence   *leaseFence
	roles   nodes.Roles

	releases bool // contenders give the lease up now and then
}

func newLeaseContest(t *testing.T, w *sim.World, serve func(http.Handler, http.ResponseWriter, *http.Request)) *leaseContest {
	c := &leaseContest{t: t, w: w, history: &leaseHistory{w: w, stopped: map[string]bool{}}, fence: &leaseFence{}}
	c.roles = nodes.Roles{"contend": func(ctx context.Context, m nodes.Machine, _ []string) error { return c.contend(ctx, m) }}
	bootStore(w, serve)
	w.NewMachine("fence").OnBoot(func(m *sim.Machine) {
		startRole(m, "fence", nodes.Roles{"fence": c.fence.run}, nil)
	})
	time.Sleep(time.Second)
	return c
}

// contender boots one more machine.
func (c *leaseContest) contender(name string) *sim.Machine {
	m := c.w.NewMachine(name)
	m.OnBoot(c.start)
	return m
}

func (c *leaseContest) start(m *sim.Machine) { startRole(m, "contend", c.roles, nil) }

// judge fails unless there is an order of all that was told and done.
func (c *leaseContest) judge(t *testing.T) {
	t.Helper()
	require.Empty(t, c.history.superseded(), "acted after others had been told of a greater epoch")
	require.True(t, c.history.linearizable(), "no order has one holder at a time")
}

// bootStore boots S3 on a machine of that name, which answers by serve.
func bootStore(w *sim.World, serve func(http.Handler, http.ResponseWriter, *http.Request)) {
	role := func(ctx context.Context, m nodes.Machine, _ []string) error {
		store, err := s3.New(ctx, m, s3.Options{Buckets: []string{"leases"}, Keys: map[string]string{"node": "secret"}, Region: "us-east"})
		if err != nil {
			return err
		}
		l, err := m.Listen("tcp", ":80")
		if err != nil {
			return err
		}
		web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(store, w, r) })}
		go func() {
			<-ctx.Done()
			web.Close()
		}()
		return web.Serve(l)
	}
	startRole(w.NewMachine("s3"), "s3", nodes.Roles{"s3": role}, nil)
	time.Sleep(time.Second)
}

// newStoreClient gives a client as a node has it. Every second machine's tries
// puts again by itself, as some SDKs do.
func newStoreClient(t testing.TB, m nodes.Machine) nodes.Blobs {
	b, err := aws.NewBlobs(m, aws.BlobsOptions{Endpoint: "http://s3", Region: "us-east", Bucket: "leases", Key: "node", Secret: "secret"})
	require.NoError(t, err)
	if m.Host().Name[len(m.Host().Name)-1]%2 == 0 {
		return retrying{b}
	}
	return b
}

// retrying repeats puts that failed, so that one which was applied is told of a
// conflict with itself.
type retrying struct{ nodes.Blobs }

func (r retrying) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, o nodes.PutOptions) (nodes.BlobInfo, error) {
	info, err := r.Blobs.Put(ctx, key, body, size, o)
	if err == nil || errors.Is(err, nodes.ErrBlobConflict) {
		return info, err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nodes.BlobInfo{}, err
	}
	return r.Blobs.Put(ctx, key, body, size, o)
}

// leaseTrouble is a store whose answers are not to be believed.
type leaseTrouble struct{ w *sim.World }

func (t leaseTrouble) serve(store http.Handler, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	// What is under way comes through, whether or not somebody still waits.
	r = r.WithContext(context.WithoutCancel(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	status := 0
	switch choice := t.w.Choose(r.Method+" "+r.RemoteAddr, uint64(t.w.Elapsed())); choice % 16 {
	case 0:
		status = http.StatusInternalServerError
	case 1:
		if r.Method == http.MethodPut {
			status = http.StatusPreconditionFailed
		}
	case 2:
		store.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case 3:
		w.WriteHeader(http.StatusServiceUnavailable) // and nothing was done
		return
	case 4:
		// Held up on the way for longer than anybody waits.
		time.Sleep(3*time.Second + time.Duration(choice%1_000_000_007))
	}
	if status == 0 {
		store.ServeHTTP(w, r)
		return
	}
	store.ServeHTTP(httptest.NewRecorder(), r)
	w.WriteHeader(status)
}

// leaseFence is a node that takes orders, and none of an epoch older than it has
// seen.
type leaseFence struct {
	mu                sync.Mutex
	top               uint64
	accepted, refused []uint64
}

// orders gives the epochs of all orders so far.
func (f *leaseFence) orders() (accepted, refused []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.accepted), slices.Clone(f.refused)
}

func (f *leaseFence) take(epoch uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if epoch < f.top {
		f.refused = append(f.refused, epoch)
		return
	}
	f.top = epoch
	f.accepted = append(f.accepted, epoch)
}

func (f *leaseFence) run(ctx context.Context, m nodes.Machine, _ []string) error {
	socket, err := m.ListenPacket("udp", ":9")
	if err != nil {
		return err
	}
	defer socket.Close()
	buf := make([]byte, 64)
	for {
		n, _, err := socket.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		epoch, err := strconv.ParseUint(string(buf[:n]), 10, 64)
		if err != nil {
			return err
		}
		f.take(epoch)
	}
}

// leaseHistory is what contenders asked, were told and did, by the world's clock.
type leaseHistory struct {
	w *sim.World

	mu      sync.Mutex
	ops     []porcupine.Operation
	stopped map[string]bool
	holder  string
}

// What was asked or done, and what came of it.
type (
	leaseEvent struct {
		kind  string // acquire, renew, release, act
		epoch uint64 // of the lease, known for all but failed acquisitions
		came  string // ok, held, lost or unknown
	}
	leaseTally struct{ Acts, Epochs, Unknown, Held, Lost, Renewed, Released int }
)

// call begins an operation and gives what ends it.
func (h *leaseHistory) call(who string) func(leaseEvent) {
	began := int64(h.w.Elapsed())
	return func(e leaseEvent) {
		ended := int64(h.w.Elapsed())
		if e.came == "unknown" {
			ended += int64(time.Minute) // what is under way takes effect by then, or never
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if e.kind == "acquire" && e.came == "ok" {
			h.holder = who
		}
		h.ops = append(h.ops, porcupine.Operation{Input: e, Call: began, Output: e.came, Return: ended})
	}
}

// act is the instant at which a contender looked at its lease and went on. One
// on a stopped machine looks at a clock that stands, and reaches nobody: that
// is for the fence to judge, when it is let go.
func (h *leaseHistory) act(who string, epoch uint64) {
	now := int64(h.w.Elapsed())
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopped[who] {
		h.ops = append(h.ops, porcupine.Operation{Input: leaseEvent{"act", epoch, "ok"}, Call: now, Output: "ok", Return: now})
	}
}

func (h *leaseHistory) stop(who string, stopped bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped[who] = stopped
}

func (h *leaseHistory) lastHolder() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holder == "" {
		return "seed-1"
	}
	return h.holder
}

func leaseAcquired(l nodes.Lease, err error) leaseEvent {
	return leaseEvent{"acquire", l.Epoch, leaseOutcome(err, nodes.ErrLeaseHeld, "held")}
}

func leaseRenewed(l nodes.Lease, err error) leaseEvent {
	return leaseEvent{"renew", l.Epoch, leaseOutcome(err, nodes.ErrLeaseLost, "lost")}
}

func leaseReleased(l nodes.Lease, err error) leaseEvent {
	return leaseEvent{"release", l.Epoch, leaseOutcome(err, nil, "")}
}

func leaseOutcome(err, clear error, name string) string {
	switch {
	case err == nil:
		return "ok"
	case clear != nil && errors.Is(err, clear):
		return name
	default:
		return "unknown"
	}
}

func (h *leaseHistory) tally() leaseTally {
	h.mu.Lock()
	defer h.mu.Unlock()
	var t leaseTally
	for _, o := range h.ops {
		switch e := o.Input.(leaseEvent); {
		case e.came == "unknown":
			t.Unknown++
		case e.came == "held":
			t.Held++
		case e.came == "lost":
			t.Lost++
		case e.kind == "act":
			t.Acts++
		case e.kind == "acquire":
			t.Epochs++
		case e.kind == "renew":
			t.Renewed++
		case e.kind == "release":
			t.Released++
		}
	}
	return t
}

// leaseState is the state of the lease in the model: its epoch, and whether
// whoever was given that may act.
type leaseState struct {
	epoch uint64
	held  bool
}

// superseded gives those who plainly acted too late: what the search for an
// order would also find, but not as fast, and not by name.
func (h *leaseHistory) superseded() (late []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.ops {
		for _, b := range h.ops {
			act, next := a.Input.(leaseEvent), b.Input.(leaseEvent)
			if act.kind == "act" && next.kind == "acquire" && next.came == "ok" && next.epoch > act.epoch && b.Return < a.Call {
				late = append(late, fmt.Sprintf("epoch %d at %s, epoch %d since %s",
					act.epoch, time.Duration(a.Call), next.epoch, time.Duration(b.Return)))
			}
		}
	}
	return late
}

// linearizable looks for an order of all operations, each within its time, in
// which they make sense one after another.
func (h *leaseHistory) linearizable() bool {
	h.mu.Lock()
	ops := slices.Clone(h.ops)
	h.mu.Unlock()
	// What may come of anything and changes nothing only costs time.
	ops = slices.DeleteFunc(ops, func(o porcupine.Operation) bool {
		e := o.Input.(leaseEvent)
		return e.kind == "renew" && e.came != "ok"
	})
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{leaseState{}} },
		Step: func(state, input, _ any) []any {
			var next []any
			for _, l := range leaseStep(state.(leaseState), input.(leaseEvent)) {
				next = append(next, l)
			}
			return next
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprint(input) },
	}
	return porcupine.CheckOperations(model.ToModel(), ops)
}

// leaseStep gives the states that an operation may lead to, none if it cannot have
// come to what it did.
func leaseStep(l leaseState, e leaseEvent) []leaseState {
	mine := l.held && l.epoch == e.epoch
	switch e.kind + " " + e.came {
	case "acquire ok":
		if e.epoch == l.epoch+1 {
			return []leaseState{{e.epoch, true}}
		}
	case "acquire unknown":
		return []leaseState{l, {l.epoch + 1, false}}
	case "acquire held":
		if l.epoch > 0 {
			return []leaseState{l}
		}
	case "act ok", "renew ok":
		if mine {
			return []leaseState{l}
		}
	case "release ok":
		if mine {
			return []leaseState{{l.epoch, false}}
		}
		return []leaseState{l}
	case "release unknown":
		if mine {
			return []leaseState{l, {l.epoch, false}}
		}
		return []leaseState{l}
	}
	return nil
}
