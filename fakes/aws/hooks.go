package aws

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// hook has instances wait at a transition until somebody says that they may go
// on, or until nobody has spoken for a while.
type hook struct {
	name, transition string
	timeout          time.Duration // without a heartbeat
	result           string        // when it has passed
}

// The transitions of hooks, and how they end.
const (
	launching = "autoscaling:EC2_INSTANCE_LAUNCHING"
	leaving   = "autoscaling:EC2_INSTANCE_TERMINATING"

	goOn    = "CONTINUE"
	abandon = "ABANDON"
)

const (
	maxHooks  = 50             // of one group
	maxWait   = 48 * time.Hour // of an instance, or
	maxWaits  = 100            // times the time-out, whichever is less
	noAction  = "No active Lifecycle Action found with instance ID "
	noActionT = "No active Lifecycle Action found with token "
)

// wait is one hook that an instance waits for. Its times are by Elapsed.
type wait struct {
	hook, token     string
	deadline, limit time.Duration
}

func (h hook) valid() error {
	switch {
	case h.name == "" || len(h.name) > 255:
		return errors.New("LifecycleHookName must have 1 to 255 characters")
	case h.transition != launching && h.transition != leaving:
		return errors.New("LifecycleTransition must be " + launching + " or " + leaving)
	case h.result != goOn && h.result != abandon:
		return errors.New("DefaultResult must be CONTINUE or ABANDON")
	case h.timeout < 30*time.Second || h.timeout > 2*time.Hour:
		return errors.New("HeartbeatTimeout must be 30 to 7200 seconds")
	}
	return nil
}

// limit is how long a hook can hold an instance at most.
func (h hook) limit() time.Duration { return min(maxWait, maxWaits*h.timeout) }

// await has an instance wait for the hooks of a transition, or go on at once.
func (s *Server) await(g *group, i *instance, transition string, now time.Duration) {
	i.waits = nil
	for _, h := range g.hooks {
		if h.transition == transition {
			i.waits = append(i.waits, wait{h.name, s.token(), now + h.timeout, now + h.limit()})
		}
	}
	waiting, proceed := pendingWait, pendingProceed
	if transition == leaving {
		waiting, proceed = terminatingWait, terminatingProceed
	}
	i.state = proceed
	if len(i.waits) > 0 {
		i.state = waiting
		g.progress(i.activityID, statusHook, 60)
		s.log("instance waits", g, i)
	}
}

// token names one wait.
func (s *Server) token() string {
	a, b := s.draw(), s.draw()
	return a[:8] + "-" + a[8:12] + "-" + a[12:] + "-" + b[:4] + "-" + b[4:]
}

// expire ends the waits whose time is up, with their hook's result.
func (s *Server) expire(g *group, i *instance, now time.Duration) {
	for _, w := range slices.Clone(i.waits) {
		if now < w.deadline {
			continue
		}
		result := abandon
		if n := slices.IndexFunc(g.hooks, func(h hook) bool { return h.name == w.hook }); n >= 0 {
			result = g.hooks[n].result
		}
		s.m.Log().Info("hook timed out", "group", g.name, "instance", i.id, "hook", w.hook, "result", result)
		s.finish(g, i, w, result)
	}
}

// finish ends one wait. A launch that is abandoned ends the instance; an
// instance that leaves does so in either case.
func (s *Server) finish(g *group, i *instance, w wait, result string) {
	if i.state != pendingWait && i.state != terminatingWait {
		return // another wait has ended this one
	}
	i.waits = slices.DeleteFunc(slices.Clone(i.waits), func(x wait) bool { return x.token == w.token })
	switch {
	case i.state == pendingWait && result == abandon:
		s.terminate(g, i, "an instance was taken out of service in response to a lifecycle action that was abandoned.")
	case i.state == terminatingWait && (result == abandon || len(i.waits) == 0):
		i.state, i.waits = terminatingProceed, nil
	case i.state == pendingWait && len(i.waits) == 0:
		i.state = pendingProceed
	}
}

// actionIn names one wait.
type actionIn struct {
	AutoScalingGroupName, LifecycleHookName string
	InstanceId, LifecycleActionToken        string
	LifecycleActionResult                   string
}

func (s *Server) wait(in actionIn) (*group, *instance, *wait, *apiError) {
	g := s.cloud.group(in.AutoScalingGroupName)
	if g == nil {
		return nil, nil, nil, noGroup(in.AutoScalingGroupName)
	}
	if !slices.ContainsFunc(g.hooks, func(h hook) bool { return h.name == in.LifecycleHookName }) {
		return nil, nil, nil, invalid("No Lifecycle Hook found with name: " + clip(in.LifecycleHookName))
	}
	for n := range g.instances {
		i := &g.instances[n]
		for m := range i.waits {
			w := &i.waits[m]
			byToken := in.LifecycleActionToken != "" && w.token == in.LifecycleActionToken
			if w.hook == in.LifecycleHookName && (byToken || in.LifecycleActionToken == "" && i.id == in.InstanceId) {
				return g, i, w, nil
			}
		}
	}
	if in.LifecycleActionToken != "" {
		return nil, nil, nil, invalid(noActionT + clip(in.LifecycleActionToken))
	}
	return nil, nil, nil, invalid(noAction + clip(in.InstanceId))
}

func (s *Server) completeAction(in actionIn) (struct{}, *apiError) {
	if in.LifecycleActionResult != goOn && in.LifecycleActionResult != abandon {
		return struct{}{}, invalid("Value '" + clip(in.LifecycleActionResult) + "' at 'lifecycleActionResult' is neither CONTINUE nor ABANDON")
	}
	g, i, w, e := s.wait(in)
	if e != nil {
		return struct{}{}, e
	}
	s.m.Log().Info("hook completed", "group", g.name, "instance", i.id, "hook", w.hook, "result", in.LifecycleActionResult)
	s.finish(g, i, *w, in.LifecycleActionResult)
	return struct{}{}, nil
}

type heartbeatIn struct {
	AutoScalingGroupName, LifecycleHookName string
	InstanceId, LifecycleActionToken        string
}

func (s *Server) heartbeat(in heartbeatIn) (struct{}, *apiError) {
	g, i, w, e := s.wait(actionIn{in.AutoScalingGroupName, in.LifecycleHookName, in.InstanceId, in.LifecycleActionToken, ""})
	if e != nil {
		return struct{}{}, e
	}
	n := slices.IndexFunc(g.hooks, func(h hook) bool { return h.name == w.hook })
	i.waits = slices.Clone(i.waits)
	for m := range i.waits {
		if i.waits[m].token == w.token {
			i.waits[m].deadline = min(s.m.Elapsed()+g.hooks[n].timeout, w.limit)
		}
	}
	return struct{}{}, nil
}

type putHookIn struct {
	AutoScalingGroupName, LifecycleHookName, LifecycleTransition string
	HeartbeatTimeout                                             *int
	DefaultResult                                                string
}

func (s *Server) putHook(in putHookIn) (struct{}, *apiError) {
	none := struct{}{}
	g := s.cloud.group(in.AutoScalingGroupName)
	if g == nil {
		return none, noGroup(in.AutoScalingGroupName)
	}
	n := slices.IndexFunc(g.hooks, func(h hook) bool { return h.name == in.LifecycleHookName })
	h := hook{name: in.LifecycleHookName, timeout: time.Hour, result: abandon}
	if n >= 0 {
		h = g.hooks[n]
	}
	h.transition, h.result = orElse(in.LifecycleTransition, h.transition), orElse(in.DefaultResult, h.result)
	if in.HeartbeatTimeout != nil {
		h.timeout = seconds(*in.HeartbeatTimeout)
	}
	if err := h.valid(); err != nil {
		return none, invalid(err.Error())
	}
	if n < 0 && len(g.hooks) >= maxHooks {
		return none, refuse("LimitExceeded", fmt.Sprintf("A group has at most %d lifecycle hooks", maxHooks))
	}
	if n >= 0 {
		g.hooks[n] = h
	} else {
		g.hooks = append(g.hooks, h)
	}
	return none, nil
}

type hookIn struct{ AutoScalingGroupName, LifecycleHookName string }

// deleteHook ends what waits for the hook with CONTINUE or ABANDON as its
// default says.
func (s *Server) deleteHook(in hookIn) (struct{}, *apiError) {
	none := struct{}{}
	g := s.cloud.group(in.AutoScalingGroupName)
	if g == nil {
		return none, noGroup(in.AutoScalingGroupName)
	}
	n := slices.IndexFunc(g.hooks, func(h hook) bool { return h.name == in.LifecycleHookName })
	if n < 0 {
		return none, invalid("No Lifecycle Hook found with name: " + clip(in.LifecycleHookName))
	}
	for m := range g.instances {
		i := &g.instances[m]
		for _, w := range slices.Clone(i.waits) {
			if w.hook == in.LifecycleHookName {
				s.finish(g, i, w, g.hooks[n].result)
			}
		}
	}
	g.hooks = slices.Delete(g.hooks, n, n+1)
	return none, nil
}

type describeHooksIn struct {
	AutoScalingGroupName string
	LifecycleHookNames   []string
}

type hookXML struct {
	AutoScalingGroupName, LifecycleHookName, LifecycleTransition string
	HeartbeatTimeout, GlobalTimeout                              int
	DefaultResult                                                string
}

type describeHooksOut struct{ LifecycleHooks list[hookXML] }

func (s *Server) describeHooks(in describeHooksIn) (describeHooksOut, *apiError) {
	var out describeHooksOut
	g := s.seen.group(in.AutoScalingGroupName)
	if g == nil {
		return out, noGroup(in.AutoScalingGroupName)
	}
	all := slices.Clone(g.hooks)
	if e := keep(&all, in.LifecycleHookNames, func(h hook) string { return h.name }, nil); e != nil {
		return out, e
	}
	for _, h := range all {
		out.LifecycleHooks = append(out.LifecycleHooks, hookXML{g.name, h.name, h.transition,
			int(h.timeout / time.Second), int(h.limit() / time.Second), h.result})
	}
	return out, nil
}
