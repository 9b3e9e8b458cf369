package dns

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

// linodeTTLs are the seconds that Linode knows for a TTL; others are rounded up
// to one of them (and more than the last down), 0 is the domain's default. The
// table is read-only.
var linodeTTLs = [...]int{30, 120, 300, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 345600, 604800, 1209600, 2419200}

const linodeDefaultTTL = 86400

// LinodeOptions configure the API of Linode.
type LinodeOptions struct {
	Token     string        // the bearer token that may do everything
	ReadToken string        // one that may only read; empty for none
	Rate      int           // requests per window
	Window    time.Duration // of the rate limit
	ExactTTLs bool          // keep any TTL instead of rounding it as Linode does
}

// Linode is the part of the Linode API v4 that keeps domains and their records:
// list with paging and equality filters, get, create, update, delete, and a
// domain's zone file. As at Linode, the provider's own NS records of a domain
// exist but are not listed.
type Linode struct {
	provider *Provider
	options  LinodeOptions
	limiter  limiter
	mux      *http.ServeMux
}

// NewLinode makes the API of a provider.
func NewLinode(m nodes.Machine, p *Provider, o LinodeOptions) *Linode {
	l := &Linode{provider: p, options: o, limiter: limiter{m: m, limit: o.Rate, window: o.Window}, mux: http.NewServeMux()}
	l.mux.HandleFunc("GET /v4/domains", l.listDomains)
	l.mux.HandleFunc("POST /v4/domains", l.createDomain)
	l.mux.HandleFunc("GET /v4/domains/{domain}", l.withDomain(l.getDomain))
	l.mux.HandleFunc("PUT /v4/domains/{domain}", l.withDomain(l.updateDomain))
	l.mux.HandleFunc("DELETE /v4/domains/{domain}", l.withDomain(l.deleteDomain))
	l.mux.HandleFunc("GET /v4/domains/{domain}/zone-file", l.withDomain(l.zoneFile))
	l.mux.HandleFunc("GET /v4/domains/{domain}/records", l.withDomain(l.listRecords))
	l.mux.HandleFunc("POST /v4/domains/{domain}/records", l.withDomain(l.createRecord))
	l.mux.HandleFunc("GET /v4/domains/{domain}/records/{record}", l.withRecord(l.getRecord))
	l.mux.HandleFunc("PUT /v4/domains/{domain}/records/{record}", l.withRecord(l.updateRecord))
	l.mux.HandleFunc("DELETE /v4/domains/{domain}/records/{record}", l.withRecord(l.deleteRecord))
	l.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { linodeFail(w, http.StatusNotFound, "", "Not found") })
	return l
}

// ServeHTTP implements http.Handler.
func (l *Linode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch authorize(r, l.options.Token, l.options.ReadToken) {
	case unknown:
		l.Refuse(w, r, http.StatusUnauthorized)
		return
	case forbidden:
		l.Refuse(w, r, http.StatusForbidden)
		return
	}
	remaining, left, ok := l.limiter.allow()
	h := w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(l.options.Rate))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(remaining))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(l.limiter.m.Now().Add(left).Unix(), 10))
	if !ok {
		h.Set("Retry-After", strconv.Itoa(seconds(left)))
		l.Refuse(w, r, http.StatusTooManyRequests)
		return
	}
	l.mux.ServeHTTP(w, r)
}

// Refuse implements faulty.API.
func (l *Linode) Refuse(w http.ResponseWriter, _ *http.Request, status int) {
	switch status {
	case http.StatusUnauthorized:
		linodeFail(w, status, "", "Invalid Token")
	case http.StatusForbidden: // Linode says it so
		linodeFail(w, http.StatusUnauthorized, "", "Your OAuth token is not authorized to use this endpoint.")
	case http.StatusTooManyRequests:
		linodeFail(w, status, "", "Too many requests")
	default:
		linodeFail(w, status, "", http.StatusText(status))
	}
}

type linodeDomain struct {
	ID          int      `json:"id"`
	Domain      string   `json:"domain"`
	Type        string   `json:"type"`
	Group       string   `json:"group"`
	Status      string   `json:"status"`
	Description string   `json:"description"`
	SOAEmail    string   `json:"soa_email"`
	RetrySec    int      `json:"retry_sec"`
	MasterIPs   []string `json:"master_ips"`
	AXfrIPs     []string `json:"axfr_ips"`
	Tags        []string `json:"tags"`
	ExpireSec   int      `json:"expire_sec"`
	RefreshSec  int      `json:"refresh_sec"`
	TTLSec      int      `json:"ttl_sec"`
}

type linodeRecord struct {
	ID       int    `json:"id"`
	Type     string `json:"type"`
	Name     string `json:"name"`
	Target   string `json:"target"`
	Priority int    `json:"priority"`
	Weight   int    `json:"weight"`
	Port     int    `json:"port"`
	Service  any    `json:"service"`
	Protocol any    `json:"protocol"`
	TTLSec   int    `json:"ttl_sec"`
	Tag      any    `json:"tag"`
	Created  string `json:"created"`
	Updated  string `json:"updated"`
}

// linodeChange is the body of a create or update: absent fields stay as they
// are.
type linodeChange struct {
	Type     *string `json:"type"`
	Name     *string `json:"name"`
	Target   *string `json:"target"`
	Priority *int    `json:"priority"`
	Weight   *int    `json:"weight"`
	Port     *int    `json:"port"`
	Service  *string `json:"service"`
	Protocol *string `json:"protocol"`
	TTLSec   *int    `json:"ttl_sec"`
	Tag      *string `json:"tag"`
}

func (l *Linode) listDomains(w http.ResponseWriter, r *http.Request) {
	var all []linodeDomain
	for _, d := range l.provider.Domains() {
		all = append(all, linodeDomainOf(d))
	}
	linodePage(w, r, all)
}

func (l *Linode) createDomain(w http.ResponseWriter, r *http.Request) {
	var in linodeDomain
	if !linodeRead(w, r, &in) {
		return
	}
	switch {
	case in.Type != "master":
		linodeFail(w, http.StatusBadRequest, "type", "Only master domains are supported.")
		return
	case in.SOAEmail == "":
		linodeFail(w, http.StatusBadRequest, "soa_email", "soa_email required when type=master")
		return
	}
	d, err := l.provider.CreateDomain(Domain{Name: in.Domain, Email: in.SOAEmail, TTL: l.domainTTL(in.TTLSec)})
	if err != nil {
		linodeError(w, err)
		return
	}
	serve.WriteJSON(w, http.StatusOK, linodeDomainOf(d))
}

func (l *Linode) getDomain(w http.ResponseWriter, _ *http.Request, d Domain) {
	serve.WriteJSON(w, http.StatusOK, linodeDomainOf(d))
}

func (l *Linode) updateDomain(w http.ResponseWriter, r *http.Request, d Domain) {
	in := linodeDomainOf(d)
	if !linodeRead(w, r, &in) {
		return
	}
	if in.Domain != d.Name {
		linodeFail(w, http.StatusBadRequest, "domain", "Domains cannot be renamed here.")
		return
	}
	ttl := d.TTL
	if in.TTLSec != d.TTL {
		ttl = l.domainTTL(in.TTLSec)
	}
	d, err := l.provider.UpdateDomain(d.Name, ttl, in.SOAEmail)
	if err != nil {
		linodeError(w, err)
		return
	}
	serve.WriteJSON(w, http.StatusOK, linodeDomainOf(d))
}

func (l *Linode) deleteDomain(w http.ResponseWriter, _ *http.Request, d Domain) {
	if err := l.provider.DeleteDomain(d.Name); err != nil {
		linodeError(w, err)
		return
	}
	serve.WriteJSON(w, http.StatusOK, struct{}{})
}

func (l *Linode) zoneFile(w http.ResponseWriter, _ *http.Request, d Domain) {
	text, err := l.provider.ZoneText(d.Name)
	if err != nil {
		linodeError(w, err)
		return
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	serve.WriteJSON(w, http.StatusOK, map[string][]string{"zone_file": lines})
}

func (l *Linode) listRecords(w http.ResponseWriter, r *http.Request, d Domain) {
	records, err := l.provider.Records(d.Name)
	if err != nil {
		linodeError(w, err)
		return
	}
	var all []linodeRecord
	for _, rec := range records {
		if !l.hidden(rec) {
			all = append(all, linodeRecordOf(rec))
		}
	}
	linodePage(w, r, all)
}

func (l *Linode) createRecord(w http.ResponseWriter, r *http.Request, d Domain) {
	var in linodeChange
	if !linodeRead(w, r, &in) {
		return
	}
	if in.Type == nil {
		linodeFail(w, http.StatusBadRequest, "type", "type is required")
		return
	}
	if strings.EqualFold(*in.Type, "SRV") && (in.Service == nil || in.Protocol == nil) {
		linodeFail(w, http.StatusBadRequest, "service", "service and protocol are required for SRV records")
		return
	}
	rec, err := l.provider.CreateRecord(d.Name, l.apply(in, Record{}))
	if err != nil {
		linodeError(w, err)
		return
	}
	serve.WriteJSON(w, http.StatusOK, linodeRecordOf(rec))
}

func (l *Linode) getRecord(w http.ResponseWriter, _ *http.Request, _ Domain, rec Record) {
	serve.WriteJSON(w, http.StatusOK, linodeRecordOf(rec))
}

func (l *Linode) updateRecord(w http.ResponseWriter, r *http.Request, d Domain, rec Record) {
	var in linodeChange
	if !linodeRead(w, r, &in) {
		return
	}
	if in.Type != nil && !strings.EqualFold(*in.Type, rec.Type) {
		linodeFail(w, http.StatusBadRequest, "type", "The type of a record cannot be changed.")
		return
	}
	rec, err := l.provider.UpdateRecord(d.Name, l.apply(in, rec))
	if err != nil {
		linodeError(w, err)
		return
	}
	serve.WriteJSON(w, http.StatusOK, linodeRecordOf(rec))
}

func (l *Linode) deleteRecord(w http.ResponseWriter, _ *http.Request, d Domain, rec Record) {
	if err := l.provider.DeleteRecord(d.Name, rec.ID); err != nil {
		linodeError(w, err)
		return
	}
	serve.WriteJSON(w, http.StatusOK, struct{}{})
}

// withDomain finds the domain whose ID is in the path.
func (l *Linode) withDomain(f func(http.ResponseWriter, *http.Request, Domain)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("domain"))
		for _, d := range l.provider.Domains() {
			if err == nil && d.ID == id {
				f(w, r, d)
				return
			}
		}
		linodeFail(w, http.StatusNotFound, "", "Not found")
	}
}

// withRecord finds the domain and the record whose IDs are in the path.
func (l *Linode) withRecord(f func(http.ResponseWriter, *http.Request, Domain, Record)) http.HandlerFunc {
	return l.withDomain(func(w http.ResponseWriter, r *http.Request, d Domain) {
		id, err := strconv.Atoi(r.PathValue("record"))
		if err == nil {
			var rec Record
			if rec, err = l.provider.Record(d.Name, id); err == nil && !l.hidden(rec) {
				f(w, r, d, rec)
				return
			}
		}
		linodeFail(w, http.StatusNotFound, "", "Not found")
	})
}

// hidden tells whether a record is one of the provider's own NS records.
func (l *Linode) hidden(r Record) bool {
	return r.Type == "NS" && r.Name == "" && slices.Contains(l.provider.nameservers, r.Data)
}

func (l *Linode) apply(in linodeChange, r Record) Record {
	set(&r.Type, in.Type)
	set(&r.Name, in.Name)
	set(&r.Data, in.Target)
	set(&r.Priority, in.Priority)
	set(&r.Weight, in.Weight)
	set(&r.Port, in.Port)
	set(&r.Tag, in.Tag)
	if in.TTLSec != nil {
		r.TTL = l.roundTTL(*in.TTLSec)
	}
	if strings.EqualFold(r.Type, "SRV") && in.Service != nil && in.Protocol != nil { // whatever the name
		r.Name = "_" + strings.TrimPrefix(*in.Service, "_") + "._" + strings.TrimPrefix(*in.Protocol, "_")
	}
	return r
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (l *Linode) domainTTL(ttl int) int {
	if ttl == 0 {
		return linodeDefaultTTL
	}
	return l.roundTTL(ttl)
}

func (l *Linode) roundTTL(ttl int) int {
	if ttl <= 0 || l.options.ExactTTLs {
		return ttl
	}
	i, _ := slices.BinarySearch(linodeTTLs[:], ttl)
	return linodeTTLs[min(i, len(linodeTTLs)-1)]
}

func linodeDomainOf(d Domain) linodeDomain {
	return linodeDomain{
		ID: d.ID, Domain: d.Name, Type: "master", Status: "active", SOAEmail: d.Email, TTLSec: d.TTL,
		MasterIPs: []string{}, AXfrIPs: []string{}, Tags: []string{},
	}
}

func linodeRecordOf(r Record) linodeRecord {
	const layout = "2006-01-02T15:04:05"
	out := linodeRecord{
		ID: r.ID, Type: r.Type, Name: r.Name, Target: r.Data, TTLSec: r.TTL,
		Priority: r.Priority, Weight: r.Weight, Port: r.Port,
		Created: r.Created.UTC().Format(layout), Updated: r.Updated.UTC().Format(layout),
	}
	if r.Tag != "" {
		out.Tag = r.Tag
	}
	if service, rest, ok := strings.Cut(r.Name, "._"); ok && r.Type == "SRV" {
		out.Service, out.Protocol = service, "_"+rest
	}
	return out
}

// linodePage answers with one page of those items that the X-Filter header, if
// any, lets through.
func linodePage[T any](w http.ResponseWriter, r *http.Request, all []T) {
	all, err := linodeFilter(r.Header.Get("X-Filter"), all)
	if err != nil {
		linodeFail(w, http.StatusBadRequest, "X-Filter", err.Error())
		return
	}
	page, size := 1, 100
	if v := r.FormValue("page"); v != "" {
		if page, err = strconv.Atoi(v); err != nil || page < 1 {
			linodeFail(w, http.StatusBadRequest, "page", "Must be a positive integer")
			return
		}
	}
	if v := r.FormValue("page_size"); v != "" {
		if size, err = strconv.Atoi(v); err != nil || size < 25 || size > 500 {
			linodeFail(w, http.StatusBadRequest, "page_size", "Must be 25-500")
			return
		}
	}
	pages := max((len(all)+size-1)/size, 1)
	if page > pages {
		linodeFail(w, http.StatusNotFound, "", "Not found")
		return
	}
	from := (page - 1) * size
	data := append([]T{}, all[from:min(from+size, len(all))]...)
	serve.WriteJSON(w, http.StatusOK, map[string]any{"data": data, "page": page, "pages": pages, "results": len(all)})
}

// linodeFilter keeps the items whose JSON fields equal those of the filter.
func linodeFilter[T any](filter string, all []T) ([]T, error) {
	if filter == "" {
		return all, nil
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(filter), &want); err != nil {
		return nil, errors.New("Cannot parse filter")
	}
	var out []T
	for _, item := range all {
		text, err := json.Marshal(item)
		if err != nil {
			return nil, err
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			return nil, err
		}
		keep := true
		for k, v := range want {
			have, ok := fields[k]
			if !ok {
				return nil, fmt.Errorf("Cannot filter on %s", k)
			}
			if _, nested := v.(map[string]any); nested {
				return nil, fmt.Errorf("Cannot filter on %s", k)
			}
			keep = keep && fmt.Sprint(have) == fmt.Sprint(v)
		}
		if keep {
			out = append(out, item)
		}
	}
	return out, nil
}

func linodeRead(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := serve.ReadJSON(w, r, v); err != nil {
		linodeFail(w, http.StatusBadRequest, "", "Invalid JSON")
		return false
	}
	return true
}

func linodeError(w http.ResponseWriter, err error) {
	var invalid *Invalid
	switch {
	case errors.Is(err, ErrNotFound):
		linodeFail(w, http.StatusNotFound, "", "Not found")
	case errors.As(err, &invalid):
		field := map[string]string{"data": "target", "ttl": "ttl_sec"}[invalid.Field]
		if field == "" {
			field = invalid.Field
		}
		linodeFail(w, http.StatusBadRequest, field, invalid.Reason)
	default:
		linodeFail(w, http.StatusInternalServerError, "", err.Error())
	}
}

func linodeFail(w http.ResponseWriter, status int, field, reason string) {
	type failure struct {
		Field  string `json:"field,omitempty"`
		Reason string `json:"reason"`
	}
	serve.WriteJSON(w, status, map[string][]failure{"errors": {{field, reason}}})
}

// right is what a request's token allows.
type right int

const (
	allowed   right = iota
	forbidden       // the token is known, but may not do that
	unknown
)

// authorize judges the bearer token of a request.
func authorize(r *http.Request, token, readToken string) right {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case ok && token != "" && given == token:
		return allowed
	case !ok || readToken == "" || given != readToken:
		return unknown
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return allowed
	}
	return forbidden
}
