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

// DigitalOcean is a zone in DigitalOcean's DNS.
type DigitalOcean struct {
	client *godo.Client
	zone   string
}

var _ Zone = (*DigitalOcean)(nil)

// Pages of the record listing: how long one is, and how many are read.
const (
	pageSize = 200
	maxPages = 100
)

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
	for page := 1; page <= maxPages; page++ {
		listed, response, err := d.client.Domains.Records(ctx, d.zone, &godo.ListOptions{Page: page, PerPage: pageSize})
		if err != nil {
			return nil, digitalOceanError("list records", err)
		}
		for _, r := range listed {
			records = append(records, Record{
				ID:    strconv.Itoa(r.ID),
				Name:  absolute(r.Name, d.zone),
				Type:  r.Type,
				Value: bare(r.Type, r.Data),
				TTL:   time.Duration(r.TTL) * time.Second,
			})
		}
		if response.Links == nil || response.Links.IsLastPage() {
			return sorted(records), nil
		}
	}
	return nil, fmt.Errorf("digitalocean: list records: more than %d pages", maxPages)
}

// Create implements Zone.
func (d *DigitalOcean) Create(ctx context.Context, r Record) error {
	_, _, err := d.client.Domains.CreateRecord(ctx, d.zone, d.request(r))
	return digitalOceanError("create record", err)
}

// Update implements Zone.
func (d *DigitalOcean) Update(ctx context.Context, r Record) error {
	id, err := strconv.Atoi(r.ID)
	if err != nil {
		return fmt.Errorf("%w: record id %q", ErrNotFound, r.ID)
	}
	_, _, err = d.client.Domains.EditRecord(ctx, d.zone, id, d.request(r))
	return digitalOceanError("update record", err)
}

// Delete implements Zone.
func (d *DigitalOcean) Delete(ctx context.Context, recordID string) error {
	id, err := strconv.Atoi(recordID)
	if err != nil {
		return fmt.Errorf("%w: record id %q", ErrNotFound, recordID)
	}
	_, err = d.client.Domains.DeleteRecord(ctx, d.zone, id)
	return digitalOceanError("delete record", err)
}

func (d *DigitalOcean) request(r Record) *godo.DomainRecordEditRequest {
	value := r.Value
	if r.Type == "CNAME" { // without the dot it would be taken as relative
		value += "."
	}
	return &godo.DomainRecordEditRequest{
		Type: r.Type, Name: relative(r.Name, d.zone, "@"), Data: value, TTL: int(r.TTL / time.Second),
	}
}

func digitalOceanError(doing string, err error) error {
	if err == nil {
		return nil
	}
	var known *godo.ErrorResponse
	if errors.As(err, &known) && known.Response != nil {
		if kind := kind(known.Response.StatusCode); kind != nil {
			return fmt.Errorf("digitalocean: %s: %w: %w", doing, kind, err)
		}
	}
	return fmt.Errorf("digitalocean: %s: %w", doing, err)
}
