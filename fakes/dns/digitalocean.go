package dns

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

const (
	digitalOceanTTL     = 1800
	digitalOceanMinTTL  = 30
	digitalOceanMaxText = 512 // as a zone file has it, quotes and escapes included
)

// DigitalOceanOptions configure the API of DigitalOcean.
type DigitalOceanOptions struct {
	Token     string        // the bearer token that may do everything
	ReadToken string        // one that may only read; empty for none
	Rate      int           // requests per window
	Window    time.Duration // of the rate limit
}

// DigitalOcean is the part of the DigitalOcean API v2 that keeps domains and
// their records: list with paging and filters, get, create, edit, delete. As at
// DigitalOcean, NS records and the SOA record are listed, hosts in data must be
// sent with a final dot and come back without it, "@" is the domain, and long
// texts are refused.
type DigitalOcean struct {
	provider *Provider
	options  DigitalOceanOptions
	limiter  limiter
	mux      *http.ServeMux
}

// NewDigitalOcean makes the API of a provider.
func NewDigitalOcean(m nodes.Machine, p *Provider, o DigitalOceanOptions) *DigitalOcean {
	d := &DigitalOcean{provider: p, options: o, limiter: limiter{m: m, limit: o.Rate, window: o.Window}, mux: http.NewServeMux()}
	d.mux.HandleFunc("GET /v2/domains", d.listDomains)
	d.mux.HandleFunc("POST /v2/domains", d.createDomain)
	d.mux.HandleFunc("GET /v2/domains/{domain}", d.getDomain)
	d.mux.HandleFunc("DELETE /v2/domains/{domain}", d.deleteDomain)
	d.mux.HandleFunc("GET /v2/domains/{domain}/records", d.listRecords)
	d.mux.HandleFunc("POST /v2/domains/{domain}/records", d.createRecord)
	d.mux.HandleFunc("GET /v2/domains/{domain}/records/{record}", d.getRecord)
	d.mux.HandleFunc("PUT /v2/domains/{domain}/records/{record}", d.editRecord)
	d.mux.HandleFunc("PATCH /v2/domains/{domain}/records/{record}", d.editRecord)
	d.mux.HandleFunc("DELETE /v2/domains/{domain}/records/{record}", d.deleteRecord)
	d.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { digitalOceanError(w, ErrNotFound) })
	return d
}

// ServeHTTP implements http.Handler.
func (d *DigitalOcean) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch authorize(r, d.options.Token, d.options.ReadToken) {
	case unknown:
		d.Refuse(w, r, http.StatusUnauthorized)
		return
	case forbidden:
		d.Refuse(w, r, http.StatusForbidden)
		return
	}
	remaining, left, ok := d.limiter.allow()
	h := w.Header()
	h.Set("RateLimit-Limit", strconv.Itoa(d.options.Rate))
	h.Set("RateLimit-Remaining", strconv.Itoa(remaining))
	h.Set("RateLimit-Reset", strconv.FormatInt(d.limiter.m.Now().Add(left).Unix(), 10))
	if !ok {
		h.Set("Retry-After", strconv.Itoa(seconds(left)))
		d.Refuse(w, r, http.StatusTooManyRequests)
		return
	}
	d.mux.ServeHTTP(w, r)
}

// Refuse implements faulty.API.
func (d *DigitalOcean) Refuse(w http.ResponseWriter, _ *http.Request, status int) {
	switch status {
	case http.StatusUnauthorized:
		digitalOceanFail(w, status, "Unauthorized", "Unable to authenticate you")
	case http.StatusForbidden:
		digitalOceanFail(w, status, "Forbidden", "You are not authorized to perform this operation")
	case http.StatusTooManyRequests:
		digitalOceanFail(w, status, "too_many_requests", "API Rate limit exceeded.")
	case http.StatusServiceUnavailable:
		digitalOceanFail(w, status, "service_unavailable", "Service Unavailable")
	default:
		digitalOceanFail(w, status, "server_error", "Unexpected server-side error")
	}
}

type digitalOceanDomain struct {
	Name     string `json:"name"`
	TTL      int    `json:"ttl"`
	ZoneFile string `json:"zone_file"`
}

type digitalOceanRecord struct {
	ID       int    `json:"id"`
	Type     string `json:"type"`
	Name     string `json:"name"`
	Data     string `json:"data"`
	Priority *int   `json:"priority"`
	Port     *int   `json:"port"`
	TTL      int    `json:"ttl"`
	Weight   *int   `json:"weight"`
	Flags    *int   `json:"flags"`
	Tag      any    `json:"tag"`
}

// digitalOceanChange is the body of a create or edit: absent fields stay as
// they are.
type digitalOceanChange struct {
	Type     *string `json:"type"`
	Name     *string `json:"name"`
	Data     *string `json:"data"`
	Priority *int    `json:"priority"`
	Port     *int    `json:"port"`
	TTL      *int    `json:"ttl"`
	Weight   *int    `json:"weight"`
	Flags    *int    `json:"flags"`
	Tag      *string `json:"tag"`
}

func (d *DigitalOcean) listDomains(w http.ResponseWriter, r *http.Request) {
	var all []digitalOceanDomain
	for _, domain := range d.provider.Domains() {
		out, err := d.domain(domain.Name)
		if err != nil {
			continue // deleted since it was listed
		}
		all = append(all, out)
	}
	digitalOceanPage(w, r, "domains", all)
}

func (d *DigitalOcean) createDomain(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name string `json:"name"`
		IP   string `json:"ip_address"`
	}
	if !digitalOceanRead(w, r, &in) {
		return
	}
	var records []Record
	if in.IP != "" {
		records = append(records, Record{Type: "A", Data: in.IP})
	}
	created, err := d.provider.CreateDomain(Domain{Name: in.Name, TTL: digitalOceanTTL, Email: "hostmaster@" + in.Name}, records...)
	if err != nil {
		digitalOceanError(w, err)
		return
	}
	d.writeDomain(w, http.StatusCreated, created.Name)
}

func (d *DigitalOcean) getDomain(w http.ResponseWriter, r *http.Request) {
	d.writeDomain(w, http.StatusOK, r.PathValue("domain"))
}

func (d *DigitalOcean) writeDomain(w http.ResponseWriter, status int, name string) {
	out, err := d.domain(name)
	if err != nil {
		digitalOceanError(w, err)
		return
	}
	serve.WriteJSON(w, status, map[string]digitalOceanDomain{"domain": out})
}

func (d *DigitalOcean) domain(name string) (digitalOceanDomain, error) {
	domain, err := d.provider.Domain(name)
	if err != nil {
		return digitalOceanDomain{}, err
	}
	text, err := d.provider.ZoneText(name)
	return digitalOceanDomain{Name: domain.Name, TTL: domain.TTL, ZoneFile: text}, err
}

func (d *DigitalOcean) deleteDomain(w http.ResponseWriter, r *http.Request) {
	if err := d.provider.DeleteDomain(r.PathValue("domain")); err != nil {
		digitalOceanError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *DigitalOcean) listRecords(w http.ResponseWriter, r *http.Request) {
	domain, err := d.provider.Domain(r.PathValue("domain"))
	if err != nil {
		digitalOceanError(w, err)
		return
	}
	records, err := d.provider.Records(domain.Name)
	if err != nil {
		digitalOceanError(w, err)
		return
	}
	records = append([]Record{{ID: domain.ID, Type: "SOA", Data: strconv.Itoa(domain.TTL), TTL: domain.TTL}}, records...)
	wantType, wantName := r.FormValue("type"), r.FormValue("name")
	var all []digitalOceanRecord
	for _, rec := range records {
		if wantType != "" && !strings.EqualFold(rec.Type, wantType) ||
			wantName != "" && !strings.EqualFold(rec.fullName(domain.Name), strings.TrimSuffix(wantName, ".")) {
			continue
		}
		all = append(all, digitalOceanRecordOf(rec, domain))
	}
	digitalOceanPage(w, r, "domain_records", all)
}

func (d *DigitalOcean) createRecord(w http.ResponseWriter, r *http.Request) {
	var in digitalOceanChange
	if !digitalOceanRead(w, r, &in) {
		return
	}
	rec, err := in.apply(Record{TTL: digitalOceanTTL})
	if err == nil {
		rec, err = d.provider.CreateRecord(r.PathValue("domain"), rec)
	}
	d.writeRecord(w, r, http.StatusCreated, rec, err)
}

func (d *DigitalOcean) getRecord(w http.ResponseWriter, r *http.Request) {
	rec, err := d.record(r)
	d.writeRecord(w, r, http.StatusOK, rec, err)
}

func (d *DigitalOcean) editRecord(w http.ResponseWriter, r *http.Request) {
	rec, err := d.record(r)
	if err != nil {
		digitalOceanError(w, err)
		return
	}
	var in digitalOceanChange
	if !digitalOceanRead(w, r, &in) {
		return
	}
	if rec, err = in.apply(rec); err == nil {
		rec, err = d.provider.UpdateRecord(r.PathValue("domain"), rec)
	}
	d.writeRecord(w, r, http.StatusOK, rec, err)
}

func (d *DigitalOcean) deleteRecord(w http.ResponseWriter, r *http.Request) {
	rec, err := d.record(r)
	if err == nil {
		err = d.provider.DeleteRecord(r.PathValue("domain"), rec.ID)
	}
	if err != nil {
		digitalOceanError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// record finds the record whose ID is in the path.
func (d *DigitalOcean) record(r *http.Request) (Record, error) {
	id, err := strconv.Atoi(r.PathValue("record"))
	if err != nil {
		return Record{}, ErrNotFound
	}
	return d.provider.Record(r.PathValue("domain"), id)
}

func (d *DigitalOcean) writeRecord(w http.ResponseWriter, r *http.Request, status int, rec Record, err error) {
	var domain Domain
	if err == nil {
		domain, err = d.provider.Domain(r.PathValue("domain"))
	}
	if err != nil {
		digitalOceanError(w, err)
		return
	}
	serve.WriteJSON(w, status, map[string]digitalOceanRecord{"domain_record": digitalOceanRecordOf(rec, domain)})
}

func (in digitalOceanChange) apply(r Record) (Record, error) {
	set(&r.Type, in.Type)
	set(&r.Name, in.Name)
	set(&r.Priority, in.Priority)
	set(&r.Port, in.Port)
	set(&r.TTL, in.TTL)
	set(&r.Weight, in.Weight)
	set(&r.Flags, in.Flags)
	set(&r.Tag, in.Tag)
	if in.Data != nil {
		r.Data = *in.Data
		switch strings.ToUpper(r.Type) {
		case "CNAME", "NS", "MX", "SRV", "CAA":
			if r.Data != "@" && !strings.HasSuffix(r.Data, ".") {
				return r, &Invalid{"data", "needs to end with a dot (.)"}
			}
		}
		if strings.EqualFold(r.Type, "CAA") {
			r.Data = strings.TrimSuffix(r.Data, ".")
		}
	}
	if strings.EqualFold(r.Type, "TXT") && len(`"`+strings.Join(textStrings(r.Data), `" "`)+`"`) > digitalOceanMaxText {
		return r, &Invalid{"data", fmt.Sprintf("is longer than %d bytes", digitalOceanMaxText)}
	}
	if r.TTL < digitalOceanMinTTL {
		return r, &Invalid{"ttl", fmt.Sprintf("must be at least %d", digitalOceanMinTTL)}
	}
	return r, nil
}

func digitalOceanRecordOf(r Record, domain Domain) digitalOceanRecord {
	out := digitalOceanRecord{ID: r.ID, Type: r.Type, Name: r.Name, Data: r.Data, TTL: r.TTL}
	if out.Name == "" {
		out.Name = "@"
	}
	if out.TTL == 0 {
		out.TTL = domain.TTL
	}
	switch r.Type {
	case "MX":
		out.Priority = &r.Priority
	case "SRV":
		out.Priority, out.Port, out.Weight = &r.Priority, &r.Port, &r.Weight
	case "CAA":
		out.Flags, out.Tag = &r.Flags, r.Tag
	}
	switch r.Type {
	case "CNAME", "NS", "MX", "SRV":
		if r.Data == domain.Name {
			out.Data = "@"
		}
	}
	return out
}

// digitalOceanPage answers with one page and with links to the others.
func digitalOceanPage[T any](w http.ResponseWriter, r *http.Request, key string, all []T) {
	page, size := 1, 20
	if n, err := strconv.Atoi(r.FormValue("page")); err == nil && n > 0 {
		page = n
	}
	if n, err := strconv.Atoi(r.FormValue("per_page")); err == nil && n > 0 {
		size = min(n, 200)
	}
	pages := max((len(all)+size-1)/size, 1)
	from := min((min(page, pages+1)-1)*size, len(all))
	items := append([]T{}, all[from:min(from+size, len(all))]...)

	link := func(n int) string {
		u := url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path}
		if r.TLS == nil {
			u.Scheme = "http"
		}
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(n))
		q.Set("per_page", strconv.Itoa(size))
		u.RawQuery = q.Encode()
		return u.String()
	}
	links := map[string]map[string]string{}
	if pages > 1 {
		to := map[string]string{}
		if page > 1 {
			to["first"], to["prev"] = link(1), link(page-1)
		}
		if page < pages {
			to["next"], to["last"] = link(page+1), link(pages)
		}
		links["pages"] = to
	}
	serve.WriteJSON(w, http.StatusOK, map[string]any{key: items, "links": links, "meta": map[string]int{"total": len(all)}})
}

func digitalOceanRead(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := serve.ReadJSON(w, r, v); err != nil {
		digitalOceanFail(w, http.StatusBadRequest, "bad_request", "The request body is not valid JSON.")
		return false
	}
	return true
}

func digitalOceanError(w http.ResponseWriter, err error) {
	var invalid *Invalid
	switch {
	case errors.Is(err, ErrNotFound):
		digitalOceanFail(w, http.StatusNotFound, "not_found", "The resource you were accessing could not be found.")
	case errors.As(err, &invalid):
		message := strings.ToUpper(invalid.Field[:1]) + invalid.Field[1:] + " " + invalid.Reason
		digitalOceanFail(w, http.StatusUnprocessableEntity, "unprocessable_entity", message)
	default:
		digitalOceanFail(w, http.StatusInternalServerError, "server_error", err.Error())
	}
}

func digitalOceanFail(w http.ResponseWriter, status int, id, message string) {
	serve.WriteJSON(w, status, map[string]string{"id": id, "message": message})
}
