package zone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/digitalocean/godo"
)

// DigitalOcean is a zone in DigitalOcean's DNS. Its own NS records and the SOA
// are among its records.
type DigitalOcean struct {
	client *godo.Client
	zone   string
}

var _ Zone = (*DigitalOcean)(nil)

// digitalOceanPage is how many records are asked for at once, the most that
// DigitalOcean gives.
const digitalOceanPage = 200

// NewDigitalOcean makes a client of the API at base, such as
// https://api.digitalocean.com. All requests go through hc, which the caller
// keeps; the library is left without retries, as the caller retries with a
// fresh plan.
func NewDigitalOcean(hc *http.Client, base, token, zone string) (*DigitalOcean, error) {
	client, err := godo.New(hc,
		godo.SetBaseURL(strings.TrimSuffix(base, "/")+"/"),
		godo.SetRequestHeaders(map[string]string{"Authorization": "Bearer " + token}))
	if err != nil {
		return nil, fmt.Errorf("digitalocean: %w", err)
	}
	return &DigitalOcean{client, strings.ToLower(strings.TrimSuffix(zone, "."))}, nil
}

// Records implements Zone.
func (d *DigitalOcean) Records(ctx context.Context) ([]Record, error) {
	var records []Record
	for page := 1; ; page++ {
		listed, response, err := d.client.Domains.Records(ctx, d.zone, &godo.ListOptions{Page: page, PerPage: digitalOceanPage})
		if err != nil {
			return nil, digitalOceanError("list records", "domain:read", err)
		}
		for _, r := range listed {
			records = append(records, d.record(r))
		}
		more := response.Links != nil && !response.Links.IsLastPage()
		// Only the last page may be short, and every zone has an SOA.
		if len(listed) == 0 || more && len(listed) < digitalOceanPage {
			return nil, fmt.Errorf("digitalocean: list records: %w: page %d has %d records", ErrMalformed, page, len(listed))
		}
		if err := whole(records); err != nil {
			return nil, fmt.Errorf("digitalocean: list records: %w", err)
		}
		if !more {
			return Sort(records), nil
		}
	}
}

func (d *DigitalOcean) record(r godo.DomainRecord) Record {
	parts := data{r.Data, r.Priority, r.Weight, r.Port, r.Flags, r.Tag}
	kind := strings.ToUpper(r.Type)
	return Record{
		ID: strconv.Itoa(r.ID), Name: absolute(r.Name, d.zone), Type: kind, Value: parts.join(kind, d.zone),
		TTL: time.Duration(r.TTL) * time.Second,
	}
}

// Create implements Zone.
func (d *DigitalOcean) Create(ctx context.Context, r Record) error {
	request, err := d.request(r)
	if err != nil {
		return fmt.Errorf("digitalocean: create record: %w", err)
	}
	_, _, err = d.client.Domains.CreateRecord(ctx, d.zone, request)
	return digitalOceanError("create record", "domain:create", err)
}

// Update implements Zone.
func (d *DigitalOcean) Update(ctx context.Context, r Record) error {
	id, err := strconv.Atoi(r.ID)
	if err != nil {
		return fmt.Errorf("%w: record id %q", ErrNotFound, r.ID)
	}
	request, err := d.request(r)
	if err != nil {
		return fmt.Errorf("digitalocean: update record: %w", err)
	}
	_, _, err = d.client.Domains.EditRecord(ctx, d.zone, id, request)
	return digitalOceanError("update record", "domain:update", err)
}

// Delete implements Zone.
func (d *DigitalOcean) Delete(ctx context.Context, recordID string) error {
	id, err := strconv.Atoi(recordID)
	if err != nil {
		return fmt.Errorf("%w: record id %q", ErrNotFound, recordID)
	}
	_, err = d.client.Domains.DeleteRecord(ctx, d.zone, id)
	return digitalOceanError("delete record", "domain:delete", err)
}

// request is a record in the API's words.
func (d *DigitalOcean) request(r Record) (*godo.DomainRecordEditRequest, error) {
	parts, err := r.split()
	target := parts.target
	if named(r.Type) || r.Type == "CAA" { // without the dot it would be refused
		target += "."
	}
	return &godo.DomainRecordEditRequest{
		Type: r.Type, Name: relative(r.Name, d.zone, "@"), Data: target, TTL: int(digitalOceanTTL(r.TTL) / time.Second),
		Priority: parts.priority, Weight: parts.weight, Port: parts.port, Flags: parts.flag, Tag: parts.tag,
	}, err
}

// digitalOceanTTL is the TTL in whole seconds, and not below the least that is
// offered.
func digitalOceanTTL(ttl time.Duration) time.Duration {
	return max(ttl.Truncate(time.Second), 30*time.Second)
}

// Fit implements Zone.
func (d *DigitalOcean) Fit(r Record) (Record, error) {
	// Its limit counts the quotes and escapes of the zone file.
	const maxText = 509
	parts, err := r.split()
	switch {
	case err != nil:
		return r, err
	case (r.Type == "MX" || r.Type == "SRV") && parts.target == "":
		return r, noService("digitalocean", r)
	case r.Type == "CAA" && strings.ContainsAny(parts.target, " \t"):
		return r, fmt.Errorf("%w: digitalocean keeps no blanks in CAA records", ErrUnfit)
	case r.Type == "TXT" && parts.target == "":
		return r, fmt.Errorf("%w: digitalocean keeps no empty text", ErrUnfit)
	case r.Type == "TXT" && strings.Contains(parts.target, `\`):
		return r, fmt.Errorf("%w: digitalocean keeps no backslash in texts", ErrUnfit)
	case r.Type == "TXT" && quotedLength(parts.target) > maxText:
		return r, fmt.Errorf("%w: digitalocean keeps texts of %d bytes, quotes and escapes included", ErrUnfit, maxText)
	}
	r.TTL = digitalOceanTTL(r.TTL)
	return r, nil
}

// quotedLength is how long a text is in a zone file, in strings of at most 255
// bytes.
func quotedLength(text string) int {
	n := len(text) + 3*((len(text)+254)/255) - 1
	for _, c := range []byte(text) {
		switch {
		case c == '"':
			n++
		case c < ' ' || c > '~':
			n += 3
		}
	}
	return n
}

// Retypes implements Zone.
func (d *DigitalOcean) Retypes() bool { return true }

func digitalOceanError(doing, right string, err error) error {
	if err == nil {
		return nil
	}
	status := 0
	var known *godo.ErrorResponse
	if errors.As(err, &known) && known.Response != nil {
		status = known.Response.StatusCode
	}
	return failed("digitalocean", doing, right, status, err)
}
