package aws

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/espra/protoplex/fakes/lb"
)

// What Amazon does not document to the second.
const (
	statusTime  = time.Minute      // that status checks fail before an instance counts as impaired
	launchLimit = 10 * time.Minute // that an instance may take to run
	retryAfter  = time.Minute      // after an activity that failed
)

// step moves everything on by what has become due. The mutex is held.
func (s *Server) step() {
	now := s.m.Elapsed()
	for _, g := range s.cloud.targetGroups {
		g.forget(now)
	}
	for _, g := range s.cloud.groups {
		for i := range g.instances {
			s.advance(g, &g.instances[i], now)
		}
		g.instances = slices.DeleteFunc(g.instances, func(i instance) bool { return i.state == "" })
		s.resize(g, now)
		for i := range g.instances {
			s.checkHealth(g, &g.instances[i], now)
		}
	}
}

// advance moves an instance along its life, one state at a time.
func (s *Server) advance(g *group, i *instance, now time.Duration) {
	switch i.state {
	case pending:
		switch {
		case s.compute.Running(i.id):
			s.await(g, i, launching, now)
		case now-i.launched >= launchLimit:
			s.terminate(g, i, "an instance was taken out of service because it did not start")
		}
	case pendingWait, terminatingWait:
		s.expire(g, i, now)
	case pendingProceed:
		i.state, i.since = inService, now
		for _, arn := range g.targetGroups {
			s.register(s.cloud.targetGroup(arn), i.id, i.zone)
		}
		s.end(g, i.activityID, statusSuccessful, "")
		s.log("instance in service", g, i)
	case terminating:
		// Connections drain first, then come the hooks.
		if !slices.ContainsFunc(g.targetGroups, func(arn string) bool { return s.cloud.targetGroup(arn).target(i.id) != nil }) {
			s.await(g, i, leaving, now)
		}
	case terminatingProceed:
		s.compute.Terminate(i.id)
		s.cloud.machines = slices.DeleteFunc(s.cloud.machines, func(m machine) bool { return m.id == i.id })
		s.end(g, i.activityID, statusSuccessful, "")
		s.log("instance terminated", g, i)
		i.state = ""
	}
}

func (s *Server) log(msg string, g *group, i *instance) {
	m, _ := s.cloud.machine(i.id)
	s.m.Log().Info(msg, "group", g.name, "instance", i.id, "host", m.host.Name, "zone", i.zone)
}

// checkHealth has an instance that is not well replaced.
func (s *Server) checkHealth(g *group, i *instance, now time.Duration) {
	if i.state != inService {
		return
	}
	if s.compute.Running(i.id) {
		i.ran = now
	}
	cause := ""
	switch {
	case i.health == unhealthy:
		cause = "an instance was taken out of service in response to a user health-check."
	case now-i.since < g.grace:
	case now-i.ran >= statusTime:
		cause = "an instance was taken out of service in response to an EC2 instance status checks failure."
	case g.check == "ELB" && slices.ContainsFunc(g.targetGroups, func(arn string) bool {
		t := s.cloud.targetGroup(arn)
		registered := t.target(i.id)
		return registered != nil && s.cloud.health(t, *registered, now).state == lb.Unhealthy
	}):
		cause = "an instance was taken out of service in response to an ELB system health check failure."
	}
	if cause == "" {
		return
	}
	i.health = unhealthy
	s.log("instance unhealthy", g, i)
	s.terminate(g, i, cause)
}

// terminate begins to end an instance, for a cause.
func (s *Server) terminate(g *group, i *instance, cause string) {
	if i.leaving() {
		return
	}
	if i.state != inService {
		s.end(g, i.activityID, statusFailed, "The instance was terminated before it was in service.")
	}
	for _, arn := range g.targetGroups {
		s.deregister(s.cloud.targetGroup(arn), i.id)
	}
	a := s.begin(g, "Terminating EC2 instance: "+i.id, cause)
	a.status, a.progress = statusDraining, 25
	i.state, i.activityID, i.waits = terminating, a.id, nil
	s.log("instance terminating", g, i)
}

// resize launches what is missing and ends what is too much.
func (s *Server) resize(g *group, now time.Duration) {
	if now < g.retry {
		return
	}
	for have := g.capacity(); have != g.desired; have = g.capacity() {
		ok := false
		if have < g.desired {
			ok = s.launch(g, have, now)
		} else {
			ok = s.scaleIn(g, have)
		}
		if !ok {
			g.retry = now + retryAfter
			return
		}
	}
}

// launch boots an instance in the zone that has the fewest, or the next best one
// with room. Each zone without leaves a failed activity.
func (s *Server) launch(g *group, have int, now time.Duration) bool {
	zones := slices.Clone(s.cloud.zones)
	slices.SortStableFunc(zones, func(x, y string) int { return cmp.Compare(g.inZone(x), g.inZone(y)) })
	cause := fmt.Sprintf("an instance was started in response to a difference between desired and actual capacity, increasing the capacity from %d to %d.", have, have+1)
	if slices.ContainsFunc(g.instances, func(i instance) bool { return i.leaving() && i.health == unhealthy }) {
		cause = "an instance was launched in response to an unhealthy instance needing to be replaced."
	}
	for _, zone := range zones {
		id := "i-" + s.draw() + "0"
		a := s.begin(g, "Launching a new EC2 instance: "+id, cause)
		host, err := s.compute.Launch(id, g.name, zone)
		if err != nil {
			a.description = "Launching a new EC2 instance.  Status Reason: " + failure(err, zone)
			s.end(g, a.id, statusFailed, failure(err, zone))
			s.m.Log().Info("launch failed", "group", g.name, "zone", zone, "error", err.Error())
			continue
		}
		a.progress = 30
		s.cloud.machines = append(s.cloud.machines, machine{id, zone, host})
		g.instances = append(g.instances, instance{
			id: id, zone: zone, state: pending, health: healthy, protected: g.protect, launched: now, ran: now, activityID: a.id,
		})
		s.log("instance launching", g, &g.instances[len(g.instances)-1])
		return true
	}
	return false
}

func failure(err error, zone string) string {
	if !errors.Is(err, ErrCapacity) {
		return err.Error() + ". Launching EC2 instance failed."
	}
	return "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have sufficient capacity in the " +
		"Availability Zone you requested (" + zone + "). Launching EC2 instance failed."
}

// scaleIn ends the oldest instance of the zone that has the most, unless it is
// protected.
func (s *Server) scaleIn(g *group, have int) bool {
	var best *instance
	for n := range g.instances {
		i := &g.instances[n]
		if i.leaving() || i.protected {
			continue
		}
		if best == nil || g.inZone(i.zone) > g.inZone(best.zone) || g.inZone(i.zone) == g.inZone(best.zone) && i.launched < best.launched {
			best = i
		}
	}
	if best == nil {
		a := s.begin(g, "Could not scale to desired capacity because all remaining instances are protected from scale-in.",
			fmt.Sprintf("a difference between desired and actual capacity called for decreasing the capacity from %d to %d.", have, have-1))
		s.end(g, a.id, statusFailed, a.description)
		return false
	}
	s.terminate(g, best, fmt.Sprintf("an instance was taken out of service in response to a difference between desired and actual capacity, "+
		"shrinking the capacity from %d to %d.", have, have-1))
	return true
}
