package aws_test

import (
	"context"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/aws"
	"github.com/espra/protoplex/fakes/internal/desk"
	"github.com/espra/protoplex/nodes"
	adapter "github.com/espra/protoplex/nodes/aws"
	"github.com/espra/protoplex/nodes/cloudtest"
)

const account = `{
	"zones": ["us-east-a", "us-east-b"],
	"target_groups": [
		{"name": "by-hand", "port": 8080},
		{"name": "web", "port": 8443, "deregistration_delay": 0, "check": {"port": 8080, "path": "/health", "interval": 10}}
	],
	"load_balancers": [{"name": "front", "dns_name": "front.elb.example.com", "listeners": {"443": "web", "80": "web", "25": "by-hand"}}],
	"scaling_groups": [{"name": "proxies", "min": 1, "max": 4, "desired": 2, "target_groups": ["web"],
		"hooks": [{"name": "warm-up", "transition": "autoscaling:EC2_INSTANCE_LAUNCHING"}]}],
	"instances": [
		{"id": "i-1", "name": "proxy-1", "zone": "us-east-a", "addr": "127.0.0.1", "group": "proxies"},
		{"id": "i-2", "name": "proxy-2", "zone": "us-east-b", "addr": "127.0.0.2", "group": "proxies"},
		{"id": "i-3", "name": "mail-1", "zone": "us-east-a", "addr": "127.0.0.3"},
		{"id": "i-4", "name": "mail-2", "zone": "us-east-b", "addr": "127.0.0.4"}
	]
}`

// region is a control plane on a real port.
type region struct {
	d        *desk.Desk
	endpoint string
	internal string
}

func newRegion(t testing.TB, args ...string) *region {
	d := desk.New(t, "127.0.0.1")
	d.WriteFile(t, "/account.json", []byte(account))
	d.Run(t, aws.Run, append([]string{
		"--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0", "--account", "/account.json", "--key", "node:secret", "--boot", "0s", "--rate", "1000",
	}, args...)...)
	line := d.Await(t, "control plane ready")
	return &region{d, "http://" + line["listen"].(string), "http://" + line["internal"].(string)}
}

func (r *region) options(secret string) adapter.CloudOptions {
	return adapter.CloudOptions{Endpoint: r.endpoint, Region: "us-east-1", Key: "node", Secret: secret}
}

func (r *region) balancer(t testing.TB, secret string) nodes.Balancer {
	b, err := adapter.NewBalancer(r.d, r.options(secret), r.group(t, "by-hand"))
	require.NoError(t, err)
	return b
}

func (r *region) scaler(t testing.TB, secret string) nodes.Scaler {
	s, err := adapter.NewScaler(r.d, r.options(secret), "proxies")
	require.NoError(t, err)
	return s
}

func (r *region) Balancer(t testing.TB) nodes.Balancer { return r.balancer(t, "secret") }
func (r *region) Scaler(t testing.TB) nodes.Scaler     { return r.scaler(t, "secret") }
func (r *region) Targets() []string                    { return []string{"i-4", "i-3"} }

func (r *region) Strangers(t testing.TB) (nodes.Balancer, nodes.Scaler) {
	return r.balancer(t, "guess"), r.scaler(t, "guess")
}

func (r *region) Eventually(t testing.TB, f func() bool, what string) {
	t.Helper()
	require.Eventually(t, f, 30*time.Second, 50*time.Millisecond, what)
}

func (r *region) elb() *elb.Client {
	return elb.New(elb.Options{Region: "us-east-1", BaseEndpoint: &r.endpoint, Credentials: credentials})
}

var credentials = sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) {
	return sdk.Credentials{AccessKeyID: "node", SecretAccessKey: "secret"}, nil
})

// group gives the ARN of a target group.
func (r *region) group(t testing.TB, name string) string {
	out, err := r.elb().DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{Names: []string{name}})
	require.NoError(t, err)
	require.Len(t, out.TargetGroups, 1)
	return *out.TargetGroups[0].TargetGroupArn
}

// The whole road, on real ports: contract, adapter, the AWS SDK, HTTP, server.
func TestConformance(t *testing.T) {
	for _, test := range cloudtest.Tests() {
		t.Run(test.Name, func(t *testing.T) {
			t.Parallel()
			test.Run(t, newRegion(t))
		})
	}
}
