package story

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		text   string
		signed bool
		want   time.Duration // 0: an error
	}{
		{"90s", false, 90 * time.Second},
		{"1h30m", false, 90 * time.Minute},
		{"250ms", false, 250 * time.Millisecond},
		{"2d", false, 48 * time.Hour},
		{"1d12h", false, 36 * time.Hour},
		{"30d", false, 30 * 24 * time.Hour},
		{"-5s", true, -5 * time.Second},
		{"-1d1h", true, -25 * time.Hour},
		{"-5s", false, 0},
		{"0s", true, 0},
		{"0", false, 0},
		{"", false, 0},
		{"5", false, 0},
		{"d", false, 0},
		{"1d-1h", true, 0},
		{"30d1ns", false, 0},
		{"999999999d", false, 0},
		{"9999999999999h", false, 0},
		{"1e3s", false, 0},
	} {
		got, err := parseDuration(c.text, c.signed)
		require.Equal(t, c.want, got, c.text)
		require.Equal(t, c.want == 0, err != nil, c.text)
	}
}

func TestParseRate(t *testing.T) {
	for _, c := range []struct {
		text string
		want Rate // 0: an error
		back string
	}{
		{"64KB/s", 64, "64KB/s"},
		{"1MB/s", 1000, "1MB/s"},
		{"2000KB/s", 2000, "2MB/s"},
		{"1000MB/s", 1_000_000, "1000MB/s"},
		{"1001MB/s", 0, ""},
		{"0KB/s", 0, ""},
		{"-1KB/s", 0, ""},
		{"64", 0, ""},
		{"64kb/s", 0, ""},
		{"64KB", 0, ""},
		{"1.5MB/s", 0, ""},
		{"KB/s", 0, ""},
		{"", 0, ""},
	} {
		got, err := parseRate(c.text)
		require.Equal(t, c.want, got, c.text)
		require.Equal(t, c.want == 0, err != nil, c.text)
		if c.want != 0 {
			require.Equal(t, c.back, got.String())
		}
	}
}

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want int // 0: an error
	}{
		{"1KB", 1},
		{"60KB", 60},
		{"61KB", 0},
		{"0KB", 0},
		{"-1KB", 0},
		{"1MB", 0},
		{"32", 0},
		{"32KB/s", 0},
		{"", 0},
	} {
		got, err := parseSize(c.text)
		require.Equal(t, c.want, got, c.text)
		require.Equal(t, c.want == 0, err != nil, c.text)
	}
}

func TestParseShare(t *testing.T) {
	for _, c := range []struct {
		text string
		want BasisPoints // 0: an error
		back string
	}{
		{"100%", 10000, "100%"},
		{"99.9%", 9990, "99.9%"},
		{"99.95%", 9995, "99.95%"},
		{"0.01%", 1, "0.01%"},
		{"007%", 700, "7%"},
		{"10%", 1000, "10%"},
		{"0%", 0, ""},
		{"100.01%", 0, ""},
		{"99.999%", 0, ""},
		{"99.%", 0, ""},
		{".5%", 0, ""},
		{"-1%", 0, ""},
		{"+1%", 0, ""},
		{"99", 0, ""},
		{"%", 0, ""},
		{"12345678901234567890%", 0, ""},
	} {
		got, err := parseShare(c.text)
		require.Equal(t, c.want, got, c.text)
		require.Equal(t, c.want == 0, err != nil, c.text)
		if err == nil {
			require.Equal(t, c.back, got.String())
		}
	}
}

func TestParseDurations(t *testing.T) {
	for text, want := range map[string][2]time.Duration{
		"2m": {2 * time.Minute, 2 * time.Minute}, "2m-2m30s": {2 * time.Minute, 150 * time.Second}, "1ms-1d": {time.Millisecond, 24 * time.Hour},
	} {
		least, most, err := parseDurations(text, false)
		require.NoError(t, err, text)
		require.Equal(t, want, [2]time.Duration{least, most}, text)
	}
	for _, text := range []string{"", "-", "2m-", "-2m", "2m-2m", "3m-2m", "2m-3m-4m", "2m - 3m", "2m--3m", "0s-1m"} {
		_, _, err := parseDurations(text, false)
		require.Error(t, err, text)
	}
	for text, want := range map[string][2]time.Duration{
		"-5ms": {-5 * time.Millisecond, -5 * time.Millisecond}, "-5ms-5ms": {-5 * time.Millisecond, 5 * time.Millisecond},
		"-5ms--1ms": {-5 * time.Millisecond, -time.Millisecond}, "1ms-5ms": {time.Millisecond, 5 * time.Millisecond},
	} {
		least, most, err := parseDurations(text, true)
		require.NoError(t, err, text)
		require.Equal(t, want, [2]time.Duration{least, most}, text)
	}
}

func TestParseFactor(t *testing.T) {
	for text, want := range map[string]Factor{"1x": 10000, "3x": 30000, "1.5x": 15000, "100x": 1000000} {
		got, err := parseFactor(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		require.Equal(t, text, got.String())
	}
	for _, text := range []string{"", "x", "3", "0x", "0.9x", "1.55x", "1.x", "1.ax", "-3x", "101x", "100.1x", "3 x"} {
		_, err := parseFactor(text)
		require.Error(t, err, text)
	}
}

// Each seed has its own instant, within the range, and other events keep theirs.
func TestTimed(t *testing.T) {
	s := &Story{Timeline: []Event{
		{ID: "a", At: time.Minute, Latest: time.Minute, For: time.Second, Longest: 3 * time.Second},
		{ID: "b", At: time.Minute, Latest: 2 * time.Minute},
	}}
	asked := map[string]uint64{"b at": 7 * uint64(time.Second), "a for": uint64(2*time.Second) + 1}
	got := s.Timed(func(id, what string) uint64 { return asked[id+" "+what] })
	require.Equal(t, []Event{
		{ID: "a", At: time.Minute, Latest: time.Minute, For: time.Second, Longest: time.Second},
		{ID: "b", At: 67 * time.Second, Latest: 67 * time.Second},
	}, got.Timeline)
	require.Equal(t, time.Minute, s.Timeline[1].At, "the story itself is nobody's to change")
	// Parameters are drawn likewise; those that are no ranges stay.
	s.Timeline[1].Params = Values{
		{Name: "add", Duration: -time.Second, Longest: time.Second}, {Name: "percent", Share: 100, Largest: 500},
		{Name: "effects", Counts: Range{3, 9}}, {Name: "by", Duration: time.Hour},
	}
	asked = map[string]uint64{"b add": 2001 + 250, "b percent": 402, "b effects": 6}
	require.Equal(t, Values{
		{Name: "add", Duration: -750 * time.Millisecond}, {Name: "percent", Share: 101}, {Name: "effects", Counts: Range{9, 9}}, {Name: "by", Duration: time.Hour},
	}, s.Timed(func(id, what string) uint64 { return asked[id+" "+what] }).Timeline[1].Params)
	require.Equal(t, Range{3, 9}, s.Timeline[1].Params[2].Counts)
	asked["a for"] = uint64(2 * time.Second)
	require.Equal(t, 3*time.Second, s.Timed(func(id, what string) uint64 { return asked[id+" "+what] }).Timeline[0].For)
}

func TestParseRange(t *testing.T) {
	for text, want := range map[string]Range{"0": {0, 0}, "1": {1, 1}, "1-2": {1, 2}} {
		got, err := parseRange(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, text, got.String())
		require.True(t, got.Contains(want.Min) && got.Contains(want.Max) && !got.Contains(want.Max+1) && !got.Contains(want.Min-1))
	}
	for _, text := range []string{"", "-", "1-", "-1", "2-1", "1-2-3", "one", "9999999999", "0x1"} {
		_, err := parseRange(text)
		require.Error(t, err, text)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		30 * time.Minute: "30m", time.Hour: "1h", 90 * time.Second: "1m30s", 10 * time.Second: "10s",
		time.Hour + time.Second: "1h0m1s", 10 * time.Millisecond: "10ms",
	} {
		require.Equal(t, want, short(d))
	}
}
