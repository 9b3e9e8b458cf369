package strict_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/strict"
)

type shop struct {
	Name  string         `yaml:"name"`
	Opens time.Duration  `yaml:"opens"`
	Since time.Time      `yaml:"since"`
	Owner *owner         `yaml:"owner"`
	Goods []good         `yaml:"goods"`
	Stock map[string]int `yaml:"stock"`
	Tags  []string       `yaml:"tags"`
}

type owner struct {
	Name string `yaml:"name"`
}

type good struct {
	price `yaml:",inline"`
	Name  string `yaml:"name"`
}

type price struct {
	Price int `yaml:"price"`
}

const whole = `# a shop
name: corner
opens: 8h
since: 2026-03-02T14:00:00Z
owner: {name: ana}
goods:
  - name: tea
    price: 3
  - {name: salt, price: 1}
stock: {tea: 4}
tags: [old, "small"]
`

func TestDecode(t *testing.T) {
	var s shop
	_, err := strict.Decode("shop.yaml", []byte(whole), &s)
	require.NoError(t, err)
	require.Equal(t, shop{
		"corner", 8 * time.Hour, time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC), &owner{"ana"},
		[]good{{price{3}, "tea"}, {price{1}, "salt"}}, map[string]int{"tea": 4}, []string{"old", "small"},
	}, s)
	_, err = strict.Decode("empty", nil, &s)
	require.NoError(t, err)
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"name: corner", "nmae: corner", `shop.yaml:2:1: unknown field "nmae"; did you mean "name"?`},
		{"opens: 8h", "opens: early", `shop.yaml:3:8: invalid duration "early"`},
		{"{name: ana}", "{nam: ana}", `shop.yaml:5:9: unknown field "nam"; did you mean "name"?`},
		{"    price: 3", "    prize: 3", `shop.yaml:8:5: unknown field "prize"; did you mean "price"?`},
		{"price: 1", "price: cheap", `shop.yaml:9:25: cannot unmarshal string into Go value of type int`},
		{"{tea: 4}", "[tea]", "shop.yaml:10:8: "},
		{"owner: {name: ana}", "name: again", `shop.yaml:5:1: `},
		{"# a shop", "---\nname: x\n---", "shop.yaml:"},
		{"goods:\n", "goods: {\n", "shop.yaml:"},
	} {
		text := strings.Replace(whole, c.old, c.new, 1)
		require.NotEqual(t, whole, text, c.old)
		_, err := strict.Decode("shop.yaml", []byte(text), &shop{})
		require.ErrorContains(t, err, c.want)
	}
}

// One mistake hides no other, and what the reader finds joins them in order.
func TestAllMistakesTogether(t *testing.T) {
	text := strings.NewReplacer("opens: 8h", "opens: early", "price: 1", "prize: 1").Replace(whole)
	var s shop
	f, err := strict.Decode("shop.yaml", []byte(text), &s)
	require.Equal(t, "tea", s.Goods[0].Name, "what is right is read")
	err = strict.Join([]error{err, f.Errorf("goods[0].price", "too dear"), f.Errorf("goods[1].price", "no price"), f.Errorf("taxes", "not paid")})
	require.EqualError(t, err, strings.Join([]string{
		"shop.yaml: not paid",
		`shop.yaml:3:8: invalid duration "early"`,
		"shop.yaml:8:12: too dear",
		"shop.yaml:9:5: no price",
		`shop.yaml:9:18: unknown field "prize"; did you mean "price"?`,
	}, "\n"))
}

func TestSuggest(t *testing.T) {
	known := []string{"us-east", "eu-west", "apex"}
	for word, want := range map[string]string{
		"us-eats": `; did you mean "us-east"?`, "APEX": `; did you mean "apex"?`, "eu-wset": `; did you mean "eu-west"?`,
		"mars": "", "": "", strings.Repeat("x", 1000): "",
	} {
		require.Equal(t, want, strict.Suggest(word, known), word)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("name: [\n"))
	f.Add([]byte("goods: !tag\nx"))
	f.Add([]byte("owner: &a {}\ngoods: *a\n"))
	f.Add([]byte("goods: [{}, null, 1]\nowner:\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s shop
		file, err := strict.Decode("shop.yaml", text, &s)
		require.NotNil(t, file)
		if err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "shop.yaml:"), "%v", err)
		}
	})
}
