package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/placement"
)

// Channel names a channel. Without a host it is one of the cell's own.
type Channel struct {
	Host string
	Key  string
	Name string
}

func (c Channel) host() string {
	if c.Host == "" {
		return CellHost
	}
	return c.Host
}

// placement is the key by which a table tells who owns the channel.
func (c Channel) placement() string { return c.host() + "/" + c.Key }

// Event is what a node hears of a channel.
type Event struct {
	Channel Channel
	Kind    EventKind
	// Recovered says, when a subscription begins, what was missed since the last
	// one: one of the constants of that name. After RecoveredFresh and
	// RecoveredGap nothing that was kept can be relied on.
	Recovered string
	Position  Position
	Data      string // of a message
}

// EventKind says what an event is.
type EventKind string

// The kinds of events. From Subscribed on, until Lost, all that is said is heard;
// what is said in between is told, or said to be missed, by the next Subscribed.
const (
	Subscribed EventKind = "subscribed"
	Message    EventKind = "message"
	Lost       EventKind = "lost"
)

// ClientOptions are what a Client needs to know.
type ClientOptions struct {
	Identity *ca.Identity
	// Table tells which Live node owns a channel: that of the node's cell.Link.
	Table *placement.Watched
	// Meta is the address of the meta port, as the flag of that name has it: the
	// port is that of all nodes of the cell. Empty is meta.Listen.
	Meta string
}

// Client is how another node of the cell uses the Live nodes: it publishes, and
// it hears. It finds the owner of each channel in the table, asks the Seed for a
// newer table when it is refused, and tries again, for ever, after waits that
// grow to some seconds and differ from node to node. Its methods may be called
// concurrently.
type Client struct {
	m      nodes.Machine
	o      ClientOptions
	port   string
	draw   string // name of random numbers
	drawn  atomic.Uint64
	events chan Event
	poke   chan struct{} // what is wanted has changed

	mu      sync.Mutex
	wanted  map[Channel]bool
	writers map[string]writer // by the node's name
}

// writer is a client of one node's meta port, to publish through.
type writer struct {
	node   placement.Node
	client *meta.Client
}

// NewClient makes a client. It publishes at once, and hears while Run runs.
func NewClient(m nodes.Machine, o ClientOptions) (*Client, error) {
	if o.Identity == nil || o.Table == nil {
		return nil, errors.New("live: a client needs a certificate and a table")
	}
	if o.Meta == "" {
		o.Meta = meta.Listen
	}
	_, port, err := net.SplitHostPort(o.Meta)
	if err != nil {
		return nil, fmt.Errorf("live: meta port: %w", err)
	}
	return &Client{
		m: m, o: o, port: port,
		draw:    fmt.Sprintf("live/client/%s/%d", o.Identity.Name().Name, m.Now().UnixNano()),
		events:  make(chan Event, 64),
		poke:    make(chan struct{}, 1),
		wanted:  make(map[Channel]bool),
		writers: make(map[string]writer),
	}, nil
}

// Events are what was heard, in order for each channel. Somebody has to take
// them: a client that is too far behind is cut off by the Live node, and resumes,
// with a gap perhaps. The channel is never closed.
func (c *Client) Events() <-chan Event { return c.events }

// Subscribe has a channel of the cell's own heard until Unsubscribe. Whoever
// keeps what the channel may invalidate looks for it after Subscribed, not
// before. At most 1000 channels can be subscribed to.
func (c *Client) Subscribe(ch Channel) error {
	if ch.Host != "" || !ValidName(ch.Key) || !ValidName(ch.Name) {
		return fmt.Errorf("live: %+v cannot be subscribed to by a node", ch)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.wanted[ch] && len(c.wanted) >= maxMemberSubs {
		return fmt.Errorf("live: more than %d channels", maxMemberSubs)
	}
	c.wanted[ch] = true
	signal(c.poke)
	return nil
}

// Unsubscribe ends that. A few more events may come.
func (c *Client) Unsubscribe(ch Channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.wanted, ch)
	signal(c.poke)
}

// publishTime bounds one attempt to publish.
const publishTime = 5 * time.Second

// Publish says something in a channel, of at most 8 KiB, and gives its position.
// It tries until it is accepted or ctx ends; only what no node would accept is
// given up at once. A message whose answer was lost is said twice, and after an
// error it may have been said.
func (c *Client) Publish(ctx context.Context, ch Channel, data string) (Position, error) {
	for failures := 1; ; failures++ {
		owner, at, err := c.publish(ctx, ch, data)
		if err == nil || !again(err) || ctx.Err() != nil {
			return at, err
		}
		c.m.Log().Debug("publish tried again", "channel", ch.Name, "error", err)
		// An error leaves the old table, which is as good a guess as any.
		if t, _ := c.o.Table.Refresh(ctx); ownerIn(t, ch) == owner || failures > 1 {
			if nodes.Sleep(ctx, c.m, "live/client/again/"+ch.placement()+"/"+ch.Name, c.backoff(failures)) != nil {
				return Position{}, err
			}
		}
	}
}

func ownerIn(t placement.Table, ch Channel) placement.Node {
	owner, _ := t.Owner(ch.placement())
	return owner
}

var errNoOwner = errors.New("live: no node owns the channel")

// again reports whether what failed may be accepted later, or elsewhere.
func again(err error) bool {
	var status *meta.StatusError
	if errors.As(err, &status) {
		return status.Status == http.StatusMisdirectedRequest || status.Status == http.StatusServiceUnavailable
	}
	return true
}

// publish tries once.
func (c *Client) publish(ctx context.Context, ch Channel, data string) (placement.Node, Position, error) {
	table := c.o.Table.Current()
	owner, ok := table.Owner(ch.placement())
	if !ok {
		return owner, Position{}, errNoOwner
	}
	w, err := c.writer(table, owner)
	if err != nil {
		return owner, Position{}, err
	}
	ctx, cancel := nodes.Timeout(ctx, c.m, "live/client/publish/"+ch.placement()+"/"+ch.Name, publishTime)
	defer cancel()
	var answer struct{ Position Position }
	in := map[string]string{"data": data}
	err = w.Call(ctx, http.MethodPost, strings.Join([]string{memberPath, ch.host(), ch.Key, ch.Name}, "/"), in, &answer)
	return owner, answer.Position, err
}

// writer gives the client of a node, and lets go of those to nodes that are not
// in the table any more.
func (c *Client) writer(t placement.Table, n placement.Node) (*meta.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.writers[n.Name]; ok && w.node == n {
		return w.client, nil
	}
	client, err := c.dial(n)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.writers)) {
		if w := c.writers[name]; !slices.Contains(t.Nodes, w.node) {
			w.client.Close()
			delete(c.writers, name)
		}
	}
	c.writers[n.Name] = writer{n, client}
	return client, nil
}

// dial makes a client of a node's meta port.
func (c *Client) dial(n placement.Node) (*meta.Client, error) {
	host, _, err := net.SplitHostPort(n.Addr)
	if err != nil {
		return nil, fmt.Errorf("live: %s: %w", n.Name, err)
	}
	return meta.NewClient(c.m, c.o.Identity, net.JoinHostPort(host, c.port), ca.Want{Roles: []string{cell.RoleLive}, Name: n.Name}), nil
}

func (c *Client) backoff(failures int) time.Duration {
	return cell.Backoff(c.m, c.draw, c.drawn.Add(1), failures)
}
