package aws_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/aws"
)

func (e *endpoint) cloud(t *testing.T, m nodes.Machine) (nodes.Balancer, nodes.Scaler) {
	o := aws.CloudOptions{Endpoint: e.URL, Region: "eu-west-1", Key: "alice", Secret: "secret"}
	b, err := aws.NewBalancer(m, o, "arn:group")
	require.NoError(t, err)
	s, err := aws.NewScaler(m, o, "group")
	require.NoError(t, err)
	return b, s
}

func complain(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte("<ErrorResponse><Error><Type>Sender</Type><Code>" + code + "</Code><Message>" + message + "</Message></Error></ErrorResponse>"))
	}
}

func succeed(action string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<" + action + "Response><" + action + "Result/></" + action + "Response>"))
	}
}

// A change is sent again where it was surely not made: refused for its rate, or
// for a wrong clock. Where it may have been made, it is not.
func TestChangesAreSentAgainIfSafe(t *testing.T) {
	e := newEndpoint(t, complain(400, "Throttling", "Rate exceeded"), succeed("RegisterTargets"))
	b, _ := e.cloud(t, newMachine(t))
	require.NoError(t, b.Register(t.Context(), "i-1"))
	require.Equal(t, 2, e.seen())

	e = newEndpoint(t, complain(400, "Throttling", "Rate exceeded"))
	_, s := e.cloud(t, newMachine(t))
	require.ErrorIs(t, s.SetDesired(t.Context(), 3), nodes.ErrCloudThrottle)
	require.Equal(t, 3, e.seen(), "and no longer")

	for name, h := range map[string]http.HandlerFunc{"cut": cut, "500": complain(500, "InternalFailure", ""), "503": complain(503, "ServiceUnavailable", "")} {
		e := newEndpoint(t, h, succeed("CompleteLifecycleAction"))
		_, s := e.cloud(t, newMachine(t))
		require.Error(t, s.Complete(t.Context(), "hook", "i-1", nodes.Continue), name)
		require.Equal(t, 1, e.seen(), name)
		e = newEndpoint(t, h, succeed("DescribeTargetHealth"))
		b, _ := e.cloud(t, newMachine(t))
		_, err := b.Health(t.Context())
		require.NoError(t, err, name)
		require.Equal(t, 2, e.seen(), "a read is")
	}
}

func TestCloudErrors(t *testing.T) {
	for _, c := range []struct {
		status        int
		code, message string
		want          error
	}{
		{400, "InvalidTarget", "not registered", nodes.ErrNoTarget},
		{400, "TargetGroupNotFound", "none", nodes.ErrNoGroup},
		{400, "ValidationError", "AutoScalingGroup name not found - x", nodes.ErrNoGroup},
		{400, "ValidationError", "No active Lifecycle Action found with instance ID i-1", nodes.ErrNoAction},
		{400, "ValidationError", "New SetDesiredCapacity value 9 is above max value 4 for the AutoScalingGroup.", nodes.ErrOutOfBounds},
		{403, "InvalidClientTokenId", "who", nodes.ErrCloudDenied},
		{403, "SignatureDoesNotMatch", "no", nodes.ErrCloudDenied},
	} {
		e := newEndpoint(t, complain(c.status, c.code, c.message))
		_, s := e.cloud(t, newMachine(t))
		require.ErrorIs(t, s.SetDesired(t.Context(), 3), c.want, c.message)
		require.Equal(t, 1, e.seen())
	}
	_, s := newEndpoint(t, complain(400, "ValidationError", "something else")).cloud(t, newMachine(t))
	err := s.SetDesired(t.Context(), 3)
	for _, known := range []error{nodes.ErrNoGroup, nodes.ErrNoAction, nodes.ErrOutOfBounds, nodes.ErrCloudDenied} {
		require.NotErrorIs(t, err, known)
	}
}

// These services call a request of another time one with a wrong signature.
func TestCloudClockIsCorrected(t *testing.T) {
	var refused atomic.Int64
	e := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil || time.Since(at).Abs() > 15*time.Minute {
			refused.Add(1)
			complain(403, "SignatureDoesNotMatch", "Signature expired")(w, r)
			return
		}
		succeed("SetDesiredCapacity")(w, r)
	})
	_, s := e.cloud(t, &stubborn{Machine: newMachine(t), wrong: time.Hour})
	require.NoError(t, s.SetDesired(t.Context(), 3))
	require.Equal(t, int64(1), refused.Load())
}

func TestNewCloudRefuses(t *testing.T) {
	good := aws.CloudOptions{Endpoint: "http://aws:80", Region: "eu-west-1", Key: "a", Secret: "b"}
	for _, spoil := range []func(*aws.CloudOptions){
		func(o *aws.CloudOptions) { o.Endpoint = "aws:80" },
		func(o *aws.CloudOptions) { o.Region = "" },
		func(o *aws.CloudOptions) { o.Key = "" },
		func(o *aws.CloudOptions) { o.Secret = "" },
	} {
		o := good
		spoil(&o)
		_, err := aws.NewBalancer(newMachine(t), o, "arn:group")
		require.Error(t, err)
		_, err = aws.NewScaler(newMachine(t), o, "group")
		require.Error(t, err)
	}
	_, err := aws.NewBalancer(newMachine(t), good, "")
	require.Error(t, err)
	_, err = aws.NewScaler(newMachine(t), good, "")
	require.Error(t, err)
}
