package aws

import (
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/internal/desk"
)

// What a stranger sends is refused the way Amazon refuses it.
func TestRefusals(t *testing.T) {
	b := newBench(t, small())
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"GET", "/?Action=DescribeAutoScalingGroups&Version=2011-01-01", "", 400, "MalformedQueryString"},
		{"POST", "/", "Action=DescribeAutoScalingGroups&Version=2011-01-01", 403, "MissingAuthenticationToken"},
		{"POST", "/", "Action=DescribeLoadBalancers&Version=2015-12-01", 403, "MissingAuthenticationToken"},
		{"POST", "/", "Action=RunInstances&Version=2016-11-15", 400, "InvalidAction"},
		{"POST", "/", "", 400, "InvalidAction"},
		{"POST", "/", "Action=a&Action=b", 400, "MalformedQueryString"},
		{"POST", "/", strings.Repeat("x", maxBody+1), 400, "MalformedQueryString"},
		{"POST", "/other", "Action=DescribeAutoScalingGroups&Version=2011-01-01", 400, "MalformedQueryString"},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.Header.Set("Content-Type", form)
		w := httptest.NewRecorder()
		b.s.ServeHTTP(w, r)
		require.Equal(t, c.status, w.Code, c.body)
		var answer struct {
			XMLName xml.Name `xml:"ErrorResponse"`
			Error   struct{ Type, Code, Message string }
			ID      string `xml:"RequestId"`
		}
		require.NoError(t, xml.Unmarshal(w.Body.Bytes(), &answer), w.Body.String())
		require.Equal(t, c.code, answer.Error.Code)
		require.Equal(t, "Sender", answer.Error.Type)
		require.NotEmpty(t, answer.Error.Message)
		require.Equal(t, w.Header().Get("X-Amzn-Requestid"), answer.ID)
		require.Regexp(t, "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$", answer.ID)
	}
}

func TestInternalRefusals(t *testing.T) {
	b := newBench(t, small())
	for body, status := range map[string]int{`{"group":"web","node":"lb-a"}`: 200, `{"group":"x"}`: 404, `{`: 400} {
		w := httptest.NewRecorder()
		b.s.Internal().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/sync", strings.NewReader(body)))
		require.Equal(t, status, w.Code, body)
	}
}

func TestAccountIsChecked(t *testing.T) {
	_, err := ParseAccount([]byte(`{"zones": ["a"], "colour": "red"}`))
	require.ErrorContains(t, err, `unknown field "colour"`)
	for want, change := range map[string]func(*Account){
		"zones: want at least one":                                     func(a *Account) { a.Zones = nil },
		`target_groups[0]: name "we b"`:                                func(a *Account) { a.TargetGroups[0].Name = "we b" },
		`target_groups[1]: "web" comes twice`:                          func(a *Account) { a.TargetGroups[1].Name = "web" },
		"target_groups[0]: port 0 is not a port":                       func(a *Account) { a.TargetGroups[0].Port = 0 },
		`target_groups[0]: type "lambda": want instance or ip`:         func(a *Account) { a.TargetGroups[0].Type = "lambda" },
		"target_groups[0]: health check timeout 11":                    func(a *Account) { a.TargetGroups[0].Check.Timeout = 11 },
		`load_balancers[0]: listener "x" is not a port`:                func(a *Account) { a.LoadBalancers[0].Listeners = map[string]string{"x": "web"} },
		`load_balancers[0]: listener 80: there is no target group "x"`: func(a *Account) { a.LoadBalancers[0].Listeners = map[string]string{"80": "x"} },
		"scaling_groups[0]: desired 2 is not between min 3 and max 6":  func(a *Account) { a.ScalingGroups[0].Min = 3 },
		`scaling_groups[0]: target group "idle" has targets by address`: func(a *Account) {
			a.ScalingGroups[0].TargetGroups = []string{"idle"}
		},
		`scaling_groups[0]: hook "h": LifecycleTransition must be`: func(a *Account) {
			a.ScalingGroups[0].Hooks = []Hook{{Name: "h", Transition: "later"}}
		},
		`instances[0]: addr: `:                         func(a *Account) { a.Instances[0].Addr = "here" },
		`instances[1]: "i-1" comes twice`:              func(a *Account) { a.Instances[1].ID = "i-1" },
		`instances[2]: there is no zone "c"`:           func(a *Account) { a.Instances[2].Zone = "c" },
		`instances[0]: there is no scaling group "gg"`: func(a *Account) { a.Instances[0].Group = "gg" },
	} {
		account := small()
		change(&account)
		_, err := New(t.Context(), desk.New(t, "127.0.0.1"), Options{
			Region: "r", Keys: map[string]string{"k": "s"}, Rate: 1, Account: account, Compute: &world{},
		})
		require.ErrorContains(t, err, "account: "+want)
	}
}
