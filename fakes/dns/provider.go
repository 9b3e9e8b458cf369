package dns

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/nodes"
)

// ErrNotFound is returned for a domain or record that a provider does not have.
var ErrNotFound = errors.New("not found")

const (
	maxDomains = 1000
	firstID    = 1001
)

// Domain is one domain as a provider keeps it.
type Domain struct {
	ID     int
	Name   string // without the final dot
	TTL    int    // seconds, of records that state none
	Email  string // of the SOA record
	Serial uint32 // grows with every change
}

// Provider keeps domains and their records. Every change leaves each domain a
// valid zone or is refused with *Invalid or ErrNotFound, so the feed can always
// be served. A Provider may be used concurrently; what it hands out are copies.
type Provider struct {
	m           nodes.Machine
	name        string
	nameservers []string // of new domains, without the final dot

	mu      sync.Mutex
	domains map[string]*domain
	lastID  int
	changed chan struct{} // closed when the domains are no longer these
}

// domain is a Domain with what is in it.
type domain struct {
	Domain
	soa     dns.SOA
	records []Record // by ID
	zone    *Zone
}

// NewProvider makes a provider without domains. The name is for its log; the
// name servers are those of domains created later, the first is their primary.
func NewProvider(m nodes.Machine, name string, nameservers []string) *Provider {
	return &Provider{
		m: m, name: name, nameservers: nameservers,
		domains: map[string]*domain{}, lastID: firstID - 1,
		changed: make(chan struct{}),
	}
}

// Load adds a whole zone as a domain, replacing one of that name. All records
// but the SOA become records that can be listed and changed.
func (p *Provider) Load(z *Zone) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := &domain{soa: *z.soa}
	d.Domain = Domain{
		ID:     p.nextID(),
		Name:   strings.TrimSuffix(z.origin, "."),
		TTL:    int(z.soa.Hdr.Ttl),
		Email:  mailbox(z.soa.Mbox),
		Serial: z.Serial(),
	}
	for _, rr := range z.rrs {
		if _, ok := rr.(*dns.SOA); ok {
			continue
		}
		r, err := fromRR(rr, d.Name)
		if err != nil {
			return fmt.Errorf("load zone %s: %w", z.origin, err)
		}
		r.ID, r.Created = p.nextID(), p.m.Now()
		r.Updated = r.Created
		d.records = append(d.records, r)
	}
	if err := d.render(); err != nil {
		return fmt.Errorf("load zone %s: %w", z.origin, err)
	}
	p.set(d)
	return nil
}

// Zones gives all domains as zones.
func (p *Provider) Zones() *Zones {
	zones, _ := p.watch()
	return zones
}

// watch gives all domains as zones, and a channel that is closed when they
// change.
func (p *Provider) watch() (*Zones, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var zones []*Zone
	for _, d := range p.domains {
		zones = append(zones, d.zone)
	}
	return NewZones(zones...), p.changed
}

// set puts a domain in its place. The caller holds the lock.
func (p *Provider) set(d *domain) {
	p.domains[d.Name] = d
	p.tell()
}

func (p *Provider) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Domains gives all domains by ID.
func (p *Provider) Domains() []Domain {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Domain
	for _, d := range p.domains {
		out = append(out, d.Domain)
	}
	slices.SortFunc(out, func(a, b Domain) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Domain gives the domain of that name.
func (p *Provider) Domain(name string) (Domain, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(name)
	if err != nil {
		return Domain{}, err
	}
	return d.Domain, nil
}

// ZoneText gives a domain as the text of a zone file.
func (p *Provider) ZoneText(name string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(name)
	if err != nil {
		return "", err
	}
	return d.zone.Text(), nil
}

// CreateDomain adds an empty domain; its ID and Serial are given by the
// provider, and so are its NS records when none are passed.
func (p *Provider) CreateDomain(in Domain, records ...Record) (Domain, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := strings.ToLower(strings.TrimSuffix(in.Name, "."))
	switch {
	case !validName(name) || !strings.Contains(name, "."):
		return Domain{}, &Invalid{"domain", "is not a valid domain name"}
	case p.domains[name] != nil:
		return Domain{}, &Invalid{"domain", "already exists"}
	case len(p.domains) >= maxDomains:
		return Domain{}, &Invalid{"domain", "you have reached your limit of domains"}
	}
	d := &domain{Domain: in}
	d.ID, d.Name, d.Serial = p.nextID(), name, 1
	d.soa = dns.SOA{
		Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeSOA, Class: dns.ClassINET},
		Ns:  dns.Fqdn(p.nameservers[0]), Refresh: 14400, Retry: 3600, Expire: 604800,
	}
	for _, ns := range p.nameservers {
		records = append(records, Record{Type: "NS", Data: ns})
	}
	for _, r := range records {
		r, err := r.normal(name)
		if err != nil {
			return Domain{}, err
		}
		r.ID, r.Created = p.nextID(), p.m.Now()
		r.Updated = r.Created
		d.records = append(d.records, r)
	}
	if err := d.render(); err != nil {
		return Domain{}, err
	}
	p.set(d)
	p.m.Log().Info("domain created", "provider", p.name, "name", name)
	return d.Domain, nil
}

// UpdateDomain changes a domain's TTL and email.
func (p *Provider) UpdateDomain(name string, ttl int, email string) (Domain, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(name)
	if err != nil {
		return Domain{}, err
	}
	next := *d
	next.TTL, next.Email = ttl, email
	if next.Domain == d.Domain {
		return d.Domain, nil
	}
	next.Serial++
	if err := next.render(); err != nil {
		return Domain{}, err
	}
	p.set(&next)
	p.m.Log().Info("domain updated", "provider", p.name, "name", name)
	return next.Domain, nil
}

// DeleteDomain removes a domain and all its records.
func (p *Provider) DeleteDomain(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(name)
	if err != nil {
		return err
	}
	delete(p.domains, d.Name)
	p.tell()
	p.m.Log().Info("domain deleted", "provider", p.name, "name", d.Name)
	return nil
}

// Records gives a domain's records by ID.
func (p *Provider) Records(name string) ([]Record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(name)
	if err != nil {
		return nil, err
	}
	return slices.Clone(d.records), nil
}

// Record gives one record of a domain.
func (p *Provider) Record(name string, id int) (Record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(name)
	if err != nil {
		return Record{}, err
	}
	i, err := d.index(id)
	if err != nil {
		return Record{}, err
	}
	return d.records[i], nil
}

// CreateRecord adds a record; its ID and times are given by the provider.
func (p *Provider) CreateRecord(name string, r Record) (Record, error) {
	return p.change(name, "record created", func(d *domain) (Record, error) {
		r, err := r.normal(d.Name)
		if err != nil {
			return r, err
		}
		r.ID, r.Created, r.Updated = p.nextID(), p.m.Now(), p.m.Now()
		d.records = append(d.records, r)
		return r, nil
	})
}

// UpdateRecord replaces the record of r.ID. One that is the same already is not
// a change.
func (p *Provider) UpdateRecord(name string, r Record) (Record, error) {
	return p.change(name, "record updated", func(d *domain) (Record, error) {
		i, err := d.index(r.ID)
		if err != nil {
			return r, err
		}
		old := d.records[i]
		r, err := r.normal(d.Name)
		if err != nil {
			return r, err
		}
		r.Created, r.Updated = old.Created, old.Updated
		if r == old {
			return r, errUnchanged
		}
		r.Updated = p.m.Now()
		d.records[i] = r
		return r, nil
	})
}

// DeleteRecord removes a record.
func (p *Provider) DeleteRecord(name string, id int) error {
	_, err := p.change(name, "record deleted", func(d *domain) (Record, error) {
		i, err := d.index(id)
		if err != nil {
			return Record{}, err
		}
		r := d.records[i]
		d.records = slices.Delete(d.records, i, i+1)
		return r, nil
	})
	return err
}

var errUnchanged = errors.New("unchanged")

// change applies f to a copy of a domain, which takes the domain's place if it
// is still a valid zone.
func (p *Provider) change(name, event string, f func(*domain) (Record, error)) (Record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, err := p.find(name)
	if err != nil {
		return Record{}, err
	}
	next := *d
	next.records = slices.Clone(d.records)
	next.Serial++
	r, err := f(&next)
	if errors.Is(err, errUnchanged) {
		return r, nil
	}
	if err != nil {
		return Record{}, err
	}
	if err := next.render(); err != nil {
		return Record{}, err
	}
	p.set(&next)
	p.m.Log().Info(event, "provider", p.name, "name", r.fullName(d.Name), "type", r.Type, "data", r.Data)
	return r, nil
}

func (p *Provider) find(name string) (*domain, error) {
	if d := p.domains[strings.ToLower(name)]; d != nil {
		return d, nil
	}
	return nil, ErrNotFound
}

func (p *Provider) nextID() int {
	p.lastID++
	return p.lastID
}

func (d *domain) index(id int) (int, error) {
	i, ok := slices.BinarySearchFunc(d.records, id, func(r Record, id int) int { return cmp.Compare(r.ID, id) })
	if !ok {
		return 0, ErrNotFound
	}
	return i, nil
}

// render makes the domain's zone from its records.
func (d *domain) render() error {
	mbox, err := mailboxName(d.Email)
	if err != nil {
		return err
	}
	soa := d.soa
	soa.Serial, soa.Hdr.Ttl, soa.Mbox = d.Serial, uint32(d.TTL), mbox
	if soa.Minttl == 0 {
		soa.Minttl = uint32(d.TTL)
	}
	rrs := []dns.RR{&soa}
	owners := map[string]bool{} // whether it has a CNAME
	for _, r := range d.records {
		rr, err := r.rr(d.Name, d.TTL)
		if err != nil {
			return err
		}
		cname := r.Type == "CNAME"
		if had, taken := owners[r.Name]; taken && (had || cname) {
			return &Invalid{"name", "a CNAME cannot share its name with another record"}
		}
		owners[r.Name] = cname
		rrs = append(rrs, rr)
	}
	zone, err := NewZone(rrs)
	if err != nil {
		return &Invalid{"data", err.Error()}
	}
	d.zone = zone
	return nil
}

// mailboxName writes a mail address as an SOA record does, RFC 1035 section 8.
func mailboxName(address string) (string, error) {
	local, host, _ := strings.Cut(address, "@")
	if !validName(local) || !validName(host) || len(local) > 63 {
		return "", &Invalid{"soa_email", "is not a valid mail address"}
	}
	return strings.ReplaceAll(local, ".", `\.`) + "." + dns.Fqdn(host), nil
}

// mailbox is the reverse of mailboxName.
func mailbox(name string) string {
	labels := dns.SplitDomainName(name)
	if len(labels) == 0 {
		return ""
	}
	return unescape(labels[0]) + "@" + strings.Join(labels[1:], ".")
}
