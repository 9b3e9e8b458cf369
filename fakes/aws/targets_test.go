package aws

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/lb"
)

func well(name string) lb.Status { return lb.Status{Name: name, State: lb.Healthy} }

func unwell(name string) lb.Status {
	return lb.Status{Name: name, State: lb.Unhealthy, Reason: "Target.Timeout", Detail: "Request timed out"}
}

func TestTargetStates(t *testing.T) {
	account := small()
	account.ScalingGroups[0].Check = "EC2" // so that nothing is replaced
	b := newBench(t, account)
	web := b.arn("web")
	require.Equal(t, "i-1 initial Elb.RegistrationInProgress; i-2 initial Elb.RegistrationInProgress", b.health("web"))

	b.must("RegisterTargets", "TargetGroupArn", web, "Targets.member.1.Id", "i-3", "Targets.member.1.Port", "8443")
	require.NotContains(t, b.health("web"), "i-3", "descriptions lag")
	b.pass(time.Second)
	require.Contains(t, b.health("web"), "i-3 initial")

	require.Equal(t, "one three two", b.report("lb-a", well("one"), unwell("two"), lb.Status{Name: "three", State: lb.Initial, Reason: "Elb.InitialHealthChecking"}))
	require.Equal(t, "i-1 healthy; i-2 unhealthy Target.Timeout; i-3 initial Elb.InitialHealthChecking", b.health("web"))
	b.report("lb-b", unwell("one"), well("two"), unwell("three"))
	require.Equal(t, "i-1 healthy; i-2 healthy; i-3 unhealthy Target.Timeout", b.health("web"), "the kindest counts")
	b.pass(20 * time.Second)
	b.report("lb-b", unwell("one"), unwell("two"), unwell("three"))
	require.Equal(t, "i-1 healthy; i-2 unhealthy Target.Timeout", b.health("web", "Targets.member.1.Id", "i-1", "Targets.member.2.Id", "i-2"))
	b.pass(20 * time.Second)
	require.Contains(t, b.health("web"), "i-1 unhealthy", "who was silent for long counts no more")
	b.pass(time.Hour)
	require.Contains(t, b.health("web"), "i-1 healthy", "but for when all are silent")

	b.must("DeregisterTargets", "TargetGroupArn", web, "Targets.member.1.Id", "i-3")
	require.Equal(t, "one two", b.report("lb-a", well("three")), "it gets no new connections")
	b.pass(299 * time.Second)
	require.Contains(t, b.health("web"), "i-3 draining Target.DeregistrationInProgress")
	b.must("DeregisterTargets", "TargetGroupArn", web, "Targets.member.1.Id", "i-3")
	b.pass(2 * time.Second)
	require.NotContains(t, b.health("web"), "i-3")
	require.Equal(t, "i-3 unused Target.NotRegistered", b.health("web", "Targets.member.1.Id", "i-3"))
	b.refused("InvalidTarget", "DeregisterTargets", "TargetGroupArn", web, "Targets.member.1.Id", "i-3")

	// One that comes back while it drains starts anew.
	b.must("DeregisterTargets", "TargetGroupArn", web, "Targets.member.1.Id", "i-1")
	b.must("RegisterTargets", "TargetGroupArn", web, "Targets.member.1.Id", "i-1")
	b.pass(301 * time.Second)
	require.Contains(t, b.health("web"), "i-1 initial")
}

func TestTargetsByAddress(t *testing.T) {
	b := newBench(t, small())
	idle := b.arn("idle")
	b.must("RegisterTargets", "TargetGroupArn", idle, "Targets.member.1.Id", "10.9.0.1", "Targets.member.1.AvailabilityZone", "b")
	b.pass(time.Second)
	require.Equal(t, "10.9.0.1 unused Target.NotInUse", b.health("idle"), "nothing forwards to it")
	b.refused("ValidationError", "RegisterTargets", "TargetGroupArn", idle, "Targets.member.1.Id", "10.9.0.1", "Targets.member.1.AvailabilityZone", "c")
	b.refused("ValidationError", "RegisterTargets", "TargetGroupArn", idle, "Targets.member.1.Id", "i-1")
	b.refused("NotImplemented", "RegisterTargets", "TargetGroupArn", idle, "Targets.member.1.Id", "10.9.0.1", "Targets.member.1.Port", "26")
	b.refused("ValidationError", "RegisterTargets", "TargetGroupArn", idle)
	b.refused("TargetGroupNotFound", "RegisterTargets", "TargetGroupArn", "arn:x", "Targets.member.1.Id", "10.9.0.1")
	b.refused("TargetGroupNotFound", "DescribeTargetHealth", "TargetGroupArn", "arn:x")
	_, ok := b.s.sync(lb.Report{Group: "nobody's"})
	require.False(t, ok)
}

// What is set here is what the data plane is told.
func TestSettings(t *testing.T) {
	b := newBench(t, small())
	web := b.arn("web")
	settings := func() lb.Settings {
		plan, ok := b.s.sync(lb.Report{Group: "web", Node: "lb-a"})
		require.True(t, ok)
		return plan.Settings
	}
	want := lb.Settings{HealthPort: 8080, HealthPath: "/", Interval: 10 * time.Second, Timeout: 10 * time.Second, Healthy: 5, Unhealthy: 2, Drain: 300 * time.Second}
	require.Equal(t, want, settings())
	b.must("ModifyTargetGroup", "TargetGroupArn", web, "HealthCheckPath", "/up", "HealthCheckPort", "8081", "HealthCheckIntervalSeconds", "20", "UnhealthyThresholdCount", "3")
	b.must("ModifyTargetGroupAttributes", "TargetGroupArn", web,
		"Attributes.member.1.Key", attributeDelay, "Attributes.member.1.Value", "5", "Attributes.member.2.Key", attributeSlowStart, "Attributes.member.2.Value", "30")
	want.HealthPath, want.HealthPort, want.Interval, want.Unhealthy = "/up", 8081, 20*time.Second, 3
	want.Drain, want.SlowStart = 5*time.Second, 30*time.Second
	require.Equal(t, want, settings())
	b.pass(time.Second)
	require.Equal(t, attributesOut{list[attributeXML]{{attributeDelay, "5"}, {attributeSlowStart, "30"}}}, b.must("DescribeTargetGroupAttributes", "TargetGroupArn", web))

	for _, bad := range [][]string{{"HealthCheckPath", "up"}, {"HealthCheckPort", "traffic-port"}, {"HealthCheckPort", "0"}, {"HealthCheckIntervalSeconds", "4"}, {"HealthCheckTimeoutSeconds", "21"}, {"HealthyThresholdCount", "11"}} {
		b.refused("ValidationError", "ModifyTargetGroup", append([]string{"TargetGroupArn", web}, bad...)...)
	}
	for key, value := range map[string]string{attributeDelay: "3601", attributeSlowStart: "29", "stickiness.enabled": "1"} {
		b.refused("InvalidConfigurationRequest", "ModifyTargetGroupAttributes", "TargetGroupArn", web, "Attributes.member.1.Key", key, "Attributes.member.1.Value", value)
	}
	require.Equal(t, want, settings())
}

func TestBalancersAreDescribed(t *testing.T) {
	b := newBench(t, small())
	all := b.must("DescribeLoadBalancers").(describeBalancersOut)
	require.Len(t, all.LoadBalancers, 1)
	require.Equal(t, "active", all.LoadBalancers[0].State.Code)
	require.Equal(t, list[zoneXML]{{"a"}, {"b"}}, all.LoadBalancers[0].AvailabilityZones)
	arn := all.LoadBalancers[0].LoadBalancerArn
	listeners := b.must("DescribeListeners", "LoadBalancerArn", arn).(describeListenersOut)
	require.Len(t, listeners.Listeners, 1)
	require.Equal(t, list[forwardXML]{{"forward", b.arn("web")}}, listeners.Listeners[0].DefaultActions)
	groups := b.must("DescribeTargetGroups", "LoadBalancerArn", arn).(describeTargetGroupsOut)
	require.Len(t, groups.TargetGroups, 1)
	require.Equal(t, "web", groups.TargetGroups[0].TargetGroupName)

	first := b.must("DescribeTargetGroups", "PageSize", "1").(describeTargetGroupsOut)
	require.Equal(t, "web", first.TargetGroups[0].TargetGroupName)
	second := b.must("DescribeTargetGroups", "PageSize", "1", "Marker", first.NextMarker).(describeTargetGroupsOut)
	require.Equal(t, "idle", second.TargetGroups[0].TargetGroupName)
	require.Empty(t, second.NextMarker)
	b.refused("ValidationError: Marker", "DescribeTargetGroups", "Marker", "x")
	b.refused("ValidationError: PageSize", "DescribeTargetGroups", "PageSize", "0")
	b.refused("TargetGroupNotFound", "DescribeTargetGroups", "Names.member.1", "x")
	b.refused("LoadBalancerNotFound", "DescribeLoadBalancers", "Names.member.1", "x")
	b.refused("LoadBalancerNotFound", "DescribeTargetGroups", "LoadBalancerArn", "x")
	b.refused("LoadBalancerNotFound", "DescribeListeners", "LoadBalancerArn", "x")
	b.refused("ListenerNotFound", "DescribeListeners", "ListenerArns.member.1", "x")
}
