package home_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/zone"
)

var (
	www = home.Host{Name: "www.espra.com", Regions: []string{"us-east", "eu-west"}, TTL: time.Minute,
		Balancers: map[string]string{"us-east": "us-east.elb.amazonaws.com", "eu-west": "eu-west.elb.amazonaws.com"}}
	hosts    = []home.Host{www}
	holdDown = 10 * time.Minute
	up       = home.Region{Up: true, UpFor: holdDown}
	upNew    = home.Region{Up: true, UpFor: holdDown - 1}
	down     = home.Region{Down: true}
	unknown  = home.Region{}
)

func TestWant(t *testing.T) {
	us, eu := home.Home{Region: "us-east", Epoch: 4}, home.Home{Region: "eu-west", Epoch: 4}
	none := home.Home{}
	tests := []struct {
		name         string
		current      home.Home
		usEast, west home.Region
		want         home.Home
	}{
		{"all is well", us, up, up, us},
		{"lost", us, down, up, home.Home{Region: "eu-west", Epoch: 5}},
		{"lost, the other just up", us, down, upNew, home.Home{Region: "eu-west", Epoch: 5}},
		{"lost, the other unchecked", us, down, unknown, us},
		{"both lost", us, down, down, us},
		{"not judged is not lost", us, unknown, up, us},
		{"away, still lost", eu, down, up, eu},
		{"away, back but not for long", eu, upNew, up, eu},
		{"away, back for the hold-down", eu, up, up, home.Home{Region: "us-east", Epoch: 5}},
		{"away, both lost, the preferred back", eu, upNew, down, home.Home{Region: "us-east", Epoch: 5}},
		{"new", none, upNew, up, home.Home{Region: "us-east", Epoch: 1}},
		{"new, preferred unchecked", none, unknown, up, home.Home{Region: "eu-west", Epoch: 1}},
		{"new, nothing checked", none, unknown, unknown, none},
		{"disputed", home.Home{Epoch: 4}, up, up, home.Home{Region: "us-east", Epoch: 5}},
		{"in a region that is no more", home.Home{Region: "mars", Epoch: 4}, up, up, home.Home{Region: "us-east", Epoch: 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := home.Want(hosts, map[string]home.Home{www.Name: tt.current}, map[string]home.Region{"us-east": tt.usEast, "eu-west": tt.west}, holdDown)
			require.Equal(t, tt.want, got[www.Name])
		})
	}
}

func TestCurrent(t *testing.T) {
	at := func(text string) []zone.Record {
		return []zone.Record{{Name: "_home.www.espra.com", Type: "TXT", Value: text}}
	}
	tests := []struct {
		name  string
		floor home.Home
		zones [][]zone.Record
		want  home.Home
	}{
		{"agreed", home.Home{}, [][]zone.Record{at("v=home1 region=us-east epoch=2"), at("v=home1 region=us-east epoch=2")}, home.Home{Region: "us-east", Epoch: 2}},
		{"half moved", home.Home{}, [][]zone.Record{at("v=home1 region=eu-west epoch=3"), at("v=home1 region=us-east epoch=2")}, home.Home{Region: "eu-west", Epoch: 3}},
		{"disputed", home.Home{}, [][]zone.Record{at("v=home1 region=eu-west epoch=3"), at("v=home1 region=us-east epoch=3")}, home.Home{Epoch: 3}},
		{"a provider went back", home.Home{Region: "eu-west", Epoch: 5}, [][]zone.Record{at("v=home1 region=us-east epoch=4")}, home.Home{Region: "eu-west", Epoch: 5}},
		{"nothing readable", home.Home{}, [][]zone.Record{at("v=spf1"), nil}, home.Home{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := home.Current(hosts, map[string]home.Home{www.Name: tt.floor}, tt.zones...)
			require.Equal(t, tt.want, got[www.Name])
		})
	}
}

// fill puts the records among others.
func fill(records ...zone.Record) []zone.Record {
	for i := range 10 {
		records = append(records, zone.Record{ID: fmt.Sprint("f", i), Name: fmt.Sprint("h", i, ".espra.com"), Type: "A", Value: "192.0.2.1"})
	}
	return records
}

func txt(id, value string) zone.Record {
	return zone.Record{ID: id, Name: "_home.www.espra.com", Type: "TXT", Value: value, TTL: 30 * time.Second}
}

func cname(id, value string) zone.Record {
	return zone.Record{ID: id, Name: "www.espra.com", Type: "CNAME", Value: value, TTL: time.Minute}
}

func TestPlan(t *testing.T) {
	const (
		us1, eu2 = "v=home1 region=us-east epoch=1", "v=home1 region=eu-west epoch=2"
		us, eu   = "us-east.elb.amazonaws.com", "eu-west.elb.amazonaws.com"
	)
	put := func(r zone.Record) home.Change {
		return home.Change{Host: www.Name, Change: zone.Change{Op: zone.Create, Record: r}}
	}
	turn := func(was, r zone.Record) home.Change {
		return home.Change{Host: www.Name, Change: zone.Change{Op: zone.Update, Record: r, Was: was}}
	}
	cut := func(r zone.Record) home.Change {
		return home.Change{Host: www.Name, Change: zone.Change{Op: zone.Delete, Record: r}}
	}
	tests := []struct {
		name    string
		records []zone.Record
		west    home.Region
		want    []home.Change
		err     error
	}{
		{"nothing to do", fill(txt("1", eu2), cname("2", eu)), up, nil, nil},
		{"nothing to do in a region that is not checked", fill(txt("1", eu2), cname("2", eu)), unknown, nil, nil},
		{"move in place, home first", fill(txt("1", us1), cname("2", us)), up,
			[]home.Change{turn(txt("1", us1), txt("1", eu2)), turn(cname("2", us), cname("2", eu))}, nil},
		{"complete a half-made move", fill(txt("1", eu2), cname("2", us)), up, []home.Change{turn(cname("2", us), cname("2", eu))}, nil},
		{"make anew", fill(), up, []home.Change{put(txt("", eu2)), put(cname("", eu))}, nil},
		{"two homes: keep the newer, change first, then delete", fill(txt("1", us1), txt("3", us1), cname("2", us)), up,
			[]home.Change{turn(txt("1", us1), txt("1", eu2)), turn(cname("2", us), cname("2", eu)), cut(txt("3", us1))}, nil},
		{"leave other texts alone", fill(txt("1", "hello"), txt("3", eu2), cname("2", eu)), up, nil, nil},
		{"not ours: an address without a home", fill(cname("2", us)), up, nil, home.ErrForeign},
		{"not ours: another type", fill(txt("1", us1), zone.Record{Name: www.Name, Type: "A", Value: "192.0.2.9"}), up, nil, home.ErrForeign},
		{"never to an unchecked region", fill(txt("1", us1), cname("2", us)), unknown, nil, home.ErrUnchecked},
		{"the zone is ahead", fill(txt("1", "v=home1 region=us-east epoch=3"), cname("2", us)), up, nil, home.ErrStale},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := map[string]home.Home{www.Name: {Region: "eu-west", Epoch: 2}}
			regions := map[string]home.Region{"us-east": down, "eu-west": tt.west}
			got, err := home.Plan(hosts, want, nil, regions, tt.records, 30)
			require.ErrorIs(t, err, tt.err)
			require.Empty(t, cmp.Diff(tt.want, got))
		})
	}
}

// The guard stops what nothing explains, never the move of a region, whatever part
// of the zone its hosts are.
func TestPlanGuard(t *testing.T) {
	const us, eu, mars = "us-east", "eu-west", "mars"
	lost := map[string]home.Region{us: down, eu: up}
	well := map[string]home.Region{us: up, eu: up}
	at := func(region string, epoch uint64) home.Home { return home.Home{Region: region, Epoch: epoch} }
	tests := []struct {
		name    string
		mark    home.Home
		address string
		twice   bool // there is a second, older mark
		shown   home.Home
		want    home.Home
		regions map[string]home.Region
		plan    int // changes for each host
		err     error
	}{
		{"away from a region that is lost", at(us, 1), "us-east.elb", false, at(us, 1), at(eu, 2), lost, 2, nil},
		{"away again, before it was home", at(eu, 2), "eu-west.elb", false, at(eu, 2), at(us, 3), map[string]home.Region{us: up, eu: down}, 2, nil},
		{"home", at(eu, 2), "eu-west.elb", false, at(eu, 2), at(us, 3), well, 2, nil},
		{"after another provider, though the region is back", at(us, 1), "us-east.elb", false, at(eu, 2), at(eu, 2), well, 2, nil},
		{"to the end of a half-made move", at(eu, 2), "us-east.elb", false, at(eu, 2), at(eu, 2), well, 1, nil},
		{"anew", home.Home{}, "", false, home.Home{}, at(eu, 2), well, 2, nil},
		{"by memory alone", at(us, 1), "us-east.elb", false, at(us, 1), at(eu, 2), well, 0, zone.ErrGuard},
		{"from a region that was taken out of the configuration", at(mars, 1), "mars.elb", false, at(mars, 1), at(us, 2), well, 0, zone.ErrGuard},
		{"back, what somebody changed by hand", at(us, 1), "page.cdn.example", false, at(us, 1), at(us, 1), well, 0, zone.ErrGuard},
		{"away, and doubles go", at(us, 1), "us-east.elb", true, at(us, 1), at(eu, 2), lost, 2, zone.ErrGuard},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan := func(n, guard int) ([]home.Change, error) {
				var hosts []home.Host
				records := []zone.Record{{ID: "soa", Name: "espra.com", Type: "SOA"}, {ID: "mx", Name: "espra.com", Type: "MX"}}
				for range 9 {
					records = append(records, zone.Record{ID: fmt.Sprint("ns", len(records)), Name: "espra.com", Type: "NS"})
				}
				want, shown := map[string]home.Home{}, map[string]home.Home{}
				for i := range n {
					h := home.Host{Name: fmt.Sprintf("h%d.espra.com", i), Regions: []string{us, eu}, TTL: time.Minute,
						Balancers: map[string]string{us: "us-east.elb", eu: "eu-west.elb"}}
					hosts = append(hosts, h)
					want[h.Name], shown[h.Name] = tt.want, tt.shown
					for k, r := range []zone.Record{{Name: h.Mark(), Type: "TXT", Value: tt.mark.String()}, {Name: h.Name, Type: "CNAME", Value: tt.address},
						{Name: h.Mark(), Type: "TXT", Value: "v=home1 region=mars epoch=1"}} {
						if r.ID = fmt.Sprint(i, "-", k); tt.mark.Epoch > 0 && (k < 2 || tt.twice) {
							records = append(records, r)
						}
					}
				}
				return home.Plan(hosts, want, shown, tt.regions, records, guard)
			}
			got, err := plan(5, 30)
			require.ErrorIs(t, err, tt.err)
			require.Len(t, got, 5*tt.plan)
			got, err = plan(5, 100)
			require.NoError(t, err, "with the override")
			require.GreaterOrEqual(t, len(got), 5*max(tt.plan, 1))
			got, err = plan(1, 30)
			require.NoError(t, err, "one host is never a large part")
			require.GreaterOrEqual(t, len(got), max(tt.plan, 1))
		})
	}
}

// A plan stopped at any step and made anew from what is there ends in the same
// zone, and on the way no name is ever empty.
func TestPlanResumes(t *testing.T) {
	start := fill(txt("1", "v=home1 region=us-east epoch=1"), txt("3", "v=home1 region=us-east epoch=1"), cname("2", "us-east.elb.amazonaws.com"))
	regions := map[string]home.Region{"us-east": down, "eu-west": up}
	for stop := range 4 {
		records := start
		for range 2 {
			want := home.Want(hosts, home.Current(hosts, nil, records), regions, holdDown)
			plan, err := home.Plan(hosts, want, nil, regions, records, 30)
			require.NoError(t, err)
			for _, c := range plan[:min(stop, len(plan))] {
				records = apply(records, c)
				require.NotEmpty(t, only(records, www.Name))
				require.NotEmpty(t, only(records, www.Mark()))
			}
			stop = len(plan) + 4
		}
		require.Equal(t, []string{"eu-west.elb.amazonaws.com"}, only(records, www.Name))
		require.Equal(t, []string{"v=home1 region=eu-west epoch=2"}, only(records, www.Mark()))
	}
}

func apply(records []zone.Record, c home.Change) []zone.Record {
	var next []zone.Record
	for _, r := range records {
		if r.ID == c.Record.ID {
			if c.Op == zone.Delete {
				continue
			}
			r = c.Record
		}
		next = append(next, r)
	}
	return next
}

func only(records []zone.Record, name string) (values []string) {
	for _, r := range records {
		if r.Name == name {
			values = append(values, r.Value)
		}
	}
	return values
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"v=home1 region=us-east epoch=1", "v=home1", "v=home1 region= epoch=1", "v=home2 region=a epoch=1", "v=home1 region=a epoch=-1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := home.Parse(text)
		if err != nil {
			require.ErrorIs(t, err, home.ErrNotHome)
			return
		}
		again, err := home.Parse(h.String())
		require.NoError(t, err)
		require.Equal(t, h, again)
	})
}
