package aws

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const zoneAB = "a InService, b InService"

func TestGroupKeepsItsSize(t *testing.T) {
	b := newBench(t, small())
	b.pass(time.Minute)
	require.Equal(t, zoneAB, b.group())
	require.Empty(t, b.activities())

	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "5")
	b.pass(time.Second)
	require.Equal(t, "a InService, a Pending, a Pending, b InService, b Pending", b.group(), "spread over the zones")
	require.Equal(t, statusPreInService, b.activities()[0].StatusCode)
	b.pass(2 * time.Second)
	require.Equal(t, "a InService, a InService, a InService, b InService, b InService", b.group())
	require.Equal(t, 5, strings.Count(b.health("web"), "initial"), "they are registered")
	require.Equal(t, statusSuccessful, b.activities()[0].StatusCode)
	require.Contains(t, b.activities()[0].Cause, "increasing the capacity from 4 to 5")
	require.NotEmpty(t, b.activities()[0].EndTime)

	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "4")
	b.pass(time.Second)
	require.Equal(t, []string{"i-1"}, b.in(terminating), "the oldest of the zone that has the most")
	require.Equal(t, statusDraining, b.activities()[0].StatusCode)
	b.pass(299 * time.Second)
	require.Equal(t, []string{"i-1"}, b.in(terminating), "its connections drain")
	require.Empty(t, b.world.ended)
	b.pass(3 * time.Second)
	require.Equal(t, []string{"i-1"}, b.world.ended)
	require.Equal(t, "a InService, a InService, b InService, b InService", b.group())
}

func TestProtection(t *testing.T) {
	b := newBench(t, small())
	b.must("SetInstanceProtection", "AutoScalingGroupName", "g", "InstanceIds.member.1", "i-1", "ProtectedFromScaleIn", "true")
	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "1")
	b.pass(time.Second)
	require.Equal(t, []string{"i-2"}, b.in(terminating))

	b = newBench(t, small())
	b.must("SetInstanceProtection", "AutoScalingGroupName", "g", "InstanceIds.member.1", "i-1", "InstanceIds.member.2", "i-2", "ProtectedFromScaleIn", "true")
	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "1")
	b.pass(30 * time.Second)
	require.Equal(t, zoneAB, b.group())
	require.Len(t, b.activities(), 1)
	require.Equal(t, statusFailed, b.activities()[0].StatusCode)
	b.must("SetInstanceProtection", "AutoScalingGroupName", "g", "InstanceIds.member.1", "i-2", "ProtectedFromScaleIn", "false")
	b.pass(time.Second)
	require.Equal(t, []string{"i-2"}, b.in(terminating))
	b.refused("not in InService", "SetInstanceProtection", "AutoScalingGroupName", "g", "InstanceIds.member.1", "i-2", "ProtectedFromScaleIn", "true")
}

func TestReplacement(t *testing.T) {
	for name, c := range map[string]struct {
		harm  func(*bench)
		after time.Duration
		cause string
	}{
		"lost":      {func(b *bench) { b.world.broken["i-2"] = true }, statusTime, "EC2 instance status checks failure"},
		"unhealthy": {func(b *bench) { b.report("lb-a", well("one"), unwell("two")) }, time.Second, "ELB system health check failure"},
		"by hand": {func(b *bench) {
			b.must("SetInstanceHealth", "InstanceId", "i-2", "HealthStatus", "Unhealthy")
		}, time.Second, "user health-check"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, small())
			b.pass(2 * time.Minute)
			c.harm(b)
			b.pass(c.after)
			require.Equal(t, []string{"i-2"}, b.in(terminating))
			require.Contains(t, b.activities()[0].Cause, c.cause)
			b.pass(time.Second)
			require.Equal(t, "a InService, b Pending, b Terminating", b.group())
			require.Contains(t, b.activities()[0].Cause, "unhealthy instance needing to be replaced")
			b.pass(310 * time.Second)
			require.Equal(t, zoneAB, b.group())
			require.Equal(t, []string{"i-2"}, b.world.ended)
		})
	}
}

func TestGrace(t *testing.T) {
	b := newBench(t, small())
	b.report("lb-a", unwell("one"), well("two"))
	b.must("SetInstanceHealth", "InstanceId", "i-2", "HealthStatus", "Unhealthy")
	b.pass(50 * time.Second)
	require.Equal(t, zoneAB, b.group(), "within the grace period")
	b.must("SetInstanceHealth", "InstanceId", "i-2", "HealthStatus", "Unhealthy", "ShouldRespectGracePeriod", "false")
	b.pass(time.Second)
	require.Equal(t, []string{"i-2"}, b.in(terminating))
	b.pass(10 * time.Second)
	require.Equal(t, []string{"i-1", "i-2"}, b.in(terminating))
}

func TestTerminate(t *testing.T) {
	b := newBench(t, small())
	out := b.must("TerminateInstanceInAutoScalingGroup", "InstanceId", "i-1", "ShouldDecrementDesiredCapacity", "true").(terminateOut)
	require.Contains(t, out.Activity.Cause, "user request")
	b.pass(310 * time.Second)
	require.Equal(t, "b InService", b.group())
	b.refused("desiredSize equals minSize (1)", "TerminateInstanceInAutoScalingGroup", "InstanceId", "i-2", "ShouldDecrementDesiredCapacity", "true")
	b.must("TerminateInstanceInAutoScalingGroup", "InstanceId", "i-2", "ShouldDecrementDesiredCapacity", "false")
	b.pass(2 * time.Second)
	require.Equal(t, "a Pending:Proceed, b Terminating", b.group())
	b.refused("No managed instance", "TerminateInstanceInAutoScalingGroup", "InstanceId", "i-9", "ShouldDecrementDesiredCapacity", "false")
}

func TestCapacityRunsOut(t *testing.T) {
	b := newBench(t, small())
	b.world.room = map[string]int{"a": 0, "b": 1}
	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "4")
	b.pass(30 * time.Second)
	require.Equal(t, "a InService, b InService, b InService", b.group(), "the zone with room took one")
	failed := 0
	for _, a := range b.activities() {
		if a.StatusCode == statusFailed {
			failed++
			require.Contains(t, a.StatusMessage, "InsufficientInstanceCapacity")
		}
	}
	require.Equal(t, 3, failed, "zone a twice, zone b once")
	b.pass(60 * time.Second)
	require.Len(t, b.activities(), 6, "it tries again once a minute")
	b.world.room["a"] = 1
	b.pass(70 * time.Second)
	require.Equal(t, "a InService, a InService, b InService, b InService", b.group())
}

func TestInstanceThatNeverRuns(t *testing.T) {
	b := newBench(t, small())
	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "3")
	b.s.step()
	first := b.in(pending)
	require.Len(t, first, 1)
	b.world.broken[first[0]] = true
	b.pass(launchLimit + 3*time.Second)
	require.Contains(t, b.world.ended, first[0])
	b.pass(5 * time.Second)
	require.Equal(t, "a InService, a InService, b InService", b.group())
}

func TestUpdateAndCooldown(t *testing.T) {
	b := newBench(t, small())
	b.refused("above max value 6", "SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "7")
	b.refused("below min value 1", "SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "0")
	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "3", "HonorCooldown", "true")
	b.refused("ScalingActivityInProgress", "SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "4", "HonorCooldown", "true")
	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "4")
	b.pass(300 * time.Second)
	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "3", "HonorCooldown", "true")

	b.must("UpdateAutoScalingGroup", "AutoScalingGroupName", "g", "MinSize", "1", "MaxSize", "2", "HealthCheckType", "EC2", "DefaultCooldown", "0", "HealthCheckGracePeriod", "5")
	b.pass(time.Second)
	g := b.must("DescribeAutoScalingGroups").(describeGroupsOut).AutoScalingGroups[0]
	require.Equal(t, []any{1, 2, 2, "EC2", 0, 5}, []any{g.MinSize, g.MaxSize, g.DesiredCapacity, g.HealthCheckType, g.DefaultCooldown, g.HealthCheckGracePeriod})
	for _, bad := range [][]string{{"MinSize", "3"}, {"DesiredCapacity", "3"}, {"HealthCheckType", "VPC"}, {"DefaultCooldown", "-1"}} {
		b.refused("ValidationError", "UpdateAutoScalingGroup", append([]string{"AutoScalingGroupName", "g"}, bad...)...)
	}
	for action, pairs := range map[string][]string{
		"UpdateAutoScalingGroup": nil, "SetDesiredCapacity": {"DesiredCapacity", "1"}, "DescribeScalingActivities": nil, "DescribeLifecycleHooks": nil, "PutLifecycleHook": nil,
		"DeleteLifecycleHook": nil, "SetInstanceProtection": nil, "CompleteLifecycleAction": {"LifecycleActionResult", "CONTINUE"},
	} {
		b.refused("AutoScalingGroup name not found", action, append([]string{"AutoScalingGroupName", "x"}, pairs...)...)
	}
}

func TestActivitiesComeInParts(t *testing.T) {
	b := newBench(t, small())
	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "5")
	b.pass(time.Second)
	var ids []string
	token := ""
	for range 3 {
		pairs := []string{"AutoScalingGroupName", "g", "MaxRecords", "1"}
		if token != "" {
			pairs = append(pairs, "NextToken", token)
		}
		out := b.must("DescribeScalingActivities", pairs...).(describeActivitiesOut)
		require.Len(t, out.Activities, 1)
		ids = append(ids, out.Activities[0].ActivityId)
		token = out.NextToken
	}
	require.Empty(t, token)
	all := b.activities()
	require.Equal(t, []string{all[0].ActivityId, all[1].ActivityId, all[2].ActivityId}, ids)
	require.Equal(t, ids[1:2], []string{b.activities("ActivityIds.member.1", ids[1])[0].ActivityId})
	b.refused("InvalidNextToken", "DescribeScalingActivities", "NextToken", "eA")
	b.refused("MaxRecords", "DescribeScalingActivities", "MaxRecords", "101")
	instances := b.must("DescribeAutoScalingInstances", "InstanceIds.member.1", "i-2", "InstanceIds.member.2", "i-9").(describeInstancesOut)
	require.Equal(t, list[managedXML]{{"i-2", "g", "b", inService, healthy, false}}, instances.AutoScalingInstances)
}

func TestThrottling(t *testing.T) {
	b := newBench(t, small())
	b.s.o.Rate = 5
	for range 5 {
		b.must("DescribeAutoScalingGroups")
	}
	b.refused("Throttling: Rate exceeded", "DescribeAutoScalingGroups")
	b.must("DescribeLoadBalancers") // the other API has a rate of its own
	b.clock.at += 200 * time.Millisecond
	b.must("DescribeAutoScalingGroups")
	b.refused("Throttling", "DescribeAutoScalingGroups")
}
