// Package zone reads and changes the records of one DNS zone at one provider,
// and plans the changes that turn one set of records into another.
//
// It promises what the provider's API promises, and no more: an update of one
// record is one request, nothing spans records, and what was accepted is not
// yet served: Served asks the name servers and tells. What
// may fail: ErrDenied, ErrNotFound, ErrConflict and ErrUnfit want a person, all
// else may pass. Start at Zone, Record and Replace.
package zone

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Record is one record of a zone. Two records with equal name, type and value
// say the same.
type Record struct {
	ID   string // the provider's; empty before creation
	Name string // absolute, lower case, no final dot
	Type string // "TXT", "CNAME", "A" and so on
	// Value is what the record says, as in a zone file but bare: names in lower
	// case without the final dot ("." alone stays), texts whole and unquoted.
	// So "192.0.2.1", "10 mail.espra.com" (MX), "0 5 443 a.espra.com" (SRV),
	// "0 issue ca.example" (CAA), "v=spf1 -all" (TXT).
	Value string
	// TTL is asked for. Providers round it to what they offer: see Zone.Fit.
	TTL time.Duration
}

// Zone is one zone at one provider. Methods may be called from several
// goroutines; concurrent changes of one record end in one of them.
type Zone interface {
	// Records gives all records, sorted by name, type, value and ID. The caller
	// owns the slice. Records of kinds that nobody here knows come with the
	// provider's own words as Value.
	Records(ctx context.Context) ([]Record, error)
	// Create adds a record; its ID is ignored.
	Create(ctx context.Context, r Record) error
	// Update replaces the contents of the record with r.ID in one step: there is
	// no moment at which its name is empty. The type may change only if Retypes.
	Update(ctx context.Context, r Record) error
	// Delete removes a record. One that is gone already gives ErrNotFound.
	Delete(ctx context.Context, id string) error

	// Fit gives a record as the provider will keep it, its TTL rounded, or
	// ErrUnfit if it cannot.
	Fit(r Record) (Record, error)
	// Retypes tells whether Update may change the type of a record.
	Retypes() bool
}

// What a provider may answer, beside what may pass by itself.
var (
	ErrDenied   = errors.New("zone: denied")
	ErrNotFound = errors.New("zone: not found")
	ErrConflict = errors.New("zone: refused as invalid or conflicting")
)

// Before asking a provider, and after.
var (
	// ErrUnfit is returned for a record that the provider cannot hold.
	ErrUnfit = errors.New("zone: not possible at this provider")
	// ErrMalformed is returned for an answer that is not whole.
	ErrMalformed = errors.New("zone: malformed answer")
)

// maxRecords bounds the records of a zone that are read.
const maxRecords = 20_000

// Sort sorts records by name, type, value and ID, and gives them back.
func Sort(records []Record) []Record {
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type),
			cmp.Compare(a.Value, b.Value), cmp.Compare(a.ID, b.ID))
	})
	return records
}
