// Package zone reads and changes the records of one DNS zone at one provider.
//
// It promises what the provider's API promises, and no more: an update of one
// record is one request, nothing spans records, and what was accepted is not
// yet served: Serves asks the name servers and tells. What
// may fail: ErrDenied, ErrNotFound and ErrConflict want a person, all else may
// pass. Start at Zone.
package zone

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// Record is one record of a zone.
type Record struct {
	ID    string // the provider's; empty before creation
	Name  string // absolute, lower case, no final dot
	Type  string // "TXT", "CNAME", "A" and so on
	Value string // of a TXT the bare text; of a name no final dot
	// TTL is asked for. Providers round it to what they offer, so a difference
	// is no reason for a change.
	TTL time.Duration
}

// Zone is one zone at one provider. Methods may be called from several
// goroutines; concurrent changes of one record end in one of them.
type Zone interface {
	// Records gives all records, sorted by name, type, value and ID. The caller
	// owns the slice.
	Records(ctx context.Context) ([]Record, error)
	// Create adds a record; its ID is ignored.
	Create(ctx context.Context, r Record) error
	// Update replaces the contents of the record with r.ID in one step: there is
	// no moment at which its name is empty.
	Update(ctx context.Context, r Record) error
	// Delete removes a record. One that is gone already gives ErrNotFound.
	Delete(ctx context.Context, id string) error
}

// What a provider may answer, beside what may pass by itself.
var (
	ErrDenied   = errors.New("zone: denied")
	ErrNotFound = errors.New("zone: not found")
	ErrConflict = errors.New("zone: refused as invalid or conflicting")
)

// kind says what an HTTP status means for the one who retries: nil is
// "perhaps later".
func kind(status int) error {
	switch {
	case status == 401 || status == 403:
		return ErrDenied
	case status == 404:
		return ErrNotFound
	case status == 408 || status == 429:
		return nil
	case status >= 400 && status < 500:
		return ErrConflict
	}
	return nil
}

// absolute makes a provider's record name absolute.
func absolute(name, zone string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	switch {
	case name == "" || name == "@":
		return zone
	case name == zone || strings.HasSuffix(name, "."+zone):
		return name
	}
	return name + "." + zone
}

// relative is the name as providers want it, apex for the zone itself.
func relative(name, zone, apex string) string {
	if name == zone {
		return apex
	}
	return strings.TrimSuffix(name, "."+zone)
}

// bare takes off what providers add to values: quotes around texts, a dot after
// names.
func bare(kind, value string) string {
	switch kind {
	case "TXT":
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			return value[1 : len(value)-1]
		}
	case "CNAME", "MX", "NS":
		return strings.ToLower(strings.TrimSuffix(value, "."))
	}
	return value
}

func sorted(records []Record) []Record {
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type),
			cmp.Compare(a.Value, b.Value), cmp.Compare(a.ID, b.ID))
	})
	return records
}
