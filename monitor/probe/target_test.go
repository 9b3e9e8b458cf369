package probe_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
)

func TestCheck(t *testing.T) {
	type problems = []probe.Problem
	for _, tt := range []struct {
		name   string
		target probe.Target
		want   problems
	}{
		{"kind", probe.Target{Kind: "https"}, problems{{"kind", `"https" is none of certificate, delegation, dns, http, s3, smtp, tcp; did you mean http?`}}},
		{"no kind", probe.Target{}, problems{{"kind", `"" is none of certificate, delegation, dns, http, s3, smtp, tcp`}}},
		{"http", probe.Target{Kind: "http", URL: "ftp://x", Connect: "x", Status: 100}, problems{
			{"connect", `"x" is not host:port`}, {"status", "100 is no status of a final answer, 200 to 599"}, {"url", `"ftp://x" is no http or https URL`},
		}},
		{"a key of another kind", probe.Target{Kind: "http", URL: "http://x", Zone: "espra.com"}, problems{
			{"zone", "not for a target of kind http, which has url, connect, status, contains"},
		}},
		{"a key is missing", probe.Target{Kind: "s3", URL: "http://x"}, problems{
			{"aws-region", "is missing: a target of kind s3 needs it"}, {"credentials", "is missing: a target of kind s3 needs it"},
		}},
		{"s3", probe.Target{Kind: "s3", URL: "http://x", AWSRegion: "us-east-1", Credentials: "key"}, problems{{"credentials", `"key" is not an absolute file name`}}},
		{"tcp", probe.Target{Kind: "tcp", Server: ":22"}, problems{{"server", `":22" is not host:port`}}},
		{"certificate", probe.Target{Kind: "certificate", Server: "x:443", Days: -1}, problems{{"days", "-1 is not 1 to 3650"}}},
		{"smtp", probe.Target{Kind: "smtp", Server: "x:25", Recipient: "a@b>\r\nDATA"}, problems{{"recipient", `"a@b>\r\nDATA" is no address`}}},
		{"nobody to ask", probe.Target{Kind: "dns", Zone: "espra.com"}, problems{{"servers", "nobody to ask: give server or servers"}}},
		{"too many to ask", probe.Target{Kind: "dns", Zone: "espra.com", Server: "x:53", Servers: []string{"y"}}, problems{
			{"servers", "give server or servers, not both"}, {"servers[0]", `"y" is not host:port`},
		}},
		{"dns", probe.Target{Kind: "dns", Zone: "a..b", Server: "x:53", Type: "AAA", Rcode: "NXDOMIAN"}, problems{
			{"rcode", `"NXDOMIAN" is no response code; did you mean NXDOMAIN?`}, {"type", `"AAA" is no record type; did you mean AAAA?`}, {"zone", `"a..b" is no domain name`},
		}},
		{"values", probe.Target{Kind: "dns", Zone: "espra.com", Server: "x:53", Type: "A", Values: []string{"192.0.2.1", "us-east"}}, problems{
			{"values[1]", `"us-east" is no A record`},
		}},
		{"further names", probe.Target{Kind: "dns", Zone: "espra.com", Server: "x:53", Also: []string{"www.espra.com", "a..b"}}, problems{
			{"also[1]", `"a..b" is no domain name`},
		}},
		{"delegation", probe.Target{Kind: "delegation", Zone: "espra.com", Server: "x:53", Type: "NS", Values: []string{"ns1.linode.com", "a..b"}}, problems{
			{"type", "not for a target of kind delegation, which has zone, server, servers, values"}, {"values[1]", `"a..b" is no NS record`},
		}},
		{"a good delegation", probe.Target{Kind: "delegation", Zone: "espra.com", Server: "x:53", Values: []string{"ns1.linode.com"}}, nil},
		{"all is well", probe.Target{Kind: "dns", Zone: "espra.com", Servers: []string{"x:53", "[2001:db8::1]:53"}, Type: "TXT", Values: []string{"any thing"}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Empty(t, cmp.Diff(tt.want, tt.target.Check()))
		})
	}
}
