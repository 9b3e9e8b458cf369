// Package zonetest checks that an implementation of zone.Zone keeps the
// contract. It runs against a fake as it would against the provider; start at
// Test.
package zonetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/zone"
)

// Test makes, changes and removes records below the name "zonetest" of the
// zone, and the SRV records of a service zonetest, of which it must have none,
// and checks that nothing else changes.
func Test(t *testing.T, z zone.Zone, origin string) {
	s := suite{t, z, "zonetest." + origin, "_zonetest._tcp." + origin}
	_, before := s.read()
	s.same()
	s.moves()
	s.kinds()
	s.many()
	s.retypes()
	_, after := s.read()
	require.Empty(t, cmp.Diff(before, after, cmpopts.IgnoreFields(zone.Record{}, "ID"), cmpopts.IgnoreFields(zone.Record{}, "TTL")))
}

type suite struct {
	t             *testing.T
	z             zone.Zone
	name, service string
}

// read gives the suite's records, and all others.
func (s suite) read() (own, others []zone.Record) {
	s.t.Helper()
	records, err := s.z.Records(s.t.Context())
	require.NoError(s.t, err)
	require.True(s.t, slices.IsSortedFunc(records, func(a, b zone.Record) int { return strings.Compare(a.Name, b.Name) }))
	for _, r := range records {
		require.NotEmpty(s.t, r.ID)
		if r.Name == s.name || strings.HasSuffix(r.Name, "."+s.name) || r.Name == s.service {
			own = append(own, r)
		} else {
			others = append(others, r)
		}
	}
	return own, others
}

// same wants these records, in the order in which they come, and gives them
// with their IDs.
func (s suite) same(want ...zone.Record) []zone.Record {
	s.t.Helper()
	for i, r := range want {
		fit, err := s.z.Fit(r)
		require.NoError(s.t, err)
		want[i] = fit
	}
	got, _ := s.read()
	require.Empty(s.t, cmp.Diff(want, got, cmpopts.IgnoreFields(zone.Record{}, "ID"), cmpopts.EquateEmpty()))
	return got
}

func (s suite) clear() {
	s.t.Helper()
	own, _ := s.read()
	for _, r := range own {
		require.NoError(s.t, s.z.Delete(s.t.Context(), r.ID))
	}
	s.same()
}

// moves checks what a home move does: changes in place.
func (s suite) moves() {
	t, z := s.t, s.z
	text := zone.Record{Name: "_home." + s.name, Type: "TXT", Value: "v=home1 region=us-east epoch=1", TTL: time.Minute}
	alias := zone.Record{Name: s.name, Type: "CNAME", Value: "us-east.elb.amazonaws.com", TTL: time.Minute}
	require.NoError(t, z.Create(t.Context(), alias))
	require.NoError(t, z.Create(t.Context(), text))
	got := s.same(text, alias)

	// In place: the record keeps its ID.
	text.ID, alias.ID = got[0].ID, got[1].ID
	text.Value, alias.Value = "v=home1 region=eu-west epoch=2", "eu-west.elb.amazonaws.com"
	require.NoError(t, z.Update(t.Context(), text))
	require.NoError(t, z.Update(t.Context(), alias))
	got = s.same(text, alias)
	require.Equal(t, []string{text.ID, alias.ID}, []string{got[0].ID, got[1].ID})
	require.NoError(t, z.Update(t.Context(), alias), "again")
	s.same(text, alias)

	// Nothing may stand beside a CNAME.
	require.ErrorIs(t, z.Create(t.Context(), zone.Record{Name: s.name, Type: "A", Value: "192.0.2.1", TTL: time.Minute}), zone.ErrConflict)

	require.NoError(t, z.Delete(t.Context(), alias.ID))
	require.ErrorIs(t, z.Delete(t.Context(), alias.ID), zone.ErrNotFound)
	require.ErrorIs(t, z.Update(t.Context(), alias), zone.ErrNotFound)
	require.NoError(t, z.Delete(t.Context(), text.ID))
	s.same()
}

// kinds checks each type of record: what is written comes back, as it is after
// an update.
func (s suite) kinds() {
	at := func(label, kind, value string, ttl time.Duration) zone.Record {
		return zone.Record{Name: label + "." + s.name, Type: kind, Value: value, TTL: ttl}
	}
	for _, k := range []struct{ before, after zone.Record }{
		{at("a", "A", "192.0.2.1", 5*time.Minute), at("a", "A", "192.0.2.2", time.Hour)},
		{at("a", "AAAA", "2001:db8::1", 5*time.Minute), at("a", "AAAA", "2001:db8::2", 5*time.Minute)},
		{at("*.wild", "CNAME", "a.example", time.Minute), at("*.wild", "CNAME", s.name, 30*time.Second)},
		{at("mx", "MX", "10 mail.example", time.Hour), at("mx", "MX", "0 mail.example", time.Hour)},
		{at("caa", "CAA", "0 issue ca.example", time.Hour), at("caa", "CAA", "0 iodef mailto:a@ca.example", time.Hour)},
		{at("sub", "NS", "ns1.example", 24*time.Hour), at("sub", "NS", "ns2.example", 24*time.Hour)},
		{at("txt", "TXT", "v=spf1 include:a.example -all", time.Hour), at("txt", "TXT", `"quoted"; and more`, time.Hour)},
		{at("txt", "TXT", strings.Repeat("long ", 60), time.Hour), at("txt", "TXT", strings.Repeat("x", 255)+"y", time.Hour)},
		{
			zone.Record{Name: s.service, Type: "SRV", Value: "10 5 443 a.example", TTL: time.Hour},
			zone.Record{Name: s.service, Type: "SRV", Value: "0 0 0 b.example", TTL: time.Hour},
		},
	} {
		s.t.Log(k.before.Type, k.before.Value)
		require.NoError(s.t, s.z.Create(s.t.Context(), k.before))
		k.after.ID = s.same(k.before)[0].ID
		require.NoError(s.t, s.z.Update(s.t.Context(), k.after))
		s.same(k.after)
		s.clear()
	}
}

// many checks that a zone of several pages comes whole, each record once.
func (s suite) many() {
	var want []zone.Record
	for i := range 510 {
		r := zone.Record{Name: fmt.Sprintf("n%03d.%s", i, s.name), Type: "A", Value: "192.0.2.1", TTL: time.Hour}
		require.NoError(s.t, s.z.Create(s.t.Context(), r))
		want = append(want, r)
	}
	s.same(want...)
	s.clear()
}

// retypes checks that a record can become one of another type in place, if the
// provider says so, and that it is refused else.
func (s suite) retypes() {
	address := zone.Record{Name: s.name, Type: "A", Value: "192.0.2.1", TTL: time.Hour}
	require.NoError(s.t, s.z.Create(s.t.Context(), address))
	alias := zone.Record{Name: s.name, Type: "CNAME", Value: "a.example", TTL: time.Hour, ID: s.same(address)[0].ID}
	err := s.z.Update(s.t.Context(), alias)
	if s.z.Retypes() {
		require.NoError(s.t, err)
		s.same(alias)
	} else {
		require.ErrorIs(s.t, err, zone.ErrConflict)
		s.same(address)
	}
	s.clear()
}
