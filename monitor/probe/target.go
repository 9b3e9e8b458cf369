package probe

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/miekg/dns"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/config"
)

// Target says what to look at and what to want, as people write it into a
// file. Kind says which of the fields have a meaning: those of other kinds must
// be empty.
type Target struct {
	Name string `yaml:"name"` // unique among the probes of a process
	Kind string `yaml:"kind"` // http, certificate, tcp, dns, delegation, smtp or s3

	// http: one GET, answered with Status. s3: the same for one object, signed.
	URL      string `yaml:"url,omitempty"`      // http or https; a certificate is validated
	Connect  string `yaml:"connect,omitempty"`  // host:port instead of the URL's, such as a load balancer
	Status   int    `yaml:"status,omitempty"`   // 200 when left out; a redirect is not followed
	Contains string `yaml:"contains,omitempty"` // text that must be in the first 64 KiB of the body

	AWSRegion   string `yaml:"aws-region,omitempty"`  // s3: that the signature is for, such as us-east-1
	Credentials string `yaml:"credentials,omitempty"` // s3: file with one line, ID:SECRET

	// certificate, tcp, smtp; dns and delegation have it or Servers.
	Server string `yaml:"server,omitempty"` // host:port

	// certificate: validated, with so many days left. A server that cannot be
	// reached counts neither way.
	Host     string `yaml:"host,omitempty"`     // certificate, smtp: that it is for; the server's when left out
	Days     int    `yaml:"days,omitempty"`     // 14 when left out
	StartTLS bool   `yaml:"starttls,omitempty"` // the server speaks SMTP first

	Banner string `yaml:"banner,omitempty"` // tcp: what the server must begin with, if it must

	// dns: each server must answer by its own authority. delegation: each, being one
	// of the zone's parent, must refer to the zone's name servers; without an answer
	// that counts neither way.
	Servers []string `yaml:"servers,omitempty"` // host:port of each
	Zone    string   `yaml:"zone,omitempty"`    // name to ask for
	Type    string   `yaml:"type,omitempty"`    // SOA when left out
	Rcode   string   `yaml:"rcode,omitempty"`   // NOERROR when left out
	Also    []string `yaml:"also,omitempty"`    // dns: names with an address or an alias; in each round one server is asked for all
	Values  []string `yaml:"values,omitempty"`  // all records, in any order; any records when left out. delegation: the name servers

	// smtp: banner, EHLO, STARTTLS with a validated certificate.
	Plain     bool   `yaml:"plain,omitempty"`     // no STARTTLS
	Recipient string `yaml:"recipient,omitempty"` // address that RCPT must accept; nothing is sent
}

const defaultDays = 14

// kinds are the fields of each kind of target; read-only. The first are needed.
var kinds = map[string]struct{ needed, optional []string }{
	"http":        {[]string{"url"}, []string{"connect", "status", "contains"}},
	"certificate": {[]string{"server"}, []string{"host", "days", "starttls"}},
	"tcp":         {[]string{"server"}, []string{"banner"}},
	"dns":         {[]string{"zone"}, []string{"server", "servers", "type", "rcode", "values", "also"}},
	"delegation":  {[]string{"zone"}, []string{"server", "servers", "values"}},
	"smtp":        {[]string{"server"}, []string{"host", "plain", "recipient"}},
	"s3":          {[]string{"url", "aws-region", "credentials"}, []string{"connect", "status", "contains"}},
}

// Kinds lists the kinds of targets, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// fields are the given fields by key, but name and kind.
func (t Target) fields() map[string]bool {
	return map[string]bool{
		"url": t.URL != "", "connect": t.Connect != "", "status": t.Status != 0, "contains": t.Contains != "",
		"aws-region": t.AWSRegion != "", "credentials": t.Credentials != "", "server": t.Server != "", "host": t.Host != "",
		"days": t.Days != 0, "starttls": t.StartTLS, "banner": t.Banner != "", "servers": t.Servers != nil, "zone": t.Zone != "",
		"type": t.Type != "", "rcode": t.Rcode != "", "values": t.Values != nil, "also": t.Also != nil, "plain": t.Plain, "recipient": t.Recipient != "",
	}
}

// Problem is what is wrong with one field of a target.
type Problem struct {
	Key  string // as in the file: "servers[2]"
	Text string
}

// Check lists what is wrong with a target, but for its name, in the order of
// its fields.
func (t Target) Check() []Problem {
	var found []Problem
	bad := func(key, format string, args ...any) {
		found = append(found, Problem{key, fmt.Sprintf(format, args...)})
	}
	kind, ok := kinds[t.Kind]
	if !ok {
		bad("kind", "%q is none of %s%s", t.Kind, strings.Join(Kinds(), ", "), config.Suggest(t.Kind, Kinds()))
		return found
	}
	given := t.fields()
	for _, key := range slices.Sorted(maps.Keys(given)) {
		switch known := slices.Contains(kind.needed, key); {
		case given[key] && !known && !slices.Contains(kind.optional, key):
			bad(key, "not for a target of kind %s, which has %s", t.Kind, strings.Join(append(slices.Clone(kind.needed), kind.optional...), ", "))
		case !given[key] && known:
			bad(key, "is missing: a target of kind %s needs it", t.Kind)
		}
	}
	if u, err := url.Parse(t.URL); given["url"] && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		bad("url", "%q is no http or https URL", t.URL)
	}
	for key, address := range t.addresses() {
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			bad(key, "%q is not host:port", address)
		}
	}
	if given["status"] && (t.Status < 200 || t.Status > 599) {
		bad("status", "%d is no status of a final answer, 200 to 599", t.Status)
	}
	if given["days"] && (t.Days < 0 || t.Days > 3650) {
		bad("days", "%d is not 1 to 3650", t.Days)
	}
	if len(t.Banner) > maxBanner {
		bad("banner", "longer than %d bytes", maxBanner)
	}
	if given["credentials"] && !strings.HasPrefix(t.Credentials, "/") {
		bad("credentials", "%q is not an absolute file name", t.Credentials)
	}
	if given["recipient"] && (!strings.Contains(t.Recipient, "@") || strings.ContainsAny(t.Recipient, "<> \r\n")) {
		bad("recipient", "%q is no address", t.Recipient)
	}
	if t.Kind == "dns" || t.Kind == "delegation" {
		found = append(found, t.checkDNS()...)
	}
	slices.SortStableFunc(found, func(a, b Problem) int { return cmp.Compare(a.Key, b.Key) })
	return found
}

// addresses are all that must be host:port, by key.
func (t Target) addresses() map[string]string {
	all := map[string]string{}
	if t.Connect != "" {
		all["connect"] = t.Connect
	}
	if t.Server != "" {
		all["server"] = t.Server
	}
	for i, s := range t.Servers {
		all[fmt.Sprintf("servers[%d]", i)] = s
	}
	return all
}

func (t Target) checkDNS() []Problem {
	var found []Problem
	bad := func(key, format string, args ...any) {
		found = append(found, Problem{key, fmt.Sprintf(format, args...)})
	}
	switch {
	case t.Server != "" && t.Servers != nil:
		bad("servers", "give server or servers, not both")
	case t.Server == "" && len(t.Servers) == 0:
		bad("servers", "nobody to ask: give server or servers")
	}
	if _, ok := dns.IsDomainName(t.Zone); !ok && t.Zone != "" {
		bad("zone", "%q is no domain name", t.Zone)
	}
	for i, name := range t.Also {
		if _, ok := dns.IsDomainName(name); !ok || name == "" {
			bad(fmt.Sprintf("also[%d]", i), "%q is no domain name", name)
		}
	}
	if _, ok := dns.StringToRcode[cmp.Or(t.Rcode, "NOERROR")]; !ok {
		bad("rcode", "%q is no response code%s", t.Rcode, config.Suggest(t.Rcode, slices.Sorted(maps.Keys(dns.StringToRcode))))
	}
	kind, ok := dns.StringToType[t.recordType()]
	if !ok {
		bad("type", "%q is no record type%s", t.Type, config.Suggest(t.Type, slices.Sorted(maps.Keys(dns.StringToType))))
		return found
	}
	for i, text := range t.Values {
		if _, err := value(kind, text); err != nil {
			bad(fmt.Sprintf("values[%d]", i), "%.60q is no %s record", text, t.recordType())
		}
	}
	return found
}

// recordType is what is asked for.
func (t Target) recordType() string {
	if t.Kind == "delegation" {
		return "NS"
	}
	return cmp.Or(t.Type, "SOA")
}

// Options are what the probes of one vantage have in common.
type Options struct {
	Limit time.Duration  // of each phase
	Roots *x509.CertPool // trusted; nil is the system's
}

func (o Options) look(m nodes.Machine, name string) *look {
	return &look{m: m, label: "probe " + name, limit: o.Limit, roots: o.Roots}
}

// Probe makes the probe of a target for which Check has found nothing. It fails
// if a file cannot be used.
func (t Target) Probe(m nodes.Machine, o Options) (Probe, error) {
	switch t.Kind {
	case "http", "s3":
		u, err := url.Parse(t.URL)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		w := webOptions{url: u, connect: t.Connect, status: cmp.Or(t.Status, http.StatusOK), contains: t.Contains}
		if t.Kind == "s3" {
			key, err := readCredentials(m.Disk(), t.Credentials)
			if err != nil {
				return nil, fmt.Errorf("%s: credentials: %w", t.Name, err)
			}
			w.sign = signer(m, key, t.AWSRegion)
		}
		return web(m, t.Name, o, w), nil
	case "certificate":
		return certificate(m, t.Name, o, certificateOptions{
			server: t.Server, host: t.host(), startTLS: t.StartTLS, days: cmp.Or(t.Days, defaultDays),
		}), nil
	case "tcp":
		return tcp(m, t.Name, o, t.Server, t.Banner), nil
	case "smtp":
		return mail(m, t.Name, o, smtpOptions{server: t.Server, host: t.host(), plain: t.Plain, recipient: t.Recipient}), nil
	case "dns", "delegation":
		d := dnsOptions{
			servers: t.Servers, name: t.Zone, parent: t.Kind == "delegation", kind: dns.StringToType[t.recordType()],
			also: t.Also, rcode: dns.StringToRcode[cmp.Or(t.Rcode, "NOERROR")],
		}
		if t.Server != "" {
			d.servers = []string{t.Server}
		}
		if t.Values != nil {
			d.values = []dns.RR{} // none at all may be wanted, too
		}
		for _, text := range t.Values {
			rr, err := value(d.kind, text)
			if err != nil {
				return nil, fmt.Errorf("%s: values: %w", t.Name, err)
			}
			d.values = append(d.values, rr)
		}
		return names(m, t.Name, o, d), nil
	}
	return nil, fmt.Errorf("%s: kind %q is unknown", t.Name, t.Kind)
}

// host is the name that a certificate must be for.
func (t Target) host() string {
	host, _, _ := net.SplitHostPort(t.Server) // Check has done it before
	return cmp.Or(t.Host, host)
}

func readCredentials(d nodes.Disk, name string) (aws.Credentials, error) {
	line, err := nodes.ReadFile(d, name, 4<<10)
	if err != nil {
		return aws.Credentials{}, err
	}
	id, secret, ok := strings.Cut(string(bytes.TrimSpace(line)), ":")
	if !ok || id == "" || secret == "" {
		return aws.Credentials{}, fmt.Errorf("%s: want one line ID:SECRET", name)
	}
	return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, nil
}
