package aws

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (b *bench) hook(name, transition, timeout, result string) {
	b.t.Helper()
	b.must("PutLifecycleHook", "AutoScalingGroupName", "g", "LifecycleHookName", name, "LifecycleTransition", transition,
		"HeartbeatTimeout", timeout, "DefaultResult", result)
}

// grow has the group launch one instance more, and gives it once it waits.
func (b *bench) grow() string {
	b.t.Helper()
	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "3")
	b.pass(2 * time.Second)
	ids := b.in(pendingWait)
	require.Len(b.t, ids, 1)
	return ids[0]
}

func (b *bench) complete(hook, id, result string) {
	b.t.Helper()
	b.must("CompleteLifecycleAction", "AutoScalingGroupName", "g", "LifecycleHookName", hook, "InstanceId", id, "LifecycleActionResult", result)
}

func TestLaunchWaits(t *testing.T) {
	b := newBench(t, small())
	b.hook("warm", launching, "60", "CONTINUE")
	id := b.grow()
	require.Equal(t, statusHook, b.activities()[0].StatusCode)
	require.NotContains(t, b.health("web"), id, "it is not registered yet")
	b.complete("warm", id, "CONTINUE")
	b.pass(time.Second)
	require.Contains(t, b.in(inService), id)
	require.Contains(t, b.health("web"), id)

	b.refused("No active Lifecycle Action found with instance ID "+id, "CompleteLifecycleAction",
		"AutoScalingGroupName", "g", "LifecycleHookName", "warm", "InstanceId", id, "LifecycleActionResult", "CONTINUE")
	b.refused("No active Lifecycle Action found with token t", "RecordLifecycleActionHeartbeat",
		"AutoScalingGroupName", "g", "LifecycleHookName", "warm", "LifecycleActionToken", "t")
	b.refused("neither CONTINUE nor ABANDON", "CompleteLifecycleAction",
		"AutoScalingGroupName", "g", "LifecycleHookName", "warm", "InstanceId", id, "LifecycleActionResult", "PERHAPS")
	b.refused("No Lifecycle Hook found", "RecordLifecycleActionHeartbeat", "AutoScalingGroupName", "g", "LifecycleHookName", "cold", "InstanceId", id)
}

func TestHookTimesOut(t *testing.T) {
	for _, result := range []string{"CONTINUE", "ABANDON"} {
		b := newBench(t, small())
		b.hook("warm", launching, "60", result)
		id := b.grow()
		b.pass(55 * time.Second)
		b.must("RecordLifecycleActionHeartbeat", "AutoScalingGroupName", "g", "LifecycleHookName", "warm", "InstanceId", id)
		b.pass(59 * time.Second)
		require.Equal(t, []string{id}, b.in(pendingWait), "its heart beat")
		b.pass(5 * time.Second)
		if result == "CONTINUE" {
			require.Contains(t, b.in(inService), id)
			continue
		}
		require.Equal(t, []string{id}, b.world.ended)
	}
}

func TestHeartbeatsEnd(t *testing.T) {
	b := newBench(t, small())
	b.hook("warm", launching, "30", "CONTINUE")
	id := b.grow()
	beats := 0
	for ; ; beats++ {
		_, e := b.ask("RecordLifecycleActionHeartbeat", "AutoScalingGroupName", "g", "LifecycleHookName", "warm", "InstanceId", id)
		if e != nil {
			break
		}
		b.pass(25 * time.Second)
		require.Less(t, beats, 200)
	}
	require.Equal(t, 120, beats, "a hundred times its time-out")
}

func TestAbandonedLaunch(t *testing.T) {
	b := newBench(t, small())
	b.hook("warm", launching, "60", "CONTINUE")
	id := b.grow()
	b.complete("warm", id, "ABANDON")
	b.pass(10 * time.Second)
	require.Equal(t, []string{id}, b.world.ended)
	require.Len(t, b.in(pendingWait), 1, "another one was launched")
	require.Contains(t, b.activities()[1].Cause, "lifecycle action that was abandoned")
	require.Equal(t, statusFailed, b.activities()[2].StatusCode)
}

// An instance waits for all hooks of its transition.
func TestTwoHooks(t *testing.T) {
	b := newBench(t, small())
	b.hook("warm", launching, "600", "CONTINUE")
	b.hook("check", launching, "600", "CONTINUE")
	id := b.grow()
	b.complete("warm", id, "CONTINUE")
	b.pass(time.Second)
	require.Equal(t, []string{id}, b.in(pendingWait))
	b.must("DeleteLifecycleHook", "AutoScalingGroupName", "g", "LifecycleHookName", "check")
	b.pass(time.Second)
	require.Contains(t, b.in(inService), id)
	b.refused("No Lifecycle Hook found", "DeleteLifecycleHook", "AutoScalingGroupName", "g", "LifecycleHookName", "check")
}

func TestTerminationWaits(t *testing.T) {
	b := newBench(t, small())
	b.hook("save", leaving, "600", "ABANDON")
	b.must("SetDesiredCapacity", "AutoScalingGroupName", "g", "DesiredCapacity", "1")
	b.pass(303 * time.Second)
	require.Equal(t, []string{"i-1"}, b.in(terminatingWait), "after its connections drained")
	token := b.s.cloud.group("g").instance("i-1").waits[0].token
	require.Regexp(t, "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", token)
	b.pass(500 * time.Second)
	require.Empty(t, b.world.ended)
	b.must("CompleteLifecycleAction", "AutoScalingGroupName", "g", "LifecycleHookName", "save", "LifecycleActionToken", token, "LifecycleActionResult", "CONTINUE")
	b.pass(time.Second)
	require.Equal(t, []string{"i-1"}, b.world.ended)
}

func TestHooksAreDescribed(t *testing.T) {
	b := newBench(t, small())
	b.must("PutLifecycleHook", "AutoScalingGroupName", "g", "LifecycleHookName", "warm", "LifecycleTransition", launching)
	b.must("PutLifecycleHook", "AutoScalingGroupName", "g", "LifecycleHookName", "warm", "HeartbeatTimeout", "30")
	b.pass(time.Second)
	require.Equal(t, describeHooksOut{list[hookXML]{{"g", "warm", launching, 30, 3000, abandon}}}, b.must("DescribeLifecycleHooks", "AutoScalingGroupName", "g"))
	require.Empty(t, b.must("DescribeLifecycleHooks", "AutoScalingGroupName", "g", "LifecycleHookNames.member.1", "x").(describeHooksOut).LifecycleHooks)
	for _, bad := range [][]string{{"LifecycleHookName", ""}, {"LifecycleTransition", "x"}, {"DefaultResult", "x"}, {"HeartbeatTimeout", "29"}, {"HeartbeatTimeout", "7201"}} {
		pairs := append([]string{"AutoScalingGroupName", "g", "LifecycleHookName", "warm"}, bad...)
		b.refused("ValidationError", "PutLifecycleHook", pairs...)
	}
}
