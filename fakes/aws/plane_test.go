package aws_test

import (
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/aws"
	"github.com/espra/protoplex/fakes/internal/desk"
	"github.com/espra/protoplex/fakes/lb"
)

// backend is a target that says its name to whoever connects.
func backend(t *testing.T, addr, name string, status *atomic.Int32) {
	d := desk.New(t, addr)
	data, err := d.Listen("tcp", ":18443")
	require.NoError(t, err)
	health, err := d.Listen("tcp", ":18080")
	require.NoError(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) })}
	go s.Serve(health)
	t.Cleanup(func() { s.Close(); data.Close() })
	go func() {
		for {
			c, err := data.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, name)
			c.Close()
		}
	}()
}

// Registrations reach the data plane and its verdicts come back; without a
// control plane it goes on.
func TestDataPlane(t *testing.T) {
	status := &atomic.Int32{}
	status.Store(200)
	backend(t, "127.0.71.1", "one", status)

	d := desk.New(t, "127.0.71.8")
	d.WriteFile(t, "/account.json", []byte(`{
		"zones": ["us-east-a"],
		"target_groups": [{"name": "web", "port": 18443, "type": "ip", "deregistration_delay": 1,
			"check": {"port": 18080, "path": "/health", "interval": 5, "timeout": 2, "healthy": 2, "unhealthy": 2}}],
		"load_balancers": [{"name": "front", "listeners": {"443": "web"}}]
	}`))
	stop := d.Run(t, aws.Run, "--listen", "127.0.71.8:0", "--internal", "127.0.71.8:0", "--account", "/account.json", "--key", "node:secret")
	line := d.Await(t, "control plane ready")
	r := &region{d: d, endpoint: "http://" + line["listen"].(string)}

	node := desk.New(t, "127.0.71.9")
	port := desk.FreePort(t, "127.0.71.9")
	node.Run(t, lb.Run, "--forward", fmt.Sprint(port, "=18443"), "--control", ":0", "--zone", "us-east-a",
		"--control-plane", "http://"+line["internal"].(string), "--target-group", "web")
	node.Await(t, "load balancer ready")

	group := r.group(t, "web")
	_, err := r.elb().RegisterTargets(t.Context(), &elb.RegisterTargetsInput{TargetGroupArn: &group, Targets: []types.TargetDescription{{Id: sdk.String("127.0.71.1")}}})
	require.NoError(t, err)
	node.Await(t, "target healthy", "target", "127.0.71.1")
	state := func() (types.TargetHealthStateEnum, types.TargetHealthReasonEnum) {
		out, err := r.elb().DescribeTargetHealth(t.Context(), &elb.DescribeTargetHealthInput{TargetGroupArn: &group})
		require.NoError(t, err)
		if len(out.TargetHealthDescriptions) == 0 {
			return "", ""
		}
		h := out.TargetHealthDescriptions[0].TargetHealth
		return h.State, h.Reason
	}
	desk.Eventually(t, func() bool { s, _ := state(); return s == types.TargetHealthStateEnumHealthy }, "the verdict comes back")
	require.Equal(t, "one", read(t, port))

	status.Store(503)
	node.Await(t, "target unhealthy", "target", "127.0.71.1")
	desk.Eventually(t, func() bool {
		s, why := state()
		return s == types.TargetHealthStateEnumUnhealthy && why == types.TargetHealthReasonEnumResponseCodeMismatch
	}, "and so does the next, with its reason")

	stop()
	node.Await(t, "control plane lost")
	status.Store(200)
	require.Equal(t, "one", read(t, port), "the data plane goes on")
}

func read(t *testing.T, port int) string {
	c, err := net.Dial("tcp", fmt.Sprint("127.0.71.9:", port))
	require.NoError(t, err)
	defer c.Close()
	buf := make([]byte, 16)
	n, err := c.Read(buf)
	require.NoError(t, err)
	return string(buf[:n])
}
