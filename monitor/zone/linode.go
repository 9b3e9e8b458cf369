package zone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/linode/linodego"
)

// Linode is a zone in Linode's DNS Manager.
type Linode struct {
	client linodego.Client
	zone   string
	id     atomic.Int64 // of the domain, 0 until it was looked up
}

var _ Zone = (*Linode)(nil)

// NewLinode makes a client of the API at base, such as https://api.linode.com.
// All requests go through hc, which the caller keeps.
func NewLinode(hc *http.Client, base, token, zone string) *Linode {
	l := &Linode{client: linodego.NewClient(hc), zone: strings.ToLower(strings.TrimSuffix(zone, "."))}
	l.client.SetBaseURL(base)
	l.client.SetAPIVersion(linodego.APIVersion)
	l.client.SetToken(token)
	l.client.SetDebug(false)
	l.client.SetLogger(silent{})
	l.client.UseCache(false)
	// The caller retries with a fresh plan; the library would repeat for hours,
	// at random moments, what it was once told.
	l.client.SetRetryCount(0)
	return l
}

// Records implements Zone.
func (l *Linode) Records(ctx context.Context) ([]Record, error) {
	id, err := l.domain(ctx)
	if err != nil {
		return nil, err
	}
	listed, err := l.client.ListDomainRecords(ctx, id, &linodego.ListOptions{PageSize: 500})
	if err != nil {
		return nil, linodeError("list records", err)
	}
	records := make([]Record, 0, len(listed))
	for _, r := range listed {
		records = append(records, Record{
			ID:    strconv.Itoa(r.ID),
			Name:  absolute(r.Name, l.zone),
			Type:  string(r.Type),
			Value: bare(string(r.Type), r.Target),
			TTL:   time.Duration(r.TTLSec) * time.Second,
		})
	}
	return sorted(records), nil
}

// Create implements Zone.
func (l *Linode) Create(ctx context.Context, r Record) error {
	id, err := l.domain(ctx)
	if err != nil {
		return err
	}
	_, err = l.client.CreateDomainRecord(ctx, id, linodego.DomainRecordCreateOptions{
		Type: linodego.DomainRecordType(r.Type), Name: relative(r.Name, l.zone, ""),
		Target: r.Value, TTLSec: linodeTTL(r.TTL),
	})
	return linodeError("create record", err)
}

// linodeTTL gives the longest TTL that Linode offers and that is not above the
// one asked for. Linode itself would round up, from 60 s to 120 s, and everybody
// would wait twice as long for a move.
func linodeTTL(ttl time.Duration) int {
	offered := [...]int{30, 120, 300, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 345600, 604800, 1209600, 2419200}
	best := offered[0]
	for _, seconds := range offered {
		if time.Duration(seconds)*time.Second <= ttl {
			best = seconds
		}
	}
	return best
}

// Update implements Zone.
func (l *Linode) Update(ctx context.Context, r Record) error {
	id, err := l.domain(ctx)
	if err != nil {
		return err
	}
	record, err := strconv.Atoi(r.ID)
	if err != nil {
		return fmt.Errorf("%w: record id %q", ErrNotFound, r.ID)
	}
	_, err = l.client.UpdateDomainRecord(ctx, id, record, linodego.DomainRecordUpdateOptions{
		Type: linodego.DomainRecordType(r.Type), Name: relative(r.Name, l.zone, ""),
		Target: r.Value, TTLSec: linodeTTL(r.TTL),
	})
	return linodeError("update record", err)
}

// Delete implements Zone.
func (l *Linode) Delete(ctx context.Context, recordID string) error {
	id, err := l.domain(ctx)
	if err != nil {
		return err
	}
	record, err := strconv.Atoi(recordID)
	if err != nil {
		return fmt.Errorf("%w: record id %q", ErrNotFound, recordID)
	}
	return linodeError("delete record", l.client.DeleteDomainRecord(ctx, id, record))
}

// domain finds the zone's number, once.
func (l *Linode) domain(ctx context.Context) (int, error) {
	if id := l.id.Load(); id != 0 {
		return int(id), nil
	}
	filter, err := json.Marshal(map[string]string{"domain": l.zone})
	if err != nil {
		return 0, fmt.Errorf("encode filter: %w", err)
	}
	domains, err := l.client.ListDomains(ctx, &linodego.ListOptions{Filter: string(filter)})
	if err != nil {
		return 0, linodeError("list domains", err)
	}
	for _, d := range domains {
		if strings.EqualFold(d.Domain, l.zone) {
			l.id.Store(int64(d.ID))
			return d.ID, nil
		}
	}
	return 0, fmt.Errorf("%w: domain %s at linode", ErrNotFound, l.zone)
}

func linodeError(doing string, err error) error {
	if err == nil {
		return nil
	}
	var known *linodego.Error
	if errors.As(err, &known) {
		if kind := kind(known.Code); kind != nil {
			return fmt.Errorf("linode: %s: %w: %w", doing, kind, err)
		}
	}
	return fmt.Errorf("linode: %s: %w", doing, err)
}

// silent drops the library's own log: what matters comes back as errors.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
