package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// espra adds the two providers of espra.com.
func (w *world) espra() (linode, ocean *authority) {
	return w.serve("192.0.2.11", zone(espraZone)), w.serve("192.0.2.12", zone(espraZone))
}

func lookup(t *testing.T, s Stub, kind, name string) []string {
	t.Helper()
	got, err := s.Lookup(t.Context(), kind, name)
	require.NoError(t, err)
	return got
}

func lookupError(t *testing.T, s Stub, kind, name string) *net.DNSError {
	t.Helper()
	got, err := s.Lookup(t.Context(), kind, name)
	require.Empty(t, got)
	var de *net.DNSError
	require.ErrorAs(t, err, &de)
	return de
}

func TestWalk(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		_, s := w.resolver(Options{})
		require.Equal(t, []string{"203.0.113.1", "203.0.113.2"}, lookup(t, s, "A", "Espra.com"))
		require.Equal(t, []string{"Espra.com. A"}, w.questions(w.root), "the case is kept")
		require.Equal(t, []string{"Espra.com. A"}, w.questions(w.com))
		require.Len(t, append(w.questions(linode), w.questions(ocean)...), 1)

		require.Equal(t, []string{"v=home1 region=us-east epoch=1"}, lookup(t, s, "TXT", "_home.www.espra.com."))
		require.Empty(t, w.questions(w.root), "the delegation is known")
		require.Empty(t, w.questions(w.com))
		require.Equal(t, []string{"us-east.elb.amazon.com"}, lookup(t, s, "CNAME", "www.espra.com"))
	})
}

func TestTimeToLive(t *testing.T) {
	for _, c := range []struct {
		name string
		opts Options
		keep time.Duration
	}{
		{"as the zone says", Options{}, time.Minute},
		{"a resolver that ignores it", Options{MinTTL: time.Hour}, time.Hour},
		{"capped", Options{MaxTTL: 10 * time.Second}, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				linode, ocean := w.espra()
				r, s := w.resolver(c.opts)
				asked := func() int {
					lookup(t, s, "A", "espra.com")
					return len(w.questions(linode)) + len(w.questions(ocean))
				}
				require.Equal(t, 1, asked())
				time.Sleep(c.keep - time.Second)
				require.Equal(t, 0, asked())
				time.Sleep(2 * time.Second)
				require.Equal(t, 1, asked())
				require.Equal(t, 0, asked())
				r.Flush()
				w.questions(w.root)
				require.Equal(t, 1, asked())
				require.Len(t, w.questions(w.root), 1)
			})
		})
	}
}

func TestRemainingTTLIsGiven(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.espra()
		w.resolver(Options{})
		ask := func() uint32 {
			q := newQuery(7, "espra.com.", dns.TypeA, true)
			m, err := exchange(t.Context(), w.host("10.0.0.1"), netip.MustParseAddrPort("10.0.0.53:53"), q, time.Second)
			require.NoError(t, err)
			require.True(t, m.RecursionAvailable)
			require.False(t, m.Authoritative)
			return m.Answer[0].Header().Ttl
		}
		require.EqualValues(t, 60, ask())
		time.Sleep(20 * time.Second)
		require.EqualValues(t, 39, ask(), "whole seconds that remain")
	})
}

func TestNegativeAnswers(t *testing.T) {
	for _, c := range []struct{ kind, name, rcode string }{
		{"A", "nothing.espra.com", "NXDOMAIN"},
		{"TXT", "espra.com", "NOERROR"},
		{"A", "_home.www.espra.com", "NOERROR"},
		{"CNAME", "espra.com", "NOERROR"},
	} {
		t.Run(c.kind+" "+c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				linode, ocean := w.espra()
				_, s := w.resolver(Options{})
				fails := func() int {
					e := lookupError(t, s, c.kind, c.name)
					require.True(t, e.IsNotFound)
					require.False(t, e.IsTemporary)
					return len(w.questions(linode)) + len(w.questions(ocean))
				}
				require.Equal(t, 1, fails())
				time.Sleep(29 * time.Second)
				require.Equal(t, 0, fails(), "kept for the SOA's minimum")
				time.Sleep(2 * time.Second)
				require.Equal(t, 1, fails())

				m, err := exchange(t.Context(), w.host("10.0.0.1"), s.Servers[0], newQuery(1, c.name+".", dns.StringToType[c.kind], true), time.Second)
				require.NoError(t, err)
				require.Equal(t, c.rcode, dns.RcodeToString[m.Rcode])
				require.Len(t, m.Ns, 1)
				require.IsType(t, &dns.SOA{}, m.Ns[0])
			})
		})
	}
}

func TestNameThatDoesNotExistHasNoRecordsOfAnyType(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		_, s := w.resolver(Options{})
		lookupError(t, s, "A", "nothing.espra.com")
		lookupError(t, s, "TXT", "nothing.espra.com")
		require.Len(t, append(w.questions(linode), w.questions(ocean)...), 1)
	})
}

func TestEmptyAnswerIsNotKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		empty := true
		answer := linode.answer
		linode.answer = func(q *dns.Msg, tcp bool) *dns.Msg {
			if !empty {
				return answer(q, tcp)
			}
			m := new(dns.Msg)
			m.SetReply(q)
			m.Authoritative = true
			return m
		}
		ocean.answer = linode.answer
		_, s := w.resolver(Options{})
		require.True(t, lookupError(t, s, "A", "espra.com").IsNotFound)
		empty = false
		require.Len(t, lookup(t, s, "A", "espra.com"), 2)
	})
}

func TestAliasAcrossZones(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.espra()
		amazon := w.serve("192.0.2.20", zone(amazonZone))
		_, s := w.resolver(Options{})
		require.Equal(t, []string{"198.51.100.7", "198.51.100.8"}, lookup(t, s, "A", "www.espra.com"))
		require.Equal(t, []string{"us-east.elb.amazon.com. A"}, w.questions(amazon))
		require.Len(t, lookup(t, s, "A", "alias.espra.com"), 2)

		e := lookupError(t, s, "A", "loop.espra.com")
		require.True(t, e.IsTemporary)
		require.False(t, e.IsTimeout)
	})
}

func TestOneDeadServer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		linode.dead = true
		_, s := w.resolver(Options{})
		var slow int
		for range 6 {
			start := time.Now()
			require.Len(t, lookup(t, s, "A", "espra.com"), 2)
			if d := time.Since(start); d > 300*time.Millisecond {
				slow++
				require.Less(t, d, time.Second)
			}
			time.Sleep(61 * time.Second)
		}
		// It is found dead, and asked again now and then after growing pauses.
		require.LessOrEqual(t, slow, 3)
		require.Len(t, w.questions(ocean), 6)
		require.Len(t, w.questions(linode), slow)

		linode.dead, ocean.dead = false, true
		time.Sleep(61 * time.Second)
		require.Len(t, lookup(t, s, "A", "espra.com"), 2)
	})
}

func TestDeadServerIsRemembered(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		_, s := w.resolver(Options{})
		lookup(t, s, "A", "espra.com")
		lookup(t, s, "TXT", "_home.www.espra.com") // now both are known
		linode.dead = true
		time.Sleep(61 * time.Second)
		for range 20 { // names that are not in memory, so that servers are asked
			lookupError(t, s, "A", fmt.Sprintf("n%d.espra.com", time.Now().UnixNano()))
		}
		require.Less(t, len(w.questions(linode)), 4)
		require.Greater(t, len(w.questions(ocean)), 20)
	})
}

func TestFastestServerIsPreferred(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		linode.latency, ocean.latency = 5*time.Millisecond, 150*time.Millisecond
		_, s := w.resolver(Options{})
		for i := range 10 {
			lookupError(t, s, "A", fmt.Sprintf("n%d.espra.com", i))
		}
		require.Len(t, w.questions(linode), 9)
		require.Len(t, w.questions(ocean), 1)

		linode.latency, ocean.latency = 150*time.Millisecond, 5*time.Millisecond
		time.Sleep(16 * time.Minute) // then both are strangers again
		for i := range 10 {
			lookupError(t, s, "A", fmt.Sprintf("n%d.espra.com", i))
		}
		require.Len(t, w.questions(linode), 1)
	})
}

func TestSlowServersAreWaitedForAtLast(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		linode.latency, ocean.latency = 1200*time.Millisecond, 1200*time.Millisecond
		_, s := w.resolver(Options{})
		require.Len(t, lookup(t, s, "A", "espra.com"), 2)
		require.Len(t, append(w.questions(linode), w.questions(ocean)...), 3, "both in the first round, one in the last")

		time.Sleep(61 * time.Second)
		start := time.Now()
		require.Len(t, lookup(t, s, "A", "espra.com"), 2)
		require.Less(t, time.Since(start), 1700*time.Millisecond, "one of them is known to be slow by now")
	})
}

func TestAllServersDead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		linode.dead, ocean.dead = true, true
		_, s := w.resolver(Options{})
		s.Timeout = 20 * time.Second
		start := time.Now()
		e := lookupError(t, s, "A", "espra.com")
		require.True(t, e.IsTemporary)
		require.False(t, e.IsTimeout)
		require.Equal(t, "server misbehaving", e.Err)
		require.Less(t, time.Since(start), 10*time.Second+2*time.Millisecond)
		require.Greater(t, time.Since(start), 3*time.Second) // the last round waited in full

		// The failure is remembered for five seconds: nobody is asked again.
		w.questions(linode)
		linode.dead = false
		start = time.Now()
		lookupError(t, s, "A", "espra.com")
		require.Less(t, time.Since(start), 100*time.Millisecond)
		require.Empty(t, w.questions(linode))
		time.Sleep(6 * time.Second)
		require.Len(t, lookup(t, s, "A", "espra.com"), 2)
	})
}

func TestBudget(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.root.dead = true
		_, s := w.resolver(Options{Budget: 2 * time.Second})
		s.Timeout = 20 * time.Second
		start := time.Now()
		require.True(t, lookupError(t, s, "A", "espra.com").IsTemporary)
		require.Less(t, time.Since(start), 2*time.Second+10*time.Millisecond)
	})
}

func TestLameDelegation(t *testing.T) {
	refuse := func(q *dns.Msg, _ bool) *dns.Msg {
		m := new(dns.Msg)
		return m.SetRcode(q, dns.RcodeRefused)
	}
	recursor := func(q *dns.Msg, _ bool) *dns.Msg {
		m := new(dns.Msg)
		m.SetReply(q) // an answer, but not with authority
		rr, _ := dns.NewRR("espra.com. 60 A 6.6.6.6")
		m.Answer = []dns.RR{rr}
		return m
	}
	for name, lame := range map[string]func(*dns.Msg, bool) *dns.Msg{
		"refused": refuse, "not authoritative": recursor, "refers up": zone(rootZone),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve("192.0.2.11", lame)
				ocean := w.serve("192.0.2.12", zone(espraZone))
				_, s := w.resolver(Options{})
				start := time.Now()
				require.Equal(t, []string{"203.0.113.1", "203.0.113.2"}, lookup(t, s, "A", "espra.com"))
				require.Less(t, time.Since(start), time.Second, "no time is lost")
				require.Len(t, w.questions(ocean), 1)
			})
		})
	}
}

func TestTruncatedAnswerIsAskedOverTCP(t *testing.T) {
	for _, c := range []struct{ have, get int }{
		{100, 100},
		{150, 0}, // more records of one name than are believed
	} {
		t.Run(fmt.Sprint(c.have), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				list := espraZone
				for i := range c.have {
					list += fmt.Sprintf("many.espra.com. 60 TXT \"number %d of a long list\"\n", i)
				}
				linode := w.serve("192.0.2.11", zone(list))
				ocean := w.serve("192.0.2.12", zone(list))
				_, s := w.resolver(Options{})
				got, err := s.Lookup(t.Context(), "TXT", "many.espra.com")
				require.Len(t, got, c.get)
				require.Equal(t, c.get == 0, err != nil)
				asked := append(w.questions(linode), w.questions(ocean)...)
				require.Equal(t, []string{"many.espra.com. TXT", "many.espra.com. TXT tcp"}, asked[:2])
			})
		})
	}
}

func TestServerWithoutEDNS(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		answer := linode.answer
		old := func(q *dns.Msg, tcp bool) *dns.Msg {
			m := new(dns.Msg)
			if q.IsEdns0() != nil {
				m.SetRcode(q, dns.RcodeFormatError)
				m.Question = nil
				return m
			}
			m = answer(q, tcp)
			m.Extra = nil
			return m
		}
		linode.answer, ocean.answer = old, old
		_, s := w.resolver(Options{})
		require.Len(t, lookup(t, s, "A", "espra.com"), 2)
	})
}

func TestForgedAnswersAreRefused(t *testing.T) {
	evil := func(id uint16, name string) []byte {
		m := new(dns.Msg)
		m.SetReply(newQuery(id, name, dns.TypeA, false))
		m.Authoritative = true
		rr, _ := dns.NewRR(name + " 86400 A 6.6.6.6")
		m.Answer = []dns.RR{rr}
		wire, err := m.Pack()
		if err != nil {
			panic(err)
		}
		return wire
	}
	id := func(query []byte) uint16 { return uint16(query[0])<<8 | uint16(query[1]) }
	for name, forge := range map[string]func(n *network, query []byte, from, to netip.AddrPort){
		"wrong id": func(n *network, query []byte, from, to netip.AddrPort) {
			n.send(evil(id(query)+1, "espra.com."), to, from, time.Millisecond)
		},
		"other question": func(n *network, query []byte, from, to netip.AddrPort) {
			n.send(evil(id(query), "bank.com."), to, from, time.Millisecond)
		},
		"other address": func(n *network, query []byte, from, to netip.AddrPort) {
			n.send(evil(id(query), "espra.com."), netip.MustParseAddrPort("192.0.2.66:53"), from, time.Millisecond)
		},
		"garbage": func(n *network, query []byte, from, to netip.AddrPort) {
			n.send([]byte("hello"), to, from, time.Millisecond)
			n.send(append(query[:12:12], 0xff, 0xff, 0xff), to, from, time.Millisecond)
		},
		"the query itself": func(n *network, query []byte, from, to netip.AddrPort) {
			n.send(query, to, from, time.Millisecond)
		},
		"a flood": func(n *network, query []byte, from, to netip.AddrPort) {
			for i := range uint16(20) {
				n.send(evil(id(query)+1+i, "espra.com."), to, from, time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.espra()
				w.forge = func(n *network, query []byte, from, to netip.AddrPort) {
					if n.servers[to] != nil {
						forge(n, query, from, to)
					}
				}
				_, s := w.resolver(Options{})
				require.Equal(t, []string{"203.0.113.1", "203.0.113.2"}, lookup(t, s, "A", "espra.com"))
			})
		})
	}
}

func TestRecordsOutsideTheZoneAreIgnored(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.serve("192.0.2.20", zone(amazonZone))
		w.com.answer = zone(comZone + `evil.com. NS ns.evil.com.
ns.evil.com. A 192.0.2.66
bank.com. NS ns.bank.com.
ns.bank.com. A 192.0.2.30
`)
		w.serve("192.0.2.30", zone(`bank.com. SOA ns.bank.com. host. 1 1 1 1 30
www.bank.com. A 203.0.113.80
`))
		evil := w.serve("192.0.2.66", func(q *dns.Msg, _ bool) *dns.Msg {
			m := new(dns.Msg)
			m.SetReply(q)
			m.Authoritative = true
			for _, s := range []string{q.Question[0].Name + " 60 CNAME www.bank.com.", "www.bank.com. 86400 A 6.6.6.6"} {
				rr, _ := dns.NewRR(s)
				m.Answer = append(m.Answer, rr)
			}
			ns, _ := dns.NewRR("bank.com. 86400 NS ns.bank.com.")
			com, _ := dns.NewRR("com. 86400 NS ns.evil.com.")
			glue, _ := dns.NewRR("ns.bank.com. 86400 A 192.0.2.66")
			m.Ns, m.Extra = []dns.RR{ns, com}, []dns.RR{glue}
			return m
		})
		_, s := w.resolver(Options{ChildCentric: true})
		require.Equal(t, []string{"203.0.113.80"}, lookup(t, s, "A", "x.evil.com"), "the alias is believed, its target asked for")
		require.Equal(t, []string{"203.0.113.80"}, lookup(t, s, "A", "www.bank.com"))
		lookupError(t, s, "A", "other.bank.com")
		require.Equal(t, []string{"x.evil.com. A"}, w.questions(evil))
	})
}

// Two providers that each name only their own server in the zone that they
// serve: a resolver that believes the zone loses sight of the other provider.
func TestProvidersThatNameOnlyThemselves(t *testing.T) {
	own := func(keep, drop string) string {
		return strings.Replace(espraZone, "espra.com. NS "+drop+".\n", "", 1)
	}
	for _, childCentric := range []bool{false, true} {
		t.Run(fmt.Sprintf("child-centric %v", childCentric), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				linode := w.serve("192.0.2.11", zone(own("ns1.linode.com", "ns1.ocean.com")))
				ocean := w.serve("192.0.2.12", zone(own("ns1.ocean.com", "ns1.linode.com")))
				_, s := w.resolver(Options{ChildCentric: childCentric})
				lookup(t, s, "A", "espra.com")
				for i := range 6 {
					lookupError(t, s, "A", fmt.Sprintf("n%d.espra.com", i))
				}
				a, b := len(w.questions(linode)), len(w.questions(ocean))
				// One that answered the first question was then alone.
				require.Equal(t, childCentric, a == 0 || b == 0, "asked %d and %d times", a, b)

				// When the one in use dies, the zone above still knows the other.
				linode.dead = a > 0
				ocean.dead = a == 0
				w.questions(w.com)
				s.Timeout = 20 * time.Second
				lookupError(t, s, "TXT", "espra.com")
				asked := w.questions(w.com)
				require.Equal(t, childCentric, len(asked) > 0, "asked com: %v", asked)
			})
		})
	}
}

// A zone that keeps repeating its own list of servers must not outlive the
// delegation that the zone above has withdrawn ("ghost domains").
func TestDelegationEndsAlsoForTheChildCentric(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.espra()
		_, s := w.resolver(Options{ChildCentric: true, MaxTTL: 100 * time.Second})
		for range 10 {
			lookup(t, s, "A", "espra.com")
			time.Sleep(61 * time.Second)
		}
		require.Len(t, w.questions(w.com), 5)
	})
}

func TestServerNamesWithoutGlue(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.espra()
		w.root.answer = zone(rootZone + "org. NS ns1.linode.com.\n")
		w.serve("192.0.2.11", zone(espraZone, `org. SOA ns1.linode.com. host. 1 1 1 1 30
wiki.org. A 203.0.113.90
a.org. NS ns.b.org.
b.org. NS ns.a.org.
self.org. NS ns.self.org.
`, "linode.com. SOA ns1.linode.com. host. 1 1 1 1 30\nns1.linode.com. A 192.0.2.11\n"))
		_, s := w.resolver(Options{})
		require.Equal(t, []string{"203.0.113.90"}, lookup(t, s, "A", "wiki.org"))
		// Delegations that lead in a circle end at once, in an error.
		for _, name := range []string{"x.a.org", "x.self.org"} {
			start := time.Now()
			require.True(t, lookupError(t, s, "A", name).IsTemporary)
			require.Less(t, time.Since(start), time.Second)
		}
	})
}

// A zone whose servers' names lie in zones whose servers' names lie in zones:
// the queries for one question are counted.
func TestQueriesAreBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.com.answer = func(q *dns.Msg, _ bool) *dns.Msg {
			m := new(dns.Msg)
			m.SetReply(q)
			name := q.Question[0].Name
			labels := dns.SplitDomainName(name)
			cut := strings.Join(labels[len(labels)-2:], ".") + "."
			for i := range 30 {
				rr, _ := dns.NewRR(fmt.Sprintf("%s 60 NS ns.x%d%s", cut, i, cut))
				m.Ns = append(m.Ns, rr)
			}
			m.Compress = true
			return m
		}
		_, s := w.resolver(Options{})
		require.True(t, lookupError(t, s, "A", "start.com").IsTemporary)
		n := len(w.questions(w.com))
		require.LessOrEqual(t, n, 64)
		require.Greater(t, n, 10)
	})
}

func TestEqualQuestionsShareOneWalk(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		linode.latency, ocean.latency = 300*time.Millisecond, 300*time.Millisecond
		w.resolver(Options{})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				s := w.stub()
				s.Host = w.host(fmt.Sprintf("10.0.1.%d", i))
				time.Sleep(time.Duration(i) * 3 * time.Millisecond)
				addrs, err := s.LookupAddrs(t.Context(), "espra.com")
				require.NoError(t, err)
				require.Len(t, addrs, 2)
			})
		}
		wg.Wait()
		require.Len(t, w.questions(w.root), 1)
		require.Len(t, append(w.questions(linode), w.questions(ocean)...), 1)
	})
}

func TestAddressesRotate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.espra()
		w.resolver(Options{})
		first := map[netip.Addr]int{}
		for i := range 40 {
			s := w.stub()
			s.Host = w.host(fmt.Sprintf("10.0.1.%d", i))
			addrs, err := s.LookupAddrs(t.Context(), "espra.com")
			require.NoError(t, err)
			first[addrs[0]]++
		}
		require.Len(t, first, 2)
		for addr, n := range first {
			require.Greater(t, n, 8, addr)
		}
	})
}

func TestStaleAnswers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		_, s := w.resolver(Options{Stale: time.Hour})
		s.Timeout = 20 * time.Second
		lookup(t, s, "A", "espra.com")
		linode.dead, ocean.dead = true, true
		time.Sleep(2 * time.Minute)
		require.Len(t, lookup(t, s, "A", "espra.com"), 2)
		start := time.Now()
		require.Len(t, lookup(t, s, "A", "espra.com"), 2)
		require.Less(t, time.Since(start), 100*time.Millisecond, "given again without another try")
		time.Sleep(2 * time.Hour)
		lookupError(t, s, "A", "espra.com")
	})
}

// Whoever ignores times to live does so as long as it is told, also with what it
// knew before, and asks again after.
func TestAnswersThatOverstay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		linode, ocean := w.espra()
		var keeps time.Duration
		_, s := w.resolver(Options{Overstay: func(age time.Duration) bool { return age < keeps }})
		asked := func() int {
			lookup(t, s, "A", "espra.com")
			return len(w.questions(linode)) + len(w.questions(ocean))
		}
		require.Equal(t, 1, asked())
		time.Sleep(2 * time.Minute)
		keeps = 10 * time.Minute
		require.Equal(t, 0, asked(), "it had ended before")
		time.Sleep(7 * time.Minute)
		require.Equal(t, 0, asked())
		time.Sleep(2 * time.Minute)
		require.Equal(t, 1, asked())
		time.Sleep(2 * time.Minute)
		keeps = 0
		require.Equal(t, 1, asked())
	})
}

func TestMemoryIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.espra()
		r, s := w.resolver(Options{MaxEntries: 20})
		for i := range 200 {
			lookupError(t, s, "A", fmt.Sprintf("n%d.espra.com", i))
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		require.LessOrEqual(t, len(r.answers.rows), 20)
		require.Greater(t, len(r.answers.rows), 10)
	})
}

func TestWhatIsNotAnswered(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.espra()
		w.resolver(Options{})
		ask := func(change func(*dns.Msg)) int {
			q := newQuery(9, "espra.com.", dns.TypeA, true)
			change(q)
			m, err := exchange(t.Context(), w.host("10.0.0.1"), netip.MustParseAddrPort("10.0.0.53:53"), q, time.Second)
			if err != nil {
				return -1
			}
			return m.Rcode
		}
		require.Equal(t, dns.RcodeSuccess, ask(func(*dns.Msg) {}))
		require.Equal(t, dns.RcodeRefused, ask(func(q *dns.Msg) { q.RecursionDesired = false }))
		require.Equal(t, dns.RcodeNotImplemented, ask(func(q *dns.Msg) { q.Question[0].Qtype = dns.TypeANY }))
		require.Equal(t, dns.RcodeNotImplemented, ask(func(q *dns.Msg) { q.Question[0].Qtype = dns.TypeAXFR }))
		require.Equal(t, dns.RcodeNotImplemented, ask(func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS }))
		require.Equal(t, dns.RcodeBadVers, ask(func(q *dns.Msg) { q.IsEdns0().SetVersion(1) }))
		require.Equal(t, -1, ask(func(q *dns.Msg) { q.Response = true }), "answers get no answer")
	})
}

// The whole exchange over the network, byte for byte and nanosecond for
// nanosecond, is the same in each run.
func TestReplay(t *testing.T) {
	run := func() (trace []string) {
		inWorld(t, func(t *testing.T, w *world) {
			linode, _ := w.espra()
			w.serve("192.0.2.20", zone(amazonZone))
			linode.dead = true
			w.resolver(Options{})
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					s := w.stub()
					s.Host = w.host(fmt.Sprintf("10.0.1.%d", i))
					time.Sleep(time.Duration(i) * 97 * time.Microsecond)
					for j := range 3 {
						s.Lookup(t.Context(), "A", "www.espra.com")
						s.Lookup(t.Context(), "TXT", fmt.Sprintf("n%d.espra.com", (i+j)%4))
						time.Sleep(20*time.Second + time.Duration(i)*1009)
					}
				})
			}
			wg.Wait()
			for _, line := range w.trace {
				// The test network numbers ports in the order of dialling, which
				// chance decides for the clients that one answer wakes.
				f := strings.Fields(line)
				at := func(s string) string {
					ap := netip.MustParseAddrPort(s)
					if ap.Port() > 1024 {
						return ap.Addr().String()
					}
					return s
				}
				trace = append(trace, f[0]+" "+at(f[1])+" "+at(f[2])+" "+f[3])
			}
		})
		slices.Sort(trace) // within one instant the order is the network's affair
		return trace
	}
	first := run()
	require.Greater(t, len(first), 200)
	for range 5 {
		require.Empty(t, cmp.Diff(first, run()))
	}
}

func TestOptionsAreChecked(t *testing.T) {
	root := netip.MustParseAddrPort("192.0.2.1:53")
	for _, o := range []Options{
		{},
		{Roots: []netip.AddrPort{netip.MustParseAddrPort("[::1]:53")}},
		{Roots: []netip.AddrPort{root}, Stale: -1},
		{Roots: []netip.AddrPort{root}, MaxQueries: -1},
	} {
		require.Error(t, Serve(t.Context(), newNetwork().host("10.0.0.53"), o))
	}
}

type deafHost struct{ memHost }

func (deafHost) ListenPacket(_, _ string) (net.PacketConn, error) { return nil, errors.New("no") }

func TestServeTellsWhyItCannot(t *testing.T) {
	root := netip.MustParseAddrPort("192.0.2.1:53")
	err := Serve(t.Context(), deafHost{newNetwork().host("10.0.0.53")}, Options{Roots: []netip.AddrPort{root}})
	require.ErrorContains(t, err, "listen for datagrams: no")
}

func TestStub(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		second := netip.MustParseAddrPort("10.0.0.54:53")
		s := w.stub() // nobody answers there
		start := time.Now()
		e := lookupError(t, s, "A", "espra.com")
		require.True(t, e.IsTimeout)
		require.True(t, e.IsTemporary)
		require.False(t, e.IsNotFound)
		require.InDelta(t, 10*time.Second, time.Since(start), float64(5*time.Millisecond))

		linode := w.serve("10.0.0.54", func(q *dns.Msg, _ bool) *dns.Msg {
			m := new(dns.Msg)
			return m.SetRcode(q, dns.RcodeServerFailure)
		})
		s.Servers = append(s.Servers, second)
		e = lookupError(t, s, "A", "espra.com")
		require.True(t, e.IsTemporary)
		require.False(t, e.IsTimeout)
		require.Equal(t, second.String(), e.Server)
		require.Len(t, w.questions(linode), 2)

		linode.answer = zone("com. SOA a. b. 1 1 1 1 1\nespra.com. A 203.0.113.1\n")
		require.Equal(t, []string{"203.0.113.1"}, lookup(t, s, "A", "espra.com"))
		require.Equal(t, []string{"127.0.0.1"}, lookup(t, s, "A", "localhost"))
		addrs, err := s.LookupAddrs(t.Context(), "203.0.113.9")
		require.NoError(t, err)
		require.Equal(t, []netip.Addr{netip.MustParseAddr("203.0.113.9")}, addrs)

		for _, bad := range []string{"", "a..b", strings.Repeat("a", 64) + ".com", strings.Repeat("abcdefg.", 40) + "com"} {
			require.True(t, lookupError(t, s, "A", bad).IsNotFound, bad)
		}
		e = lookupError(t, s, "MX", "espra.com")
		require.False(t, e.IsNotFound || e.IsTemporary)
		e = lookupError(t, Stub{Host: s.Host}, "A", "espra.com")
		require.True(t, e.IsTemporary)

		linode.dead = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		_, err = s.Lookup(ctx, "A", "espra.com")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		synctest.Wait()
	})
}
