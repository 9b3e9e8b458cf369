package aws_test

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/aws"
	"github.com/espra/protoplex/fakes/internal/desk"
	"github.com/espra/protoplex/fakes/lb"
	adapter "github.com/espra/protoplex/nodes/aws"
)

// A load balancer whose state is lost goes on until it is changed. Edits are
// refused; what its scaling group changes takes all targets from it, until the
// state is back.
func TestAmnesia(t *testing.T) {
	status := &atomic.Int32{}
	status.Store(200)
	backend(t, "127.0.72.1", "one", status)
	var amnesia aws.Amnesia
	d := desk.New(t, "127.0.72.8")
	d.WriteFile(t, "/account.json", []byte(`{
		"zones": ["us-east-a"],
		"target_groups": [{"name": "web", "port": 18443, "deregistration_delay": 1,
			"check": {"port": 18080, "path": "/health", "interval": 5, "timeout": 2, "healthy": 2, "unhealthy": 2}}],
		"load_balancers": [{"name": "front", "listeners": {"443": "web"}}],
		"scaling_groups": [{"name": "webs", "min": 1, "max": 2, "desired": 1, "target_groups": ["web"]}],
		"instances": [{"id": "i-1", "name": "one", "zone": "us-east-a", "addr": "127.0.72.1", "group": "webs"}]
	}`))
	d.Run(t, aws.RunOn(nil, &amnesia), "--listen", "127.0.72.8:0", "--internal", "127.0.72.8:0", "--account", "/account.json", "--key", "node:secret",
		"--boot", "100ms")
	line := d.Await(t, "control plane ready")
	r := &region{d: d, endpoint: "http://" + line["listen"].(string)}
	node := desk.New(t, "127.0.72.9")
	port := desk.FreePort(t, "127.0.72.9")
	node.Run(t, lb.Run, "--forward", fmt.Sprint(port, "=18443"), "--control", ":0", "--zone", "us-east-a",
		"--control-plane", "http://"+line["internal"].(string), "--target-group", "web")
	node.Await(t, "target healthy", "target", "one")
	reads := func() bool {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.72.9:", port))
		if err != nil {
			return false
		}
		defer c.Close()
		// The other instance is nowhere, which the checks have yet to find out.
		if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return false
		}
		n, err := c.Read(make([]byte, 16))
		return err == nil && n == 3
	}
	group := r.group(t, "web")
	edit := func() error {
		_, err := r.elb().RegisterTargets(t.Context(), &elb.RegisterTargetsInput{
			TargetGroupArn: &group, Targets: []types.TargetDescription{{Id: sdk.String("i-1")}}},
			func(o *elb.Options) { o.RetryMaxAttempts = 1 })
		return err
	}

	amnesia.Set(true)
	var refused smithy.APIError
	require.ErrorAs(t, edit(), &refused)
	require.Equal(t, "InternalFailure", refused.ErrorCode())
	require.NotZero(t, amnesia.Touched())
	require.True(t, reads(), "nothing has changed yet")
	before := amnesia.Touched()
	scaler, err := adapter.NewScaler(d, r.options("secret"), "webs")
	require.NoError(t, err)
	require.NoError(t, scaler.SetDesired(t.Context(), 2))
	node.Await(t, "target draining", "target", "one")
	require.False(t, reads())
	require.Greater(t, amnesia.Touched(), before)

	amnesia.Set(false)
	desk.Eventually(t, reads, "all is as it would have been")
	require.NoError(t, edit())
}
