package lease

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/espra/protoplex/nodes"
)

const million = 1_000_000

// errOthers says that the object is in a state that others have put it in, so
// that no put of ours can follow any more.
var errOthers = errors.New("the object was changed by others")

// slot is what a process knows of one name. All but the first fields belong to
// whoever has the turn.
type slot struct {
	s    *Store
	name string
	key  string
	turn chan struct{}

	held *nodes.Lease // by this process, or nil

	// The object as last seen; an empty ETag means that there was none.
	etag  string
	seen  record        // kept when the object is found gone
	since time.Duration // when it was first seen like this
	ours  bool          // this process put it so
	top   uint64        // the greatest epoch ever seen

	// attempts are the puts on top of etag whose outcome is unknown. Once
	// the ETag is another, none of them can be applied any more.
	attempts []attempt

	drawn uint64 // nonces
}

// attempt is a put that was sent.
type attempt struct {
	record
	sent time.Duration
}

// maxAttempts bounds the puts that are remembered. One that is forgotten and
// applied after all counts as somebody else's, which costs a wait.
const maxAttempts = 64

func (p *slot) leave() { <-p.turn }

func (p *slot) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("lease %s: %w", p.name, err)
}

// holds reports whether this process has given out l and not lost it since.
func (p *slot) holds(l nodes.Lease) bool {
	return p.held != nil && p.held.Epoch == l.Epoch && p.held.Holder == l.Holder
}

// taken says by whom the lease is held, as far as this process knows.
func (p *slot) taken(left time.Duration) error {
	return &nodes.LeaseHeldError{Holder: p.seen.Holder, Epoch: p.seen.Epoch, Left: max(left, 0)}
}

// wait is for how long somebody else may still believe in holding the lease.
func (p *slot) wait() time.Duration {
	gone := p.etag == ""
	switch {
	case gone && p.top == 0: // never there
		return 0
	case !gone && (p.ours || p.seen.Holder == ""):
		return 0
	}
	// The holder counts its term from before it sent what we saw, on a clock
	// that may be slow; we count from after we saw it, on one that may be fast.
	// An object that somebody deleted leaves its holder the same time.
	return p.since + patience(p.seen.Term, p.s.o.DriftPPM) + p.s.o.Slack - p.s.m.Elapsed()
}

// patience is how long a clock that is fast by ppm must run so that one that is
// slow by as much has surely counted the term.
func patience(term time.Duration, ppm int64) time.Duration {
	extra := int64(term) / (million - ppm) * 2 * ppm
	rest := int64(term) % (million - ppm) * 2 * ppm
	return term + time.Duration(extra+rest/(million-ppm)+1)
}

// look reads the object and takes note of it.
func (p *slot) look(ctx context.Context) error {
	ctx, cancel := nodes.Timeout(ctx, p.s.m, "lease/get/"+p.key, p.s.o.Timeout)
	defer cancel()
	b, err := p.s.blobs.Get(ctx, p.key, nodes.GetOptions{})
	if errors.Is(err, nodes.ErrBlobNotFound) {
		if p.etag != "" {
			p.s.m.Log().Warn("lease object deleted", "lease", p.name, "epoch", p.top)
			p.note("", p.seen)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(b.Body, p.s.o.MaxSize+1))
	if err = errors.Join(err, b.Body.Close()); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if int64(len(body)) > p.s.o.MaxSize {
		return fmt.Errorf("%w: larger than %d bytes", ErrObject, p.s.o.MaxSize)
	}
	if b.ETag == "" || int64(len(body)) != b.Size {
		return errors.New("read: cut short")
	}
	r, err := decode(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrObject, err)
	}
	if b.ETag != p.etag {
		if r.Epoch < p.top {
			p.s.m.Log().Warn("lease epoch went back", "lease", p.name, "epoch", r.Epoch, "from", p.top)
		}
		p.note(b.ETag, r)
	}
	return nil
}

// note takes a new state of the object. It must be called after the answer that
// brought it has arrived: the state is at least that old.
func (p *slot) note(etag string, r record) {
	p.ours = etag != "" && slices.ContainsFunc(p.attempts, func(a attempt) bool { return a.Nonce == r.Nonce })
	p.etag, p.seen, p.since = etag, r, p.s.m.Elapsed()
	p.top = max(p.top, r.Epoch)
	p.attempts = nil
}

// write puts r in the place of the state last seen, and gives the instant, on
// this machine's clock, from which validity counts. After a nil error the
// object is in a state that this process has written: r, or what an earlier
// attempt wanted. Any error but errOthers and ErrObject means unknown.
func (p *slot) write(ctx context.Context, r record) (sent time.Duration, err error) {
	r.Format, r.Nonce = format, p.nonce()
	base := p.etag
	if len(p.attempts) == maxAttempts {
		p.attempts = slices.Delete(p.attempts, 0, 1)
	}
	p.attempts = append(p.attempts, attempt{r, p.s.m.Elapsed()})
	attempts := p.attempts
	etag, err := p.put(ctx, r)
	if err == nil {
		p.note(etag, r)
		return attempts[len(attempts)-1].sent, nil
	}
	if lookErr := p.look(ctx); lookErr != nil {
		return 0, fmt.Errorf("write: %w, and then %w", err, lookErr)
	}
	switch {
	case p.etag == base:
		return 0, fmt.Errorf("write: %w", err) // not applied, or not yet
	case !p.ours:
		return 0, errOthers
	}
	p.s.m.Log().Debug("lease write came through", "lease", p.name, "error", err)
	i := slices.IndexFunc(attempts, func(a attempt) bool { return a.Nonce == p.seen.Nonce })
	return attempts[i].sent, nil
}

// put sends one request and gives the object's new ETag. Only a nil error says
// anything for certain.
func (p *slot) put(ctx context.Context, r record) (string, error) {
	ctx, cancel := nodes.Timeout(ctx, p.s.m, "lease/put/"+p.key, p.s.o.Timeout)
	defer cancel()
	body := r.encode()
	o := nodes.PutOptions{IfAbsent: p.etag == "", IfMatch: p.etag, Type: "application/json", CacheControl: "no-store"}
	info, err := p.s.blobs.Put(ctx, p.key, bytes.NewReader(body), int64(len(body)), o)
	if err == nil && info.ETag == "" {
		err = errors.New("no ETag in the answer")
	}
	return info.ETag, err
}

// nonce draws what no other put has.
func (p *slot) nonce() string {
	n := p.drawn
	p.drawn += 2
	use := p.s.start + p.name
	return fmt.Sprintf("%016x%016x", p.s.m.Rand(use, n), p.s.m.Rand(use, n+1))
}
