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

// fill makes a zone big enough for the guard.
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
		{"too much of the zone", []zone.Record{txt("1", us1), cname("2", us), txt("3", "hello")}, up, nil, zone.ErrGuard},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := map[string]home.Home{www.Name: {Region: "eu-west", Epoch: 2}}
			got, err := home.Plan(hosts, want, map[string]home.Region{"eu-west": tt.west}, tt.records, 30)
			require.ErrorIs(t, err, tt.err)
			require.Empty(t, cmp.Diff(tt.want, got))
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
			plan, err := home.Plan(hosts, want, regions, records, 30)
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
