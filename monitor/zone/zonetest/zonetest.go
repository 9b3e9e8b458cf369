// Package zonetest checks that an implementation of zone.Zone keeps the
// contract. It runs against a fake as it would against the provider; start at
// Test.
package zonetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/zone"
)

// Test makes, changes and removes records below the name "zonetest" of the
// zone, which must have none there, and checks that nothing else changes.
func Test(t *testing.T, z zone.Zone, origin string) {
	name := "zonetest." + origin
	read := func() (own, others []zone.Record) {
		t.Helper()
		records, err := z.Records(t.Context())
		require.NoError(t, err)
		for _, r := range records {
			require.NotEmpty(t, r.ID)
			if r.Name == name || r.Name == "_home."+name {
				own = append(own, r)
			} else {
				others = append(others, r)
			}
		}
		return own, others
	}
	same := func(want ...zone.Record) []zone.Record {
		t.Helper()
		got, _ := read()
		// A provider rounds TTLs to what it offers.
		require.Empty(t, cmp.Diff(want, got, cmpopts.IgnoreFields(zone.Record{}, "ID", "TTL"), cmpopts.EquateEmpty()))
		return got
	}
	_, before := read()
	same()

	text := zone.Record{Name: "_home." + name, Type: "TXT", Value: "v=home1 region=us-east epoch=1", TTL: time.Minute}
	alias := zone.Record{Name: name, Type: "CNAME", Value: "us-east.elb.amazonaws.com", TTL: time.Minute}
	require.NoError(t, z.Create(t.Context(), alias))
	require.NoError(t, z.Create(t.Context(), text))
	got := same(text, alias)

	// In place: the record keeps its ID.
	text.ID, alias.ID = got[0].ID, got[1].ID
	text.Value, alias.Value = "v=home1 region=eu-west epoch=2", "eu-west.elb.amazonaws.com"
	require.NoError(t, z.Update(t.Context(), text))
	require.NoError(t, z.Update(t.Context(), alias))
	got = same(text, alias)
	require.Equal(t, []string{text.ID, alias.ID}, []string{got[0].ID, got[1].ID})
	require.NoError(t, z.Update(t.Context(), alias), "again")
	same(text, alias)

	require.NoError(t, z.Delete(t.Context(), alias.ID))
	require.ErrorIs(t, z.Delete(t.Context(), alias.ID), zone.ErrNotFound)
	require.ErrorIs(t, z.Update(t.Context(), alias), zone.ErrNotFound)
	require.NoError(t, z.Delete(t.Context(), text.ID))
	same()
	_, after := read()
	require.Empty(t, cmp.Diff(before, after, cmpopts.IgnoreFields(zone.Record{}, "ID"), cmpopts.IgnoreFields(zone.Record{}, "TTL")))
}
