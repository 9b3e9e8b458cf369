package oracle_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
)

const (
	usHost = "us-1.live.espra.com"
	www    = "www.espra.com"
	us1    = "us-east-1-0123456789abcdef"
	eu2    = "eu-west-2-fedcba9876543210"
	us3    = "us-east-3-1111111111111111"
	usLB   = "us-east.elb.amazonaws.com"
	euLB   = "eu-west.elb.amazonaws.com"
	down   = "ESPRA DOWN us-east since 14:05:02Z"
	clear  = "ESPRA OK us-east, traffic home"
)

var (
	lost = oracle.Fault{ID: "us-east-lost", Region: "us-east", From: 5 * time.Minute, Until: 20 * time.Minute}
	dns  = oracle.Names{
		Watched:     []string{usHost},
		Targets:     map[string]string{usLB: "us-east", euLB: "eu-west", "192.0.2.1": ""},
		Propagation: 30 * time.Second,
	}
)

func sec(s int) time.Duration { return time.Duration(s) * time.Second }

func pos(incarnation string, offset uint64) oracle.Position {
	return oracle.Position{Incarnation: incarnation, Offset: offset}
}

// tunnel writes the events of one client's tunnel.
type tunnel struct {
	client string
	events []oracle.Stream
}

func client(name string) *tunnel { return &tunnel{client: name} }

func (c *tunnel) add(at int, e oracle.Stream) *tunnel {
	e.At, e.Client, e.Host, e.Key, e.Seq = sec(at), c.client, usHost, "k", uint64(len(c.events))
	c.events = append(c.events, e)
	return c
}

func (c *tunnel) up(at int) *tunnel {
	return c.add(at, oracle.Stream{Kind: oracle.Connected, Latency: 50 * time.Millisecond})
}
func (c *tunnel) cut(at int, why string) *tunnel {
	return c.add(at, oracle.Stream{Kind: oracle.Disconnected, Why: why})
}
func (c *tunnel) closed(at, code int) *tunnel {
	return c.add(at, oracle.Stream{Kind: oracle.Disconnected, Code: code, Why: fmt.Sprint("closed ", code)})
}
func (c *tunnel) refused(at int, why string) *tunnel {
	return c.add(at, oracle.Stream{Kind: oracle.Refused, Why: why})
}
func (c *tunnel) sub(at int, how string, p oracle.Position) *tunnel {
	return c.add(at, oracle.Stream{Kind: oracle.Subscribed, Channel: "c", Recovered: how, Position: p})
}
func (c *tunnel) hear(at int, p oracle.Position, data string) *tunnel {
	return c.add(at, oracle.Stream{Kind: oracle.Message, Channel: "c", Position: p, Data: data})
}

func published(at int, p oracle.Position, data string) oracle.Publish {
	return oracle.Publish{At: sec(at), Client: "pub", Host: usHost, Key: "k", Channel: "c", Data: data, Outcome: oracle.OK, Position: p, Latency: 80 * time.Millisecond}
}

func page(at int, client, failure string) oracle.Page {
	p := oracle.Page{At: sec(at), Client: client, Host: "espra.com", Outcome: oracle.OK, Latency: 90 * time.Millisecond, Answered: true}
	if failure != "" {
		p.Outcome, p.Error, p.Answered, p.Latency = oracle.Failed, failure, false, 10*time.Second
	}
	return p
}

func served(at int, authority, name, home string, targets ...string) oracle.Served {
	return oracle.Served{At: sec(at), Provider: authority[:1], Authority: authority, Name: name, Home: home, Targets: targets}
}

func history(lasts int, tunnels ...*tunnel) oracle.History {
	h := oracle.History{Lasts: sec(lasts), Faults: []oracle.Fault{lost}}
	for _, t := range tunnels {
		h.Streams = append(h.Streams, t.events...)
	}
	h.Sort()
	return h
}

// failover is a good history: lost at 5:00, moved by 5:52, home at 30:49.
func failover() oracle.History {
	h := history(2100,
		client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).hear(2, pos(us1, 5), "m5").cut(330, "silent").
			refused(340, "dial timeout").up(360).sub(360, oracle.Gap, pos(eu2, 0)).hear(370, pos(eu2, 1), "n1").
			closed(1860, 4001).up(1862).sub(1862, oracle.Gap, pos(us3, 0)),
		client("ben").up(1).sub(1, oracle.Fresh, pos(us1, 5)).cut(330, "silent").
			up(350).sub(350, oracle.Gap, pos(eu2, 0)).hear(370, pos(eu2, 1), "n1").
			closed(1861, 4001).up(1863).sub(1863, oracle.Gap, pos(us3, 0)),
	)
	h.Pages = []oracle.Page{page(10, "anna", ""), page(15, "ben", ""), page(310, "anna", "timeout"), page(315, "ben", "timeout"), page(355, "anna", ""), page(362, "ben", "")}
	h.Publishes = []oracle.Publish{published(2, pos(us1, 5), "m5"), published(370, pos(eu2, 1), "n1")}
	h.Notices = []oracle.Notice{{At: sec(332), Region: "us-east", By: "fremont"}, {At: sec(1232), Region: "us-east", Up: true, By: "fremont"}}
	for _, to := range []string{"ana", "raj"} {
		h.Texts = append(h.Texts, oracle.Text{At: sec(333), Provider: "twilio", To: to, Body: down}, oracle.Text{At: sec(1985), Provider: "twilio", To: to, Body: clear})
	}
	h.Served = []oracle.Served{
		served(0, "linode-1", usHost, "us-east", usLB), served(0, "ocean-1", usHost, "us-east", usLB),
		served(341, "linode-1", usHost, "eu-west", euLB), served(352, "ocean-1", usHost, "eu-west", euLB),
		served(1840, "linode-1", usHost, "us-east", usLB), served(1849, "ocean-1", usHost, "us-east", usLB),
	}
	h.Sort()
	return h
}

var paging = oracle.Paging{Admins: []string{"ana", "raj"}, From: lost.From, Until: sec(2100), Each: oracle.Range{Min: 1, Max: 2}, AllClear: oracle.Range{Min: 1, Max: 1}}

// judgement is one oracle with its settings.
type judgement = func(oracle.History) oracle.Verdict

func all() map[string]judgement {
	return map[string]judgement{
		"live-streams":         oracle.LiveStreams,
		"dns-points-somewhere": func(h oracle.History) oracle.Verdict { return oracle.DNSPointsSomewhere(h, dns) },
		"detected":             func(h oracle.History) oracle.Verdict { return oracle.Detected(h, lost, sec(60)) },
		"dns-moved":            func(h oracle.History) oracle.Verdict { return oracle.DNSMoved(h, lost, dns, sec(120)) },
		"clients-recovered":    func(h oracle.History) oracle.Verdict { return oracle.ClientsRecovered(h, lost, 9900, sec(300)) },
		"pages":                func(h oracle.History) oracle.Verdict { return oracle.Pages(h, paging) },
		"tunnels-kept":         func(h oracle.History) oracle.Verdict { return oracle.TunnelsKept(h, lost, 5000, sec(20)) },
		"reconnects-spread":    func(h oracle.History) oracle.Verdict { return oracle.ReconnectsSpread(h, lost, 5000, sec(1)) },
		"superseded-owners":    func(h oracle.History) oracle.Verdict { return oracle.SupersededOwners(h, lost, sec(60)) },
		"home":                 func(h oracle.History) oracle.Verdict { return oracle.Home(h, lost, dns, sec(600), sec(900)) },
		"moves":                func(h oracle.History) oracle.Verdict { return oracle.Moves(h, dns, oracle.Range{Min: 2, Max: 2}) },
		"reconnected":          func(h oracle.History) oracle.Verdict { return oracle.Reconnected(h, sec(120)) },
		"sent-away":            func(h oracle.History) oracle.Verdict { return oracle.SentAway(h, oracle.Range{Min: 1, Max: 1}) },
		"availability":         func(h oracle.History) oracle.Verdict { return oracle.Availability(h, usHost, 3333, sec(60)) },
		"answered-in-time":     func(h oracle.History) oracle.Verdict { return oracle.AnsweredInTime(h, "espra.com", sec(60)) },
		"apex-answers":         func(h oracle.History) oracle.Verdict { return oracle.ApexAnswers(h, "espra.com", 6000) },
	}
}

func TestGoodHistory(t *testing.T) {
	want := map[string]oracle.Verdict{
		"live-streams":         {Name: "silent gaps or duplicates", Measured: "0", Budget: "0", Judged: 9},
		"dns-points-somewhere": {Name: "names that point nowhere", Measured: "0", Budget: "0", Judged: 6},
		"detected":             {Name: "outage detected", Measured: "32 s", Budget: "1m", Judged: 1},
		"dns-moved":            {Name: "DNS moved at both providers", Measured: "52 s", Budget: "2m", Judged: 2},
		"clients-recovered":    {Name: "99 % of clients recovered", Measured: "1m02s", Budget: "5m", Judged: 2},
		"pages":                {Name: "pages to each admin", Measured: "1, all-clear 1", Budget: "1-2, all-clear 1", Judged: 2},
		"tunnels-kept":         {Name: "tunnels kept, for 20 s", Measured: "100 %", Budget: "50 %", Judged: 2},
		"reconnects-spread":    {Name: "tunnels tried within 1 s, of all", Measured: "50 %", Budget: "50 %", Judged: 5},
		"superseded-owners":    {Name: "on a superseded owner, 1m on", Measured: "0", Budget: "0", Judged: 4},
		"home":                 {Name: "home after us-east healed", Measured: "11m03s", Budget: "15m", Judged: 4},
		"moves":                {Name: "moves of each name", Measured: "2", Budget: "2", Judged: 2},
		"reconnected":          {Name: "longest that a tunnel was away", Measured: "30 s", Budget: "2m", Judged: 4},
		"sent-away":            {Name: "times a tunnel is sent away", Measured: "1", Budget: "1", Judged: 2},
		"availability":         {Name: "requests answered by " + usHost + ", each 1m", Measured: "66.66 %", Budget: "33.33 %", Judged: 9},
		"answered-in-time":     {Name: "longest wait for an answer of espra.com", Measured: "57 s", Budget: "1m", Judged: 6},
		"apex-answers":         {Name: "espra.com answers", Measured: "66.66 %", Budget: "60 %", Judged: 6},
	}
	for name, judge := range all() {
		t.Run(name, func(t *testing.T) {
			w := want[name]
			w.OK = true
			require.Empty(t, cmp.Diff(w, judge(failover())))
		})
	}
}

func TestNothingToJudgeIsAFailure(t *testing.T) {
	empty := oracle.History{Lasts: sec(2100)}
	everything := all()
	everything["nobody-paged"] = func(h oracle.History) oracle.Verdict { return oracle.NobodyPaged(h, oracle.Peace{}) }
	everything["pages"] = func(h oracle.History) oracle.Verdict { return oracle.Pages(h, oracle.Paging{Until: sec(9)}) }
	for name, judge := range everything {
		t.Run(name, func(t *testing.T) {
			v := judge(empty)
			require.Zero(t, v.Judged)
			require.False(t, v.OK)
			require.NotEmpty(t, v.First)
			require.NotEmpty(t, v.Budget)
		})
	}
}

func TestBadHistories(t *testing.T) {
	streams := func(tunnels ...*tunnel) func(*oracle.History) {
		return func(h *oracle.History) { h.Streams, h.Publishes = history(2100, tunnels...).Streams, nil }
	}
	cases := []struct {
		oracle, story string
		spoil         func(*oracle.History)
		measured      string
		first         string
	}{
		{"live-streams", "a duplicate", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).hear(2, pos(us1, 5), "m5").hear(3, pos(us1, 5), "m5")),
			"1", "anna at 0:03 heard offset 5 of channel c again"},
		{"live-streams", "a message published twice", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).hear(2, pos(us1, 5), "m5").hear(3, pos(us1, 6), "m5")),
			"1", `anna at 0:03 heard "m5" of channel c again, at offset 6 of ` + us1},
		{"live-streams", "a silent gap", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).hear(2, pos(us1, 6), "m6")),
			"1", "anna at 0:02, channel c jumped from offset 4 to 6"},
		{"live-streams", "a new incarnation unannounced", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).hear(2, pos(eu2, 5), "x")),
			"1", "anna at 0:02, channel c went from " + us1 + " to " + eu2 + " unannounced"},
		{"live-streams", "nothing missed, in another incarnation", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).cut(2, "reset").up(3).sub(3, oracle.NothingMissed, pos(eu2, 4))),
			"1", "anna at 0:03, channel c: answered nothing-missed in another incarnation, " + eu2},
		{"live-streams", "a replay that skips", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).cut(2, "reset").up(3).sub(3, oracle.Replay, pos(us1, 5))),
			"1", "anna at 0:03, channel c: answered replay from offset 5, but it had heard up to 4"},
		{"live-streams", "a replay to somebody new", streams(client("anna").up(1).sub(1, oracle.Replay, pos(us1, 5))),
			"1", "anna at 0:01, channel c: answered replay though it had no position"},
		{"live-streams", "offsets used again", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).cut(2, "reset").up(3).sub(3, oracle.Gap, pos(us1, 2))),
			"1", "anna at 0:03, channel c: told a gap, but the offset went back from 4 to 2"},
		{"live-streams", "fresh hides a gap", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).cut(2, "reset").up(3).sub(3, oracle.Fresh, pos(us1, 6))),
			"1", "anna at 0:03, channel c: answered fresh in the incarnation that it knew, from another offset"},
		{"live-streams", "a meaningless answer", streams(client("anna").up(1).sub(1, "", pos(us1, 4))),
			"1", `anna at 0:01, channel c: answered "", which means nothing`},
		{"live-streams", "a message before the subscription is renewed", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).cut(2, "reset").up(3).hear(3, pos(us1, 5), "m5")),
			"1", "anna at 0:03 heard channel c without a subscription"},
		{"live-streams", "two messages at one offset", streams(
			client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).hear(2, pos(us1, 5), "m5"),
			client("ben").up(1).sub(1, oracle.Fresh, pos(us1, 4)).hear(3, pos(us1, 5), "other")),
			"1", "ben at 0:03, offset 5 of c in " + us1 + ` is "other" for it and "m5" for another`},
		{"live-streams", "what failed for certain is heard", func(h *oracle.History) {
			h.Streams = history(2100, client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).hear(2, pos(us1, 5), "m5")).Streams
			h.Publishes = []oracle.Publish{{At: sec(3), Client: "pub", Host: usHost, Key: "k", Channel: "c", Data: "m5", Outcome: oracle.Failed, Error: "status 503"}}
		}, "1", `anna at 0:02 heard "m5" of channel c, which failed for pub at 0:03, status 503`},
		{"live-streams", "an acknowledged message never arrives", func(h *oracle.History) {
			h.Streams = history(2100, client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4))).Streams
		},
			"1", `anna at 1:32 had not heard "m5", offset 5 of channel c, acknowledged at 0:02`},
		{"live-streams", "an acknowledged message arrives late, on a tunnel that stands", func(h *oracle.History) {
			h.Streams = history(2100, client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).hear(93, pos(us1, 5), "m5")).Streams
		},
			"1", `anna at 1:32 had not heard "m5", offset 5 of channel c, acknowledged at 0:02`},

		{"dns-points-somewhere", "an empty answer", func(h *oracle.History) { h.Served[2].Targets = nil },
			"1", "l at 5:41, linode-1 gives nothing for " + usHost},
		{"dns-points-somewhere", "an unchecked target", func(h *oracle.History) { h.Served[2].Targets = []string{"203.0.113.9"} },
			"1", "l at 5:41, linode-1 points " + usHost + " at 203.0.113.9, which nobody checks"},
		{"dns-points-somewhere", "back to a region known to be down", func(h *oracle.History) { h.Served[4].At, h.Served[5].At = sec(900), sec(901) },
			"2", "l at 15:00, linode-1 moved " + usHost + " to " + usLB + ", known to be down"},
		{"dns-points-somewhere", "a name that one authority lacks", func(h *oracle.History) { h.Served = append(h.Served, served(0, "ocean-2", www, "us-east", usLB)) },
			"1", "o at 0:00, ocean-2 gives nothing for " + usHost},

		{"detected", "too late", func(h *oracle.History) { h.Notices[0].At = sec(400) },
			"1m40s", "nobody at 6:00 held us-east to be down; fremont did at 6:40"},
		{"detected", "never", func(h *oracle.History) { h.Notices = nil }, "never", "nobody at 6:00 held us-east to be down"},

		{"dns-moved", "too late at one provider", func(h *oracle.History) { h.Served[3].At = sec(421) },
			"2m01s", "o at 7:00, ocean-1 still had " + usHost + " in us-east; it moved at 7:01"},
		{"dns-moved", "never at one provider", func(h *oracle.History) { h.Served = append(h.Served[:3:3], h.Served[4]) },
			"never (1 of 2)", "o at 7:00, ocean-1 still has " + usHost + " in us-east"},
		{"dns-moved", "the home record moves but not the address", func(h *oracle.History) { h.Served[2].Targets, h.Served[3].Targets = []string{usLB}, []string{usLB} },
			"never (0 of 2)", "l at 7:00, linode-1 still has " + usHost + " in us-east"},

		{"clients-recovered", "one never loads again", func(h *oracle.History) { h.Pages = append(h.Pages[:5:5], page(362, "ben", "dial timeout")) },
			"never (1 of 2)", "ben at 10:00, dial timeout"},
		{"clients-recovered", "one connects too late", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).cut(330, "silent").refused(500, "refused").up(700).sub(700, oracle.Gap, pos(eu2, 0))),
			"6m40s", "anna at 10:00, refused"},
		{"clients-recovered", "one is connected but not subscribed", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).cut(330, "silent").up(360)),
			"never (1 of 2)", "anna at 10:00, silent"},
		{"clients-recovered", "a publisher is refused for too long", func(h *oracle.History) {
			for _, at := range []int{310, 590, 610} {
				h.Publishes = append(h.Publishes, oracle.Publish{At: sec(at), Client: "pub", Host: usHost, Key: "k", Channel: "c", Outcome: oracle.Failed, Error: "status 421"})
			}
			h.Publishes = append(h.Publishes, published(620, pos(eu2, 1), "n2"))
			h.Sort()
		}, "5m20s", "pub at 10:00, status 421"},

		{"pages", "one page too few", func(h *oracle.History) { h.Texts = h.Texts[1:] }, "0-1, all-clear 1", "ana by 35:00 had 0 of 1 pages"},
		{"pages", "too many", func(h *oracle.History) {
			for _, at := range []int{400, 500} {
				h.Texts = append(h.Texts, oracle.Text{At: sec(at), To: "raj", Body: down})
			}
			h.Sort()
		}, "1-3, all-clear 1", `raj at 8:20 was sent one too many: "` + down + `"`},
		{"pages", "no all-clear", func(h *oracle.History) { h.Texts = h.Texts[:2] }, "1, all-clear 0", "ana by 35:00 had 0 of 1 all-clears"},
		{"pages", "a false alarm before", func(h *oracle.History) {
			h.Texts = append([]oracle.Text{{At: sec(60), Provider: "twilio", To: "ana", Body: down}}, h.Texts...)
		}, "1, all-clear 1", `ana at 1:00 was sent "` + down + `" before anything was broken`},
		{"pages", "to a stranger", func(h *oracle.History) { h.Texts[0].To = "eve" }, "0-1, all-clear 1", `eve at 5:33 is no admin, but was sent "` + down + `"`},

		{"superseded-owners", "a tunnel outlives the healing", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 5))),
			"1", "anna at 21:00 is on " + us1 + " of " + usHost + ", at home in eu-west since 5:52"},
		{"superseded-owners", "two owners in one region", streams(
			client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 5)).cut(330, "reset").up(1864).sub(1864, oracle.Gap, pos(us3, 0)),
			client("ben").up(1862).sub(1862, oracle.Fresh, pos("us-east-2-2222222222222222", 0))),
			"1", "ben at 32:04 is on us-east-2-2222222222222222 of " + usHost + ", anna on " + us3 + " since 31:04"},
		{"superseded-owners", "a tunnel outlives the return home", streams(client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 5)).cut(330, "silent").up(350).sub(350, oracle.Gap, pos(eu2, 0))),
			"1", "anna at 31:49 is on " + eu2 + " of " + usHost + ", at home in us-east since 30:49"},
		{"superseded-owners", "the owner before is the owner again", streams(
			client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 5)).cut(330, "silent").up(1862).sub(1862, oracle.NothingMissed, pos(us1, 5))),
			"1", "anna at 31:02 is on " + us1 + " of " + usHost + ", which left it for eu-west at 5:52"},
		{"superseded-owners", "nobody listened to the owner before, but it was published to", func(h *oracle.History) {
			h.Streams = history(2100, client("anna").up(1862).sub(1862, oracle.Fresh, pos(us1, 5))).Streams
		}, "1", "anna at 31:02 is on " + us1 + " of " + usHost + ", which left it for eu-west at 5:52"},

		{"superseded-owners", "what is published goes to another owner", func(h *oracle.History) {
			h.Streams = history(2100, client("anna").up(1862).sub(1862, oracle.Fresh, pos(us3, 5))).Streams
			h.Publishes = []oracle.Publish{published(1863, pos("us-east-2-2222222222222222", 1), "x"), published(1930, pos("us-east-2-2222222222222222", 2), "y")}
		}, "1", "anna at 32:10 is on " + us3 + " of " + usHost + ", pub publishes to us-east-2-2222222222222222 since 31:03"},
		{"superseded-owners", "what was published to another owner is never heard of", func(h *oracle.History) {
			h.Streams = history(2100, client("anna").up(1862).sub(1862, oracle.Fresh, pos(us3, 5))).Streams
			h.Publishes = []oracle.Publish{published(1863, pos("us-east-2-2222222222222222", 1), "x"), published(1930, pos(us3, 6), "y")}
		}, "1", "anna at 32:03 is on " + us3 + " of " + usHost + " still, pub published to us-east-2-2222222222222222 at 31:03"},

		{"tunnels-kept", "both are cut soon", func(h *oracle.History) {
			h.Streams = history(2100, client("anna").up(1).cut(302, "closed 4001").up(303), client("ben").up(2).cut(319, "reset"), client("zoe").up(3).cut(310, oracle.Stopped)).Streams
		}, "33.33 %", "anna at 5:02, closed 4001; 2 of 3 were cut by 5:20"},

		{"reconnects-spread", "both come back at once", func(h *oracle.History) {
			h.Streams = history(2100, client("anna").up(1).cut(302, "closed 1012").up(304), client("ben").up(2).cut(302, "closed 1012").refused(304, "refused").up(306),
				client("zoe").up(3).cut(299, "closed 1012").up(400)).Streams
		}, "100 %", "2 attempts in the 1 s until 5:04, of 2 tunnels that were open"},
		{"reconnects-spread", "those who come for the first time count, too", streams(client("anna").up(1), client("ben").up(302), client("zoe").up(303)),
			"100 %", "1 attempts in the 1 s until 5:01, of 1 tunnels that were open"},

		{"reconnected", "one takes its time", streams(
			client("anna").up(1).cut(302, "reset").up(423), client("ben").up(1).cut(302, "reset").up(304).cut(2000, "reset"), client("zoe").up(1).cut(9, oracle.Stopped)),
			"2m01s", "anna at 7:02 is not back since 5:02, reset"},
		{"reconnected", "one never comes back", streams(client("anna").up(1).cut(302, "reset"), client("ben").up(1).cut(302, "reset").refused(304, "refused").up(306)),
			"29m58s", "anna at 7:02 is not back since 5:02, reset"},

		{"sent-away", "one is sent there and back", streams(
			client("anna").up(1).closed(330, 4001).up(332).closed(340, 4001).up(342), client("ben").up(1).closed(332, 4001).up(334).closed(350, 1012)),
			"1-2", "anna at 5:40 is sent away for the 2. time"},
		{"sent-away", "one is never told", streams(client("anna").up(1).closed(330, 4001).up(332), client("ben").up(1).cut(332, "silent"), client("zoe").refused(1, "refused")),
			"0-1", "ben by 35:00 was sent away 0 times"},

		{"home", "one provider never returns", func(h *oracle.History) { h.Served = h.Served[:5] },
			"never (3 of 4)", "o at 35:00, ocean-1 does not have " + usHost + " in us-east"},
		{"home", "names return too late", func(h *oracle.History) { h.Served[5].At = sec(2101) },
			"15m01s", "o at 35:00, ocean-1 does not have " + usHost + " in us-east; that came at 35:01"},
		{"home", "names return before the hold-down is over", func(h *oracle.History) { h.Served[4].At = sec(1799) },
			"11m03s", "l at 29:59, linode-1 has " + usHost + " in us-east already"},

		{"moves", "a name never returns", func(h *oracle.History) { h.Served = h.Served[:4] },
			"1", usHost + " by 35:00 has moved 1 times"},
		{"moves", "a name goes away again at one provider", func(h *oracle.History) {
			h.Served = append(h.Served, served(1900, "ocean-1", usHost, "eu-west", euLB))
		}, "3", "o at 31:40, ocean-1 has " + usHost + " in eu-west, epoch 0"},
		{"moves", "epochs grow, and no server shows it for long", func(h *oracle.History) {
			h.Served[0].Epoch, h.Served[5].Epoch = 1, 4
		}, "3", "o at 30:49, ocean-1 has " + usHost + " in us-east, epoch 4"},

		{"home", "a client stays away", streams(client("anna").up(350).sub(350, oracle.Fresh, pos(eu2, 0))),
			"never (2 of 3)", "anna at 35:00 is not served from us-east"},

		{"availability", "two of three fail in a window", streams(client("anna").refused(61, "reset").refused(70, "refused").up(80).up(200)),
			"33.33 %", ""},
		{"availability", "all fail in a window", streams(client("anna").refused(61, "reset").up(200)),
			"0 %", "anna at 1:01, reset; 1 of 1 failed between 1:00 and 2:00"},
		{"availability", "an unknown end is no answer", func(h *oracle.History) {
			h.Publishes[0].Outcome, h.Publishes[0].Error, h.Streams = oracle.Unknown, "timeout", nil
		}, "0 %", "pub at 0:01, timeout; 1 of 1 failed between 0:00 and 1:00"},
		{"availability", "a client that is stopped says nothing", func(h *oracle.History) {
			h.Publishes[0].Outcome, h.Publishes[0].Error, h.Streams = oracle.Unknown, oracle.Stopped, nil
		}, "100 %", ""},

		{"answered-in-time", "nobody answers again", func(h *oracle.History) {
			h.Pages = append(h.Pages[:4], page(335, "anna", "dial timeout"), page(362, "anna", "timeout"))
		}, "1m02s", "anna at 6:00, no answer since 5:00, timeout"},
		{"answered-in-time", "refusals are answers", func(h *oracle.History) {
			h.Pages = append(h.Pages[:4], page(335, "anna", "status 503"), page(380, "anna", "refused"))
		}, "35 s", ""},
		{"answered-in-time", "an answer comes late", func(h *oracle.History) { h.Pages[0].Latency = sec(61); h.Pages[0].At = sec(62) },
			"1m01s", "anna at 1:01, no answer since 0:01"},
		{"answered-in-time", "nobody asks", func(h *oracle.History) { h.Pages = nil },
			"no requests", "nothing was observed that this expectation could judge"},

		{"apex-answers", "the apex is silent", func(h *oracle.History) {
			for i := range h.Pages {
				h.Pages[i].Answered = i == 0
			}
		}, "16.66 %", "ben at 0:15, "},
	}
	for _, c := range cases {
		t.Run(c.oracle+"/"+c.story, func(t *testing.T) {
			h := failover()
			c.spoil(&h)
			v := all()[c.oracle](h)
			require.Equal(t, c.measured, v.Measured)
			require.Equal(t, c.first, v.First)
			require.Equal(t, c.first == "", v.OK)
		})
	}
}

func TestNobodyPaged(t *testing.T) {
	p := oracle.Peace{Admins: []string{"ana", "raj"}, Vantages: []string{"fremont", "london"}, Regions: []string{"us-east"},
		Watching: []string{"london"}, Pause: sec(30)}
	h := oracle.History{
		Lasts:   sec(60),
		Watches: []oracle.Watch{{At: sec(33), Vantage: "fremont", Region: "us-east"}, {At: sec(34), Vantage: "london", Region: "us-east"}},
		Looks:   []oracle.Look{{At: sec(10), Vantage: "fremont"}, {At: sec(11), Vantage: "london"}, {At: sec(30), Vantage: "london"}},
	}
	require.Equal(t, oracle.Verdict{Name: "texts to anybody", Measured: "0", Budget: "0", Judged: 2, OK: true}, oracle.NobodyPaged(h, p))
	p.Watching = p.Vantages
	require.Equal(t, "fremont at 0:10 looked around for the last time", oracle.NobodyPaged(h, p).First)
	p.Watching, h.Watches = nil, h.Watches[:1]
	require.Equal(t, "london until 1:00 never judged us-east", oracle.NobodyPaged(h, p).First)
	v := oracle.NobodyPaged(failover(), oracle.Peace{Admins: p.Admins})
	require.False(t, v.OK)
	require.Equal(t, "4", v.Measured)
	require.Equal(t, `ana at 5:33 was sent "`+down+`"`, v.First)
}

func TestReplayGoesOnExactly(t *testing.T) {
	h := history(2100, client("anna").up(1).sub(1, oracle.Fresh, pos(us1, 4)).hear(2, pos(us1, 5), "m5").cut(3, "reset").
		up(5).sub(5, oracle.Replay, pos(us1, 5)).hear(5, pos(us1, 6), "m6").hear(5, pos(us1, 7), "m7").
		cut(6, "closed 4000").up(7).sub(7, oracle.NothingMissed, pos(us1, 7)))
	h.Publishes = []oracle.Publish{published(4, pos(us1, 6), "m6"), published(4, pos(us1, 7), "m7")}
	v := oracle.LiveStreams(h)
	require.True(t, v.OK, v.First)
	require.Equal(t, 6, v.Judged)
}

func TestWhatClientsSaw(t *testing.T) {
	h := failover()
	got := oracle.Seen(h, []oracle.Window{{0, sec(300)}, {sec(300), sec(400)}, {sec(400), sec(1200)}, {sec(1200), sec(2100)}})
	for i := range got {
		got[i].Window = oracle.Window{}
	}
	require.Empty(t, cmp.Diff([]oracle.Row{
		{Requests: 5, OK: 10000, P99: 90 * time.Millisecond, Streams: "no gap"},
		{Requests: 8, OK: 6250, P99: 10 * time.Second, Streams: `2 cut; resumed: 2 told "gap"`},
		{Requests: 0, OK: 10000, Streams: "no gap"},
		{Requests: 2, OK: 10000, P99: 50 * time.Millisecond, Streams: `2 cut; resumed: 2 told "gap"`},
	}, got))
}

func TestEqualHistoriesInAnyOrderSortAlike(t *testing.T) {
	a, b := failover(), failover()
	for i, j := 0, len(b.Streams)-1; i < j; i, j = i+1, j-1 {
		b.Streams[i], b.Streams[j] = b.Streams[j], b.Streams[i]
	}
	b.Sort()
	require.Empty(t, cmp.Diff(a, b))
}

func TestSpan(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"92 ms": 92 * time.Millisecond, "3.2 s": 3250 * time.Millisecond, "3 s": sec(3), "32 s": sec(32) + 7, "1m49s": sec(109),
		"5m": sec(300) + 900*time.Millisecond, "13m05s": sec(785), "1h05m": sec(3901), "0 ms": 0,
	} {
		require.Equal(t, want, oracle.Span(d))
	}
	require.Equal(t, "1:05:32", oracle.Offset(sec(3932)))
	require.Equal(t, "-0:05", oracle.Offset(sec(-5)))
}
