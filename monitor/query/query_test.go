package query

import (
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// Whatever arrives, only an answer to the question is taken for one.
func FuzzParse(f *testing.F) {
	asked := new(dns.Msg)
	asked.SetQuestion("_home.www.espra.com.", dns.TypeTXT)
	asked.Id = 7
	answer := new(dns.Msg)
	answer.SetReply(asked)
	for _, id := range []uint16{7, 8} {
		answer.Id = id
		packed, err := answer.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := parse(b, asked)
		if !ok {
			return
		}
		require.True(t, got.Response)
		require.Equal(t, asked.Id, got.Id)
		require.Equal(t, asked.Question[0].Qtype, got.Question[0].Qtype)
	})
}
