package keep

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes/config"
)

// File is what a zone file says (RFC 1035, section 5). The SOA and the NS
// records of the zone itself are the providers', so they are only checked: each
// provider counts its own serial.
type File struct {
	Records  []zone.Record // sorted
	Warnings []string      // with file and line

	name   string
	places map[string]config.Pos // by identity
}

// Bounds of a zone file, beside its size.
const (
	maxFileRecords = 5000
	maxTypos       = 20
)

// identity is equal for records that say the same.
func identity(r zone.Record) string { return r.Name + " " + r.Type + " " + r.Value }

// fileReader collects what is wrong with a zone file.
type fileReader struct {
	name  string
	lines []string
	errs  config.Errors
}

func (f *fileReader) failf(at config.Pos, format string, args ...any) {
	f.errs = append(f.errs, &config.Error{File: f.name, Pos: at, Message: fmt.Sprintf(format, args...)})
}

func parseFile(name, text string, c *Config) (*File, error) {
	f := &fileReader{name: name, lines: strings.Split(text, "\n")}
	entries := f.entries(c.Zone)
	if len(f.errs) > 0 {
		return nil, f.errs.Sorted()
	}
	out := f.check(entries, c)
	if len(out.Records) == 0 && len(f.errs) == 0 {
		// One that was truncated would have all that is kept deleted.
		f.failf(config.Pos{Line: 1, Column: 1}, "no records to keep in it")
	}
	if len(f.errs) > 0 {
		return nil, f.errs.Sorted()
	}
	zone.Sort(out.Records)
	return out, nil
}

// entry is a record with its place.
type entry struct {
	rr dns.RR
	at config.Pos
}

// entries parses. The parser stops at the first mistake, so each is noted, its
// lines are left out, and the rest is parsed again.
func (f *fileReader) entries(origin string) []entry {
	for i, line := range f.lines {
		// One file says all that it means, in the words in which it means it.
		word, _, _ := strings.Cut(strings.ReplaceAll(strings.ToUpper(line), "\t", " "), " ")
		if strings.HasPrefix(word, "$") && word != "$ORIGIN" && word != "$TTL" {
			f.failf(config.Pos{Line: i + 1, Column: 1}, "%s is not allowed", config.Clip(strings.TrimSpace(word)))
		}
	}
	if len(f.errs) > 0 {
		return nil
	}
	for range maxTypos {
		all, at, directive := f.parse(origin)
		if at == 0 || directive {
			return all
		}
		for i := f.start(at) - 1; i < at; i++ {
			f.lines[i] = ""
		}
	}
	return nil
}

// parse gives the records up to the first mistake and its line, if there is one,
// and whether that is of a directive, from which more would follow.
func (f *fileReader) parse(origin string) (all []entry, line int, directive bool) {
	text := &counted{text: strings.Join(f.lines, "\n") + "\n"}
	parser := dns.NewZoneParser(text, dns.Fqdn(origin), "")
	for done := 0; ; {
		rr, ok := parser.Next()
		if !ok {
			break
		}
		for done < text.lines && f.skipped(done) {
			done++
		}
		first := f.lines[min(done, len(f.lines)-1)]
		all = append(all, entry{rr, config.Pos{Line: done + 1, Column: 1 + len(first) - len(strings.TrimLeft(first, " \t"))}})
		done = text.lines
		if len(all) > maxFileRecords {
			f.failf(config.Pos{Line: done, Column: 1}, "more than %d records", maxFileRecords)
			return nil, done, true
		}
	}
	if err := parser.Err(); err != nil {
		at, message := place(err)
		at.Line = min(max(at.Line, 1), len(f.lines))
		f.failf(at, "%s", message)
		return all, at.Line, strings.HasPrefix(strings.TrimSpace(f.lines[at.Line-1]), "$")
	}
	return all, 0, false
}

// skipped tells whether a line, counted from 0, cannot begin a record.
func (f *fileReader) skipped(i int) bool {
	line := strings.TrimSpace(f.lines[i])
	return line == "" || line[0] == ';' || line[0] == '$'
}

// start gives the line on which the entry that goes over a line began.
func (f *fileReader) start(line int) int {
	open := 0
	for i := line - 1; i >= 0; i-- {
		text, _, _ := strings.Cut(f.lines[i], ";")
		open += strings.Count(text, ")") - strings.Count(text, "(")
		if open <= 0 {
			return i + 1
		}
	}
	return line
}

// counted is read byte by byte, so that the parser reads no further than it must,
// and counts lines.
type counted struct {
	text  string
	at    int
	lines int
}

// Read implements io.Reader, which the parser wants and does not use.
func (c *counted) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	var err error
	b[0], err = c.ReadByte()
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// ReadByte implements io.ByteReader.
func (c *counted) ReadByte() (byte, error) {
	if c.at == len(c.text) {
		return 0, io.EOF
	}
	b := c.text[c.at]
	c.at++
	if b == '\n' {
		c.lines++
	}
	return b, nil
}

// mistake is how the parser's errors look.
var mistake = regexp.MustCompile(`(?s)^dns: (.*): ("(?:[^"\\]|\\.)*") at line: (\d+):(\d+)$`)

// place takes an error of the parser apart and adds what was probably meant.
func place(err error) (config.Pos, string) {
	m := mistake.FindStringSubmatch(err.Error())
	if m == nil {
		return config.Pos{Line: 1, Column: 1}, config.Clip(err.Error())
	}
	line, _ := strconv.Atoi(m[3])
	column, _ := strconv.Atoi(m[4])
	token, unquoted := strconv.Unquote(m[2])
	if unquoted != nil {
		token = m[2]
	}
	message := m[1]
	switch {
	case message == "not a TTL" || strings.HasPrefix(message, "expecting RR type") || strings.HasPrefix(message, "unknown RR type"):
		message = fmt.Sprintf("%q is neither a record type nor a TTL%s", config.Clip(token), config.Suggest(strings.ToUpper(token), zone.Types()))
	default:
		message = fmt.Sprintf("%s: %q", message, config.Clip(token))
	}
	return config.Pos{Line: line, Column: max(column-len(token), 1)}, message
}

// check turns entries into records and refuses what cannot be served.
func (f *fileReader) check(entries []entry, c *Config) *File {
	out := &File{name: f.name, places: map[string]config.Pos{}}
	origin := c.Zone
	sets := map[string]entry{}              // the first of each name and type
	kinds := map[string]map[string]string{} // by name: the types, with the place of the first
	var nameservers []string
	var nsAt config.Pos
	for _, e := range entries {
		h := e.rr.Header()
		r, ok := zone.FromRR(e.rr)
		name := strings.ToLower(strings.TrimSuffix(h.Name, "."))
		kind := cmp.Or(dns.TypeToString[h.Rrtype], fmt.Sprint("TYPE", h.Rrtype))
		ttl := time.Duration(h.Ttl) * time.Second
		bad := func(format string, args ...any) {
			f.failf(e.at, "%s %s: %s", config.Clip(name), kind, fmt.Sprintf(format, args...))
		}
		switch {
		case name != origin && !strings.HasSuffix(name, "."+origin):
			bad("is outside of %s; is a dot missing, or too much?", origin)
			continue
		case h.Class != dns.ClassINET:
			bad("is of class %s, not IN", dns.ClassToString[h.Class])
			continue
		case kind == "SOA":
			if name != origin {
				bad("a zone has one SOA, at %s", origin)
			}
			continue
		case kind == "NS" && name == origin:
			nameservers, nsAt = append(nameservers, r.Value), e.at
			continue
		case !ok:
			bad("no provider keeps such records; those that are kept: %s", strings.Join(zone.Types(), " "))
			continue
		}
		if why := unusable(name, origin); why != "" {
			bad("%s", why)
			continue
		}
		if first, twice := out.places[identity(r)]; twice {
			bad("comes twice; first at %v", first)
			continue
		}
		out.places[identity(r)] = e.at
		key := name + " " + kind
		first, there := sets[key]
		if !there {
			sets[key] = e
			if ttl < c.TTL.Low || ttl > c.TTL.High {
				out.warn(e.at, "%s %s: a TTL of %v is not within %v and %v", name, kind, ttl, c.TTL.Low, c.TTL.High)
			}
		} else if first.rr.Header().Ttl != h.Ttl {
			bad("has a TTL of %v, and one of %v at %v; records of one name and type share it",
				ttl, time.Duration(first.rr.Header().Ttl)*time.Second, first.at)
		}
		if kinds[name] == nil {
			kinds[name] = map[string]string{}
		}
		if kinds[name][kind] == "" {
			kinds[name][kind] = e.at.String()
		}
		switch {
		case kind == "CNAME" && name == origin:
			bad("the zone itself cannot be an alias, as it has SOA and NS records")
		case kind == "CNAME" && there:
			bad("a second CNAME; first at %v", first.at)
		case kind == "CNAME" && len(kinds[name]) > 1:
			bad("nothing may stand beside a CNAME, and %s does", other(kinds[name], kind))
		case kind != "CNAME" && kinds[name]["CNAME"] != "":
			bad("stands beside the CNAME at %s", kinds[name]["CNAME"])
		}
		out.Records = append(out.Records, r)
	}
	f.delegations(out, origin)
	f.targets(out, kinds)
	out.doubts(origin, kinds)
	if missing := c.uncovered(nameservers); len(nameservers) > 0 && len(missing) > 0 {
		out.warn(nsAt, "the NS records of %s name no server of %s", origin, strings.Join(missing, ", "))
	}
	return out
}

func (f *File) warn(at config.Pos, format string, args ...any) {
	f.Warnings = append(f.Warnings, fmt.Sprintf("%s:%v: warning: %s", f.name, at, fmt.Sprintf(format, args...)))
}

// where is the place of a record in the file.
func (f *File) where(r zone.Record) string {
	return fmt.Sprintf("%s:%v", f.name, f.places[identity(r)])
}

// other names a type with its place, of those that are not kind.
func other(kinds map[string]string, kind string) string {
	var all []string
	for k, at := range kinds {
		if k != kind {
			all = append(all, k+" at "+at)
		}
	}
	slices.Sort(all)
	return all[0]
}

// unusable says why a name cannot be kept, or "".
func unusable(name, origin string) string {
	if len(markOf(name)) > 253 {
		return "the name is too long to have a mark beside it"
	}
	if name != origin {
		for i, label := range strings.Split(strings.TrimSuffix(name, "."+origin), ".") {
			switch {
			case label+"." == homeLabel:
				return "_home names are the monitors'"
			case label+"." == markLabel || label+"." == anyLabel:
				return label + " names are for marks of ownership"
			case label == "*" && i == 0:
			case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
				return fmt.Sprintf("%q is no label of letters, digits, dashes and underscores", config.Clip(label))
			}
		}
	}
	return ""
}

// delegations refuses what would be hidden below a delegation: all but the
// addresses of its name servers.
func (f *fileReader) delegations(out *File, origin string) {
	servers := map[string]bool{}
	cuts := map[string]bool{}
	for _, r := range out.Records {
		if r.Type == "NS" {
			cuts[r.Name], servers[r.Value] = true, true
		}
	}
	for _, r := range out.Records {
		for name := r.Name; name != origin; {
			if cuts[name] && !(name == r.Name && r.Type == "NS") && !(servers[r.Name] && (r.Type == "A" || r.Type == "AAAA")) {
				f.failf(out.places[identity(r)], "%s %s: hidden, as %s is delegated to others", r.Name, r.Type, name)
				break
			}
			_, rest, ok := strings.Cut(name, ".")
			if !ok {
				break
			}
			name = rest
		}
	}
}

// targets refuses mail, services and delegations that lead to an alias
// (RFC 2181, section 10.3).
func (f *fileReader) targets(out *File, kinds map[string]map[string]string) {
	for _, r := range out.Records {
		switch r.Type {
		case "MX", "SRV", "NS":
			target := r.Value[strings.LastIndex(r.Value, " ")+1:]
			if kinds[target]["CNAME"] != "" {
				f.failf(out.places[identity(r)], "%s %s: %s is an alias, and may not be", r.Name, r.Type, target)
			}
		}
	}
}

// doubts warns of what is allowed and hardly ever meant: a name that ends in that
// of the zone twice, and mail, services and delegations that lead to a name of the
// zone without an address. That may not be one of the monitors' homes either, which
// are aliases.
func (f *File) doubts(origin string, kinds map[string]map[string]string) {
	inside := "." + origin
	var hosts []string // those with an address
	for name := range kinds {
		if addressed(name, kinds) {
			hosts = append(hosts, name)
		}
	}
	slices.Sort(hosts)
	for _, r := range f.Records {
		at := f.places[identity(r)]
		if strings.HasSuffix("."+r.Name, inside+inside) {
			f.warn(at, "%s %s: ends in %s twice; is a final dot missing?", r.Name, r.Type, origin)
		}
		switch r.Type {
		case "MX", "SRV", "NS":
			target := r.Value[strings.LastIndex(r.Value, " ")+1:]
			if (target == origin || strings.HasSuffix(target, inside)) && !reachable(target, r.Type, origin, kinds) {
				f.warn(at, "%s %s: %s has no address here%s", r.Name, r.Type, target, config.Suggest(target, hosts))
			}
		}
	}
}

// reachable tells whether a name of the zone has an address, be it by a wildcard, or
// is below a delegation, where others give it one. The servers of that need theirs
// from here.
func reachable(name, kind, origin string, kinds map[string]map[string]string) bool {
	if addressed(name, kinds) || kinds[name] == nil && kind != "NS" && addressed("*."+parent(name), kinds) {
		return true
	}
	for ; name != origin; name = parent(name) {
		if kinds[name]["NS"] != "" && kind != "NS" {
			return true
		}
	}
	return false
}

func addressed(name string, kinds map[string]map[string]string) bool {
	return kinds[name]["A"] != "" || kinds[name]["AAAA"] != ""
}

func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}
