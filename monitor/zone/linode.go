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

// Linode is a zone in Linode's DNS Manager. The provider's own NS records and
// the SOA are not among its records.
type Linode struct {
	client linodego.Client
	zone   string
	id     atomic.Int64 // of the domain, 0 until it was looked up
}

var _ Zone = (*Linode)(nil)

// The rights that a token of Linode must have.
const (
	linodeRead  = "domains:read_only"
	linodeWrite = "domains:read_write"
)

// linodePage is how many records are asked for at once, the most that Linode
// gives.
const linodePage = 500

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
	var records []Record
	// Page by page: the library believes whatever number of pages it is told.
	for page := 1; ; page++ {
		at := &linodego.ListOptions{PageOptions: &linodego.PageOptions{Page: page}, PageSize: linodePage}
		listed, err := l.client.ListDomainRecords(ctx, id, at)
		if err != nil {
			return nil, linodeError("list records", linodeRead, err)
		}
		for _, r := range listed {
			records = append(records, l.record(r))
		}
		if err := whole(records); err != nil {
			return nil, fmt.Errorf("linode: list records: %w", err)
		}
		switch {
		case page < at.Pages && len(listed) > 0:
			continue
		case at.Pages < 1 || len(records) != at.Results:
			return nil, fmt.Errorf("linode: list records: %w: %d records came, %d were announced", ErrMalformed, len(records), at.Results)
		}
		return Sort(records), nil
	}
}

func (l *Linode) record(r linodego.DomainRecord) Record {
	d := data{target: r.Target, priority: r.Priority, weight: r.Weight, port: r.Port}
	if r.Tag != nil {
		d.tag = *r.Tag
	}
	kind, name := strings.ToUpper(string(r.Type)), r.Name
	if kind == "SRV" && name == "" && r.Service != nil && r.Protocol != nil {
		name = underscored(*r.Service) + "." + underscored(*r.Protocol)
	}
	return Record{
		ID: strconv.Itoa(r.ID), Name: absolute(name, l.zone), Type: kind, Value: d.join(kind, l.zone),
		TTL: time.Duration(r.TTLSec) * time.Second,
	}
}

func underscored(label string) string { return "_" + strings.TrimPrefix(label, "_") }

// Create implements Zone.
func (l *Linode) Create(ctx context.Context, r Record) error {
	id, err := l.domain(ctx)
	if err != nil {
		return err
	}
	o, err := l.options(r)
	if err != nil {
		return fmt.Errorf("linode: create record: %w", err)
	}
	_, err = l.client.CreateDomainRecord(ctx, id, o)
	return linodeError("create record", linodeWrite, err)
}

// options are a record in the API's words.
func (l *Linode) options(r Record) (linodego.DomainRecordCreateOptions, error) {
	d, err := r.split()
	o := linodego.DomainRecordCreateOptions{
		Type: linodego.DomainRecordType(r.Type), Name: relative(r.Name, l.zone, ""),
		Target: d.target, TTLSec: int(linodeTTL(r.TTL) / time.Second),
	}
	switch r.Type {
	case "MX":
		o.Priority = &d.priority
	case "SRV":
		// The name is made of these two, always at the top of the zone.
		service, protocol, _ := strings.Cut(o.Name, ".")
		o.Name, o.Service, o.Protocol = "", &service, &protocol
		o.Priority, o.Weight, o.Port = &d.priority, &d.weight, &d.port
	case "CAA":
		o.Tag = &d.tag
	}
	return o, err
}

// linodeTTL gives the longest TTL that Linode offers and that is not above the
// one asked for. Linode itself would round up, from 60 s to 120 s, and everybody
// would wait twice as long for a move.
func linodeTTL(ttl time.Duration) time.Duration {
	offered := [...]int{30, 120, 300, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 345600, 604800, 1209600, 2419200}
	best := offered[0]
	for _, seconds := range offered {
		if time.Duration(seconds)*time.Second <= ttl {
			best = seconds
		}
	}
	return time.Duration(best) * time.Second
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
	o, err := l.options(r)
	if err != nil {
		return fmt.Errorf("linode: update record: %w", err)
	}
	_, err = l.client.UpdateDomainRecord(ctx, id, record, linodego.DomainRecordUpdateOptions(o))
	return linodeError("update record", linodeWrite, err)
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
	return linodeError("delete record", linodeWrite, l.client.DeleteDomainRecord(ctx, id, record))
}

// Fit implements Zone.
func (l *Linode) Fit(r Record) (Record, error) {
	d, err := r.split()
	service, protocol, _ := strings.Cut(relative(r.Name, l.zone, ""), ".")
	switch {
	case err != nil:
		return r, err
	case r.Type == "SRV" && (!strings.HasPrefix(service, "_") || !strings.HasPrefix(protocol, "_") || strings.Contains(protocol, ".")):
		return r, fmt.Errorf("%w: linode keeps SRV records only at _service._protocol.%s", ErrUnfit, l.zone)
	case (r.Type == "MX" || r.Type == "SRV") && d.target == "":
		return r, noService("linode", r)
	case r.Type == "CAA" && d.flag != 0:
		return r, fmt.Errorf("%w: linode keeps no flags of CAA records", ErrUnfit)
	case r.Type == "CAA" && strings.ContainsAny(d.target, " \t"):
		return r, fmt.Errorf("%w: linode keeps no blanks in CAA records", ErrUnfit)
	case r.Type == "TXT" && d.target == "":
		return r, fmt.Errorf("%w: linode keeps no empty text", ErrUnfit)
	case r.Type == "NS" && strings.HasPrefix(r.Name, "*."):
		return r, fmt.Errorf("%w: linode keeps no wildcard NS records", ErrUnfit)
	}
	r.TTL = linodeTTL(r.TTL)
	return r, nil
}

// Retypes implements Zone: Linode keeps the type of a record for good.
func (l *Linode) Retypes() bool { return false }

// domain finds the zone's number, once.
func (l *Linode) domain(ctx context.Context) (int, error) {
	if id := l.id.Load(); id != 0 {
		return int(id), nil
	}
	filter, err := json.Marshal(map[string]string{"domain": l.zone})
	if err != nil {
		return 0, fmt.Errorf("encode filter: %w", err)
	}
	// The filter leaves at most one.
	domains, err := l.client.ListDomains(ctx, &linodego.ListOptions{
		PageOptions: &linodego.PageOptions{Page: 1}, Filter: string(filter),
	})
	if err != nil {
		return 0, linodeError("list domains", linodeRead, err)
	}
	for _, d := range domains {
		if strings.EqualFold(d.Domain, l.zone) {
			l.id.Store(int64(d.ID))
			return d.ID, nil
		}
	}
	return 0, fmt.Errorf("linode: %w: domain %s, or the token's user has no grant for it", ErrNotFound, l.zone)
}

func linodeError(doing, right string, err error) error {
	if err == nil {
		return nil
	}
	var status int
	var known *linodego.Error
	var plain linodego.Error // the library returns both
	switch {
	case errors.As(err, &known):
		status = known.Code
	case errors.As(err, &plain):
		status = plain.Code
	}
	return failed("linode", doing, right, status, err)
}

// silent drops the library's own log: what matters comes back as errors.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
