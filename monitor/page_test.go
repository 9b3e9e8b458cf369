package monitor

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/sms"
)

const ana = "+15550000001"

// lose takes a region away, with what depends on it.
func (w *world) lose(region string) { w.down[region+"-web"], w.down["www"] = true, region == "us-east" }

func (w *world) heal() { clear(w.down) }

func TestProvidersInTurn(t *testing.T) {
	unclear := sms.Outcome(sms.Unknown)
	for _, c := range []struct {
		name     string
		answer   map[string]sms.Outcome
		delivery map[string]sms.Delivery
		want     []string // providers that got a text to ana
	}{
		{"the first takes it", nil, nil, []string{"twilio"}},
		{"the first refuses", map[string]sms.Outcome{"twilio": sms.Refused}, nil, []string{"sns-eu-west-1"}},
		{"the first does not answer", map[string]sms.Outcome{"twilio": unclear}, nil, []string{"twilio", "sns-eu-west-1"}},
		{"the first loses it", nil, map[string]sms.Delivery{"twilio": sms.Failed}, []string{"twilio", "sns-eu-west-1"}},
		{"the first takes too long", nil, map[string]sms.Delivery{"twilio": sms.Underway}, []string{"twilio", "sns-eu-west-1"}},
		{"the first does not tell", nil, map[string]sms.Delivery{"twilio": sms.Unknown}, []string{"twilio"}},
		{"only the one in the lost region is left", map[string]sms.Outcome{"twilio": sms.Refused, "sns-eu-west-1": sms.Refused}, nil, []string{"sns-us-east-1"}},
		{"nobody answers", map[string]sms.Outcome{"twilio": unclear, "sns-eu-west-1": unclear, "sns-us-east-1": unclear}, nil,
			[]string{"twilio", "sns-eu-west-1"}}, // at most twice
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.gateway.answer = func(p string) sms.Outcome {
				if o, ok := c.answer[p]; ok {
					return o
				}
				return sms.Accepted
			}
			w.gateway.delivery = func(p string) sms.Delivery {
				if d, ok := c.delivery[p]; ok {
					return d
				}
				return sms.Delivered
			}
			w.run(2 * time.Minute)
			w.lose("us-east")
			w.run(20 * time.Minute)
			var got []string
			for _, text := range w.gateway.to(ana, "ESPRA DOWN") {
				provider, _, _ := cutSpace(text)
				got = append(got, provider)
			}
			require.Equal(t, c.want, got)
			require.Len(t, w.gateway.to(ana, ""), len(c.want), "and nothing else")
		})
	}
}

// Two copies may have been sent of a text that nobody answered. What became of
// them is looked up: what was taken is not sent again, and what was not is, as
// soon as that is known.
func TestUnknownIsLookedUp(t *testing.T) {
	for outcome, want := range map[sms.Outcome]int{sms.Unknown: 2, sms.Accepted: 2, sms.Refused: 3} {
		w := newWorld(t, nil)
		mute := true
		w.gateway.answer = func(string) sms.Outcome {
			if mute {
				return sms.Unknown
			}
			return sms.Accepted
		}
		w.gateway.found = func(string) sms.Outcome {
			if mute {
				return sms.Unknown
			}
			return outcome
		}
		w.run(2 * time.Minute)
		w.lose("us-east")
		w.run(10 * time.Minute)
		require.Len(t, w.gateway.to(ana, "ESPRA DOWN"), 2, "at most twice, while nobody knows")
		mute = false
		w.run(20 * time.Minute)
		require.Len(t, w.gateway.to(ana, "ESPRA DOWN"), want, outcome)
		require.Len(t, w.gateway.to(ana, ""), want, outcome)
	}
}

// An all-clear of which nobody knows whether it was sent is sent again, through
// the next provider, as a page is; and what is lost again is told again.
func TestAllClearOfUnknownOutcome(t *testing.T) {
	w := newWorld(t, nil)
	w.run(2 * time.Minute)
	w.lose("us-east")
	w.run(5 * time.Minute)
	w.gateway.answer = func(p string) sms.Outcome {
		if p == "twilio" {
			return sms.Unknown
		}
		return sms.Accepted
	}
	w.heal()
	w.run(15 * time.Minute)
	var through []string
	for _, text := range w.gateway.to(ana, "ESPRA OK") {
		provider, _, _ := cutSpace(text)
		through = append(through, provider)
	}
	require.Equal(t, []string{"twilio", "sns-eu-west-1"}, through)
	require.Len(t, w.gateway.to(ana, "ESPRA DOWN"), 1)
	w.lose("us-east")
	w.run(5 * time.Minute)
	require.Len(t, w.gateway.to(ana, "ESPRA FLAPPING"), 2, "it came back, and both are asked")
	require.Len(t, w.gateway.to(ana, "ESPRA OK"), 2)
}

func cutSpace(s string) (before, after string, found bool) {
	for i := range s {
		if s[i] == ' ' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// Providers that refuse for long are asked again, ever more slowly.
func TestRefusedForLong(t *testing.T) {
	w := newWorld(t, nil)
	asked := 0
	w.gateway.answer = func(string) sms.Outcome { asked++; return sms.Refused }
	w.run(2 * time.Minute)
	w.down["apex"] = true
	w.run(30 * time.Minute)
	require.Greater(t, asked, 20)
	require.Less(t, asked, 150, "three vantages, two admins, three providers")
	w.gateway.answer = nil
	w.run(20 * time.Minute)
	require.NotEmpty(t, w.gateway.to(ana, "ESPRA DOWN apex"), "in the end")
}

// What a provider takes and loses again and again, as for a number that is not there,
// costs money each time: it is sent ever more slowly as well.
func TestLostForLong(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.answer = func(p string) sms.Outcome {
		if p == "twilio" {
			return sms.Accepted
		}
		return sms.Refused
	}
	w.gateway.delivery = func(string) sms.Delivery { return sms.Failed }
	w.run(2 * time.Minute)
	w.down["apex"] = true
	w.run(time.Minute)
	require.NotEmpty(t, w.gateway.to(ana, "ESPRA DOWN apex"))
	w.run(30 * time.Minute)
	require.Less(t, len(w.gateway.to(ana, "")), 30, "three vantages")
	w.gateway.delivery = nil
	w.run(20 * time.Minute)
	sent := len(w.gateway.to(ana, ""))
	w.run(20 * time.Minute)
	require.Len(t, w.gateway.to(ana, ""), sent, "it has arrived")
}

// Names are only names: a target that is called like a zone of the monitors' own, or a
// region like a vantage, is as urgent as any.
func TestTargetsCalledLikeOurOwn(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Escalate = []Level{{Admins: []string{"ana"}}, {After: 10 * time.Minute, Admins: []string{"raj"}}}
		c.Targets = append(c.Targets, Target{Target: worldTarget("zone-espra.com")}, Target{Region: "vantage-point", Target: worldTarget("point")})
	})
	w.run(2 * time.Minute)
	w.down["zone-espra.com"], w.down["point"] = true, true
	w.run(15 * time.Minute)
	for _, admin := range worldAdmins {
		require.Len(t, w.gateway.to(admin.Phone, "ESPRA DOWN zone-espra.com"), 1, admin.Name)
		require.Len(t, w.gateway.to(admin.Phone, "ESPRA DOWN vantage-point"), 1, admin.Name)
	}
}

// What a vantage has said does not change when a silence is lifted while it is sent.
func TestLiftWhileASilenceIsTold(t *testing.T) {
	w := newWorld(t, nil)
	w.run(2 * time.Minute)
	s := w.vantages[0]
	until := s.m.Now().Add(time.Hour)
	require.NoError(t, s.silence(decide.Silence{ID: "S1", Subject: "apex", From: s.m.Now(), Until: until, Why: "new disk", By: "ana"}))
	said := s.observation()
	require.Equal(t, 1, s.lift("apex", "ana"))
	require.Equal(t, until, said.Silences[0].Until)
	require.Equal(t, s.m.Now().UTC(), s.observation().Silences[0].Until)
}

// A subject that comes and goes is told of once, and its end once.
func TestFlapping(t *testing.T) {
	w := newWorld(t, nil)
	w.run(2 * time.Minute)
	for range 10 {
		w.down["apex"] = true
		w.run(90 * time.Second)
		w.down["apex"] = false
		w.run(90 * time.Second)
	}
	require.Len(t, w.gateway.to(ana, "ESPRA DOWN"), 1)
	require.Len(t, w.gateway.to(ana, "ESPRA OK"), 1, "before it was known to flap")
	require.Len(t, w.gateway.to(ana, "ESPRA FLAPPING"), 1)
	w.run(15 * time.Minute)
	require.Len(t, w.gateway.to(ana, "ESPRA OK"), 2)
	require.Len(t, w.gateway.to(ana, ""), 4)
	w.down["apex"] = true
	w.run(5 * time.Minute)
	require.Len(t, w.gateway.to(ana, "ESPRA DOWN"), 2, "much later it is another outage")
	for _, s := range w.vantages {
		require.Len(t, s.past, 1)
		require.Equal(t, "over", s.past[0].state(), "and the one before stays as it ended")
		require.NotZero(t, s.past[0].Ended)
	}
}

func TestFlappingRegionStaysAway(t *testing.T) {
	w := newWorld(t, nil)
	w.run(2 * time.Minute)
	for range 4 {
		w.lose("us-east")
		w.run(2 * time.Minute)
		w.heal()
		w.run(4 * time.Minute)
	}
	require.Len(t, w.gateway.to(ana, "ESPRA DOWN"), 1)
	require.Len(t, w.gateway.to(ana, "ESPRA FLAPPING"), 1)
	require.Empty(t, w.gateway.to(ana, "ESPRA OK"))
	require.Contains(t, fmt.Sprint(w.zone.records), "region=eu-west epoch=2", "it moved once")
	w.run(20 * time.Minute)
	require.Len(t, w.gateway.to(ana, "ESPRA OK us-east, traffic home"), 1)
	require.Contains(t, fmt.Sprint(w.zone.records), "region=us-east epoch=3")
	require.Len(t, w.gateway.to(ana, ""), 3)
}

// A vantage that is left alone in the hold-down does not end it, and the hold-down
// begins again when a majority finds that the region is well.
func TestNobodyGoesHomeAlone(t *testing.T) {
	w := newWorld(t, nil)
	w.run(2 * time.Minute)
	w.lose("us-east")
	w.run(3 * time.Minute)
	require.Contains(t, fmt.Sprint(w.zone.records), "region=eu-west epoch=2")
	w.heal()
	w.run(90 * time.Second) // well by verdict, and in the hold-down
	w.cut["london"], w.cut["singapore"] = true, true
	w.lose("us-east")
	w.run(15 * time.Minute)
	require.Contains(t, fmt.Sprint(w.zone.records), "region=eu-west epoch=2", "nobody is sure that it is well")
	require.Empty(t, w.gateway.to(ana, "ESPRA OK us-east"))

	w.heal()
	w.run(3 * time.Minute)
	clear(w.cut)
	w.run(time.Minute)
	require.Contains(t, fmt.Sprint(w.zone.records), "region=eu-west epoch=2", "for how long nobody knows")
	w.run(20 * time.Minute)
	require.Contains(t, fmt.Sprint(w.zone.records), "region=us-east epoch=3")
	require.Len(t, w.gateway.to(ana, "ESPRA OK us-east, traffic home"), 1)
}

// Once a week each admin hears that the monitors live: from one vantage, once,
// though the clocks of the others are minutes off.
func TestAlive(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Alive = &AliveConfig{Day: "monday", Hour: 15} }) // the world starts on a Monday
	w.vantages[1].skew, w.vantages[2].skew = 5*time.Minute, -7*time.Minute
	w.run(54 * time.Minute)
	require.Empty(t, w.gateway.texts)
	w.run(2 * time.Minute)
	require.Equal(t, []string{"twilio ESPRA ALIVE 2026-03-02 15:00Z, 3/3 vantages, nothing open. Next text of this kind in a week."}, w.gateway.to(ana, ""))
	w.vantages[0].boot()
	w.run(30 * time.Minute)
	require.Len(t, w.gateway.texts, 2)
}

// Whatever a vantage does last before it dies, and whether that had an effect
// or not: the next run, or another vantage, completes it, and people are paged
// once or twice.
func TestCrashAtEveryStep(t *testing.T) {
	steps, stride := 0, 1
	if testing.Short() {
		stride = 7
	}
	for _, alone := range []bool{false, true} {
		for _, made := range []bool{false, true} {
			for n := 0; ; n += stride {
				w := newWorld(t, func(c *Config) { c.HoldDown = 2 * time.Minute })
				w.run(40 * time.Second)
				first := w.vantages[0]
				if alone {
					// The others decide, and act too late to help.
					for _, other := range w.vantages[1:] {
						other.cfg.ActorDelay = time.Hour
					}
				}
				w.lose("us-east")
				w.run(20 * time.Second) // two failed rounds; the third decides
				first.life.mu.Lock()
				first.life.left, first.life.made = n, made
				first.life.mu.Unlock()
				w.run(time.Minute)
				crashed := first.life.over()
				first.boot()
				w.run(2 * time.Minute)
				w.heal()
				w.run(6 * time.Minute)
				for _, admin := range worldAdmins {
					name := fmt.Sprintf("%s, alone %t, crash at effect %d, made %t: %q", admin.Name, alone, n, made, w.gateway.to(admin.Phone, ""))
					pages := len(w.gateway.to(admin.Phone, "ESPRA DOWN"))
					require.GreaterOrEqual(t, pages, 1, name)
					require.LessOrEqual(t, pages, 2, name)
					require.Len(t, w.gateway.to(admin.Phone, "ESPRA OK"), 1, name)
				}
				require.Contains(t, fmt.Sprint(w.zone.records), "region=us-east epoch=3", "crash at effect %d, made %t", n, made)
				steps++
				if !crashed {
					break
				}
			}
		}
	}
	require.Greater(t, steps, 60/stride)
}

// Who dies time and again before a text is out has noted copies that nobody got, and
// asks what became of them.
func TestCrashesBeforeTextIsOut(t *testing.T) {
	for _, found := range []sms.Outcome{sms.Refused, sms.Unknown} {
		w := newWorld(t, func(c *Config) { c.Peers = nil })
		w.vantages = w.vantages[:1]
		w.run(2 * time.Minute)
		alone, deaths := w.vantages[0], 3
		w.gateway.found = func(string) sms.Outcome { return found }
		w.gateway.answer = func(string) sms.Outcome {
			alone.life.mu.Lock()
			defer alone.life.mu.Unlock()
			if deaths > 0 {
				alone.life.left = 0
			}
			return sms.Accepted
		}
		w.down["apex"] = true
		died := 0
		for ; deaths > 0; deaths-- {
			w.run(2 * time.Minute)
			if alone.life.over() {
				died++
				alone.boot()
			}
		}
		w.run(2 * time.Minute)
		if found == sms.Unknown {
			require.Equal(t, maxCopies, died, "it may have been sent so often")
			require.Empty(t, w.gateway.to(ana, ""))
			continue
		}
		require.Equal(t, 3, died)
		require.Len(t, w.gateway.to(ana, "ESPRA DOWN apex"), 1)
		require.Empty(t, alone.incidents["apex"].Words, "all is known")
	}
}

// A vantage that comes back from an old copy of its disk tells nobody of
// incidents that were over long ago, and is heard again.
func TestOldBackup(t *testing.T) {
	w := newWorld(t, nil)
	w.run(2 * time.Minute)
	w.lose("us-east")
	w.run(2 * time.Minute)
	first := w.vantages[0]
	backup := append([]byte(nil), first.disk.files["/state/monitor.json"]...)
	w.heal()
	w.run(2 * time.Hour)
	texts := len(w.gateway.texts)
	first.disk.files["/state/monitor.json"] = backup
	first.skew = -24 * time.Hour // its clock is as old
	first.boot()
	w.run(30 * time.Minute)
	require.Len(t, w.gateway.texts, texts)
	for _, e := range w.vantages[1].board.Latest() {
		require.Less(t, w.elapsed-e.Arrived, time.Minute, e.Vantage)
	}
	require.Contains(t, fmt.Sprint(w.zone.records), "region=us-east epoch=3")
}

// Random outages, restarts, cuts, lost disks and clocks minutes apart: a
// majority agrees before anybody is told, nobody gets a third page of one kind
// or a second all-clear without another page, and in the end all vantages agree
// that all is well, and whoever was paged knows.
func TestRandomLives(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 3
	}
	if os.Getenv("PROTOPLEX_SEEDS") != "" {
		_, err := fmt.Sscan(os.Getenv("PROTOPLEX_SEEDS"), &seeds)
		require.NoError(t, err)
	}
	for seed := range seeds {
		lost := false // a vantage lost its disk, and with it what it alone knew
		random := rand.New(rand.NewPCG(seed, 7))
		w := newWorld(t, nil)
		for _, s := range w.vantages {
			s.skew = time.Duration(random.IntN(600)-300) * time.Second
		}
		w.run(2 * time.Minute)
		for range 12 {
			s := w.vantages[random.IntN(3)]
			switch random.IntN(7) {
			case 0:
				w.lose("us-east")
			case 1:
				w.down["apex"] = true
			case 2:
				w.heal()
			case 3:
				s.boot()
			case 4:
				lost = true
				delete(s.disk.files, "/state/monitor.json")
				s.boot()
			case 5:
				clear(w.cut)
				w.cut[s.name] = true
			case 6:
				clear(w.cut)
			}
			w.run(time.Duration(5+random.IntN(300)) * time.Second)
		}
		w.heal()
		clear(w.cut)
		w.run(50 * time.Minute)
		for _, s := range w.vantages {
			for name, subject := range s.verdicts.Subjects {
				require.Equal(t, "up", subject.Status.String(), "seed %d: %s as %s sees it", seed, name, s.name)
			}
			require.Equal(t, w.vantages[0].homes, s.homes, "seed %d", seed)
		}
		for _, admin := range worldAdmins {
			w.judge(t, fmt.Sprintf("seed %d: %s %q", seed, admin.Name, w.gateway.to(admin.Phone, "")), admin, lost)
		}
	}
}

// judge looks at what one admin got, subject by subject. Blindness is what each
// vantage knows alone.
func (w *world) judge(t *testing.T, name string, admin Admin, lost bool) {
	for _, subject := range []string{"us-east", "apex", "www", "monitoring"} {
		pages := map[string]int{} // of each kind since the last all-clear
		open := false
		for _, text := range w.gateway.to(admin.Phone, "ESPRA ") {
			var provider, espra, state, what string
			_, err := fmt.Sscan(text, &provider, &espra, &state, &what)
			require.NoError(t, err)
			if trim(what) != subject {
				continue
			}
			if state == "OK" {
				require.True(t, open, "all-clear without a page: %s", name)
				clear(pages)
				open = false
				continue
			}
			open = true
			pages[state]++
			require.LessOrEqual(t, pages[state], 2, name)
		}
		require.False(t, open && !(lost && subject == "monitoring"), "%s without an all-clear: %s", subject, name)
	}
}

func trim(s string) string {
	if n := len(s); n > 0 && s[n-1] == ',' {
		return s[:n-1]
	}
	return s
}
