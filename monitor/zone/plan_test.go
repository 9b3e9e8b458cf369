package zone_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/zone"
)

func TestReplace(t *testing.T) {
	// "2=b/60" is the record 2 with value b and a TTL of 60.
	parse := func(text string) (records []zone.Record) {
		for _, word := range strings.Fields(text) {
			r := zone.Record{}
			id, rest, _ := strings.Cut(word, "=")
			value, ttl, _ := strings.Cut(rest, "/")
			r.ID, r.Value = id, value
			seconds, err := time.ParseDuration(ttl + "s")
			require.NoError(t, err)
			r.TTL = seconds
			records = append(records, r)
		}
		return records
	}
	say := func(changes []zone.Change) string {
		var words []string
		for _, c := range changes {
			words = append(words, fmt.Sprintf("%s %s=%s/%d", c.Op, c.Record.ID, c.Record.Value, c.Record.TTL/time.Second))
		}
		return strings.Join(words, ", ")
	}
	same := func(a, b zone.Record) bool { return a.Value == b.Value && a.TTL == b.TTL }
	for _, c := range []struct{ have, want, puts, cuts string }{
		{"", "", "", ""},
		{"1=a/60", "=a/60", "", ""},
		{"", "=a/60", "create =a/60", ""},
		{"1=a/60", "", "", "delete 1=a/60"},
		{"1=a/60", "=b/60", "update 1=b/60", ""},
		{"1=a/60 2=b/60", "=b/60", "", "delete 1=a/60"},
		{"1=a/60 2=b/60", "=b/30", "update 2=b/30", "delete 1=a/60"},
		{"1=a/60 2=b/60", "=c/60 =a/60 =d/60", "update 2=c/60, create =d/60", ""},
		{"1=a/60 2=a/60", "=a/60", "", "delete 2=a/60"},
		{"1=a/60 2=b/60 3=c/60", "=x/60", "update 1=x/60", "delete 2=b/60, delete 3=c/60"},
	} {
		puts, cuts := zone.Replace(parse(c.have), parse(c.want), same)
		require.Equal(t, c.puts, say(puts), c)
		require.Equal(t, c.cuts, say(cuts), c)
	}
}

func TestGuard(t *testing.T) {
	changes := slices.Repeat([]zone.Change{{Op: zone.Update}, {Op: zone.Delete}, {Op: zone.Create}}, 3)
	require.NoError(t, zone.Guard(changes, 20, 30))
	require.ErrorIs(t, zone.Guard(changes, 19, 30), zone.ErrGuard)
	require.NoError(t, zone.Guard(changes[2:3], 0, 30))
	require.NoError(t, zone.Guard(changes[:4], 2, 30), "of a few records")
	require.EqualError(t, zone.Guard(changes, 8, 30), "zone: too large a part of the zone: 6 of 8 records, guard 30 %")
}

func TestFromRR(t *testing.T) {
	for text, want := range map[string]string{
		`A.Espra.com. 60 IN A 192.0.2.1`:               "a.espra.com A 192.0.2.1",
		`a.espra.com. 60 IN AAAA 2001:DB8:0::1`:        "a.espra.com AAAA 2001:db8::1",
		`a.espra.com. 60 IN MX 10 Mail.Example.`:       "a.espra.com MX 10 mail.example",
		`a.espra.com. 60 IN MX 0 .`:                    "a.espra.com MX 0 .",
		`a.espra.com. 60 IN SRV 1 2 3 B.example.`:      "a.espra.com SRV 1 2 3 b.example",
		`a.espra.com. 60 IN CAA 0 Issue "CA.example"`:  "a.espra.com CAA 0 issue CA.example",
		`a.espra.com. 60 IN TXT "a\"b" "\\c\009;d" e`:  "a.espra.com TXT a\"b\\c\t;de",
		`*.espra.com. 60 IN CNAME B.example.`:          "*.espra.com CNAME b.example",
		`1.2.0.192.in-addr.arpa. 60 IN PTR B.example.`: "1.2.0.192.in-addr.arpa PTR b.example",
	} {
		rr, err := dns.NewRR(text)
		require.NoError(t, err)
		r, ok := zone.FromRR(rr)
		require.True(t, ok)
		require.Equal(t, want, r.Name+" "+r.Type+" "+r.Value)
		require.Equal(t, time.Minute, r.TTL)
	}
	rr, err := dns.NewRR("a.espra.com. 60 IN HINFO a b")
	require.NoError(t, err)
	_, ok := zone.FromRR(rr)
	require.False(t, ok)
}
