package aws

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

type sample struct {
	Name    string
	Size    int
	Limit   *int
	Force   bool
	Maybe   *bool
	Names   []string
	Targets []struct {
		Id   string
		Port int
	}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"", ""},
		{"Name=a%20b+c&Size=-3&Limit=0&Force=true&Maybe=false", ""},
		{"Names.member.1=a&Names.member.2=b&Targets.member.1.Id=i-1&Targets.member.1.Port=80&Targets.member.2.Id=i-2", ""},
		{"Names=", ""},
		{"Colour=red", "NotImplemented: Not served here: parameter Colour"},
		{"Targets.member.1.Colour=red", "NotImplemented: Not served here: parameter Targets.member.1.Colour"},
		{"Name=a&Name=b", "MalformedQueryString: Name comes twice"},
		{"Name.a=b", "ValidationError: Name is one value"},
		{"Size=many", "ValidationError: Size is not a whole number"},
		{"Size=99999999999", "ValidationError: Size is not a whole number"},
		{"Force=perhaps", "ValidationError: Force is neither true nor false"},
		{"Names=a", "MalformedQueryString: Names is not a list of up to 100 members"},
		{"Names.member=a", "MalformedQueryString: Names is not a list of up to 100 members"},
		{"Names.1=a", "MalformedQueryString: Names is not a list of up to 100 members"},
		{"Names.member.1=a&Names.other.1=a", "MalformedQueryString: Names is not a list of up to 100 members"},
		{"Names.member.2=b", "MalformedQueryString: Names lacks member 1"},
		{"Names.member.0=b", "MalformedQueryString: Names lacks member 1"},
		{"Names.member.01=b", "MalformedQueryString: Names lacks member 1"},
		{"Targets.member.1=i-1", "ValidationError: Targets.member.1 has parts"},
		{"Name=%zz", `MalformedQueryString: the body is not form-encoded: invalid URL escape "%zz"`},
		{strings.Repeat("a.", 20) + "b=1", "MalformedQueryString: " + strings.Repeat("a.", 20) + "b is too long"},
		{"Name=" + strings.Repeat("x", maxValue+1), "MalformedQueryString: Name is too long"},
	} {
		var in sample
		query, e := parseQuery(c.body)
		if e == nil {
			e = query.decode(&in)
		}
		got := ""
		if e != nil {
			got = e.Error()
		}
		require.Equal(t, c.want, got, c.body)
	}
	var many []string
	for i := range maxParams + 1 {
		many = append(many, "a"+string(rune('a'+i%26))+strings.Repeat("x", i)+"=1")
	}
	_, e := parseQuery(strings.Join(many, "&"))
	require.ErrorContains(t, e, "more than 500 parameters")

	var in sample
	query, e := parseQuery("Name=x&Names.member.2=b&Names.member.1=a&Limit=4&Targets.member.1.Port=80")
	require.Nil(t, e)
	require.Equal(t, "x", query.take("Name"))
	require.Empty(t, query.take("Name"))
	require.Nil(t, query.decode(&in))
	four := 4
	want := sample{Limit: &four, Names: []string{"a", "b"}}
	want.Targets = append(want.Targets, struct {
		Id   string
		Port int
	}{"", 80})
	require.Empty(t, cmp.Diff(want, in))
}

// No body crashes the parser, and one body always gives the same, or the same
// error.
func FuzzDecode(f *testing.F) {
	f.Add("Name=a&Names.member.1=b&Targets.member.1.Id=c")
	f.Add("Names=&Force=true&Size=7&Maybe=x")
	f.Add("b&b&&a&a")
	f.Add("a.b.c=1&a.b=2&a=3&.=4&..=5")
	f.Fuzz(func(t *testing.T, body string) {
		read := func() (in sample, refused string) {
			query, e := parseQuery(body)
			if e == nil {
				e = query.decode(&in)
			}
			if e != nil {
				return in, e.Error()
			}
			require.LessOrEqual(t, len(in.Names), maxMember)
			require.LessOrEqual(t, len(in.Targets), maxMember)
			return in, ""
		}
		first, refused := read()
		for range 3 {
			again, e := read()
			require.Equal(t, refused, e)
			require.Empty(t, cmp.Diff(first, again))
		}
	})
}
