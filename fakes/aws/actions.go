package aws

import (
	"fmt"
	"slices"
	"time"
)

// The actions of Auto Scaling on groups and their instances, as in the API
// Reference, version 2011-01-01; those of hooks are in hooks.go.

func scalingActions() map[string]action {
	return map[string]action{
		"DescribeAutoScalingGroups":           act((*Server).describeGroups),
		"DescribeAutoScalingInstances":        act((*Server).describeInstances),
		"DescribeScalingActivities":           act((*Server).describeActivities),
		"UpdateAutoScalingGroup":              act((*Server).updateGroup),
		"SetDesiredCapacity":                  act((*Server).setDesired),
		"SetInstanceHealth":                   act((*Server).setHealth),
		"SetInstanceProtection":               act((*Server).setProtection),
		"TerminateInstanceInAutoScalingGroup": act((*Server).terminateInstance),
		"PutLifecycleHook":                    act((*Server).putHook),
		"DeleteLifecycleHook":                 act((*Server).deleteHook),
		"DescribeLifecycleHooks":              act((*Server).describeHooks),
		"CompleteLifecycleAction":             act((*Server).completeAction),
		"RecordLifecycleActionHeartbeat":      act((*Server).heartbeat),
	}
}

func noGroup(name string) *apiError {
	return invalid("AutoScalingGroup name not found - " + clip(name))
}

func noInstance(id string) *apiError {
	return invalid("Instance Id not found - No managed instance found for instance ID: " + clip(id))
}

// The answers' parts.
type (
	instanceXML struct {
		InstanceId, AvailabilityZone, LifecycleState, HealthStatus string
		ProtectedFromScaleIn                                       bool
	}

	groupXML struct {
		AutoScalingGroupName, AutoScalingGroupARN string
		MinSize, MaxSize, DesiredCapacity         int
		DefaultCooldown                           int
		AvailabilityZones                         list[string]
		TargetGroupARNs                           list[string]
		HealthCheckType                           string
		HealthCheckGracePeriod                    int
		Instances                                 list[instanceXML]
		CreatedTime                               string
		NewInstancesProtectedFromScaleIn          bool
	}

	managedXML struct {
		InstanceId, AutoScalingGroupName, AvailabilityZone, LifecycleState, HealthStatus string
		ProtectedFromScaleIn                                                             bool
	}

	activityXML struct {
		ActivityId, AutoScalingGroupName, Description, Cause string
		StartTime                                            string
		EndTime                                              string `xml:",omitempty"`
		StatusCode                                           string
		StatusMessage                                        string `xml:",omitempty"`
		Progress                                             int
	}
)

// part is what descriptions of Auto Scaling take to be read in parts.
func part(n int, key func(int) string, token string, size *int) (from, until int, next string, e *apiError) {
	limit := 50
	if size != nil {
		limit = *size
	}
	if limit < 1 || limit > 100 {
		return 0, 0, "", invalid("MaxRecords must be between 1 and 100")
	}
	from, until, next, ok := cut(n, key, token, limit)
	if !ok {
		return 0, 0, "", refuse("InvalidNextToken", "The NextToken value is not valid.")
	}
	return from, until, next, nil
}

type describeGroupsIn struct {
	AutoScalingGroupNames []string
	NextToken             string
	MaxRecords            *int
}

type describeGroupsOut struct {
	AutoScalingGroups list[groupXML]
	NextToken         string `xml:",omitempty"`
}

func (s *Server) describeGroups(in describeGroupsIn) (describeGroupsOut, *apiError) {
	var out describeGroupsOut
	all := slices.Clone(s.seen.groups)
	if e := keep(&all, in.AutoScalingGroupNames, func(g *group) string { return g.name }, nil); e != nil {
		return out, e
	}
	from, until, next, e := part(len(all), func(i int) string { return all[i].name }, in.NextToken, in.MaxRecords)
	if e != nil {
		return out, e
	}
	for _, g := range all[from:until] {
		x := groupXML{
			AutoScalingGroupName: g.name, AutoScalingGroupARN: g.arn, MinSize: g.min, MaxSize: g.max, DesiredCapacity: g.desired,
			DefaultCooldown: int(g.cooldown / time.Second), AvailabilityZones: s.seen.zones, TargetGroupARNs: g.targetGroups,
			HealthCheckType: g.check, HealthCheckGracePeriod: int(g.grace / time.Second),
			CreatedTime: stamp(g.created), NewInstancesProtectedFromScaleIn: g.protect,
		}
		for _, i := range g.instances {
			x.Instances = append(x.Instances, instanceXML{i.id, i.zone, i.state, i.health, i.protected})
		}
		out.AutoScalingGroups = append(out.AutoScalingGroups, x)
	}
	out.NextToken = next
	return out, nil
}

type describeInstancesIn struct {
	InstanceIds []string
	NextToken   string
	MaxRecords  *int
}

type describeInstancesOut struct {
	AutoScalingInstances list[managedXML]
	NextToken            string `xml:",omitempty"`
}

func (s *Server) describeInstances(in describeInstancesIn) (describeInstancesOut, *apiError) {
	var out describeInstancesOut
	var all []managedXML
	for _, g := range s.seen.groups {
		for _, i := range g.instances {
			all = append(all, managedXML{i.id, g.name, i.zone, i.state, i.health, i.protected})
		}
	}
	if e := keep(&all, in.InstanceIds, func(i managedXML) string { return i.InstanceId }, nil); e != nil {
		return out, e
	}
	from, until, next, e := part(len(all), func(i int) string { return all[i].InstanceId }, in.NextToken, in.MaxRecords)
	if e != nil {
		return out, e
	}
	out.AutoScalingInstances, out.NextToken = all[from:until], next
	return out, nil
}

type describeActivitiesIn struct {
	AutoScalingGroupName string
	ActivityIds          []string
	NextToken            string
	MaxRecords           *int
}

type describeActivitiesOut struct {
	Activities list[activityXML]
	NextToken  string `xml:",omitempty"`
}

// describeActivities gives the newest first.
func (s *Server) describeActivities(in describeActivitiesIn) (describeActivitiesOut, *apiError) {
	var out describeActivitiesOut
	if in.AutoScalingGroupName != "" && s.seen.group(in.AutoScalingGroupName) == nil {
		return out, noGroup(in.AutoScalingGroupName)
	}
	var all []activityXML
	for _, g := range s.seen.groups {
		if in.AutoScalingGroupName != "" && g.name != in.AutoScalingGroupName {
			continue
		}
		for _, a := range slices.Backward(g.activities) {
			all = append(all, g.describe(a))
		}
	}
	if e := keep(&all, in.ActivityIds, func(a activityXML) string { return a.ActivityId }, nil); e != nil {
		return out, e
	}
	from, until, next, e := part(len(all), func(i int) string { return all[i].ActivityId }, in.NextToken, in.MaxRecords)
	if e != nil {
		return out, e
	}
	out.Activities, out.NextToken = all[from:until], next
	return out, nil
}

func (g *group) describe(a activity) activityXML {
	x := activityXML{ActivityId: a.id, AutoScalingGroupName: g.name, Description: a.description, Cause: a.cause,
		StartTime: stamp(a.start), StatusCode: a.status, StatusMessage: a.message, Progress: a.progress}
	if !a.end.IsZero() {
		x.EndTime = stamp(a.end)
	}
	return x
}

type updateGroupIn struct {
	AutoScalingGroupName                                                       string
	MinSize, MaxSize, DesiredCapacity, DefaultCooldown, HealthCheckGracePeriod *int
	HealthCheckType                                                            string
	NewInstancesProtectedFromScaleIn                                           *bool
}

// updateGroup keeps the desired capacity within new bounds, as Auto Scaling does.
func (s *Server) updateGroup(in updateGroupIn) (struct{}, *apiError) {
	none := struct{}{}
	g := s.cloud.group(in.AutoScalingGroupName)
	if g == nil {
		return none, noGroup(in.AutoScalingGroupName)
	}
	want := *g
	for _, f := range []struct{ from, to *int }{{in.MinSize, &want.min}, {in.MaxSize, &want.max}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	want.desired = min(max(want.desired, want.min), want.max)
	if in.DesiredCapacity != nil {
		want.desired = *in.DesiredCapacity
	}
	if in.DefaultCooldown != nil {
		want.cooldown = seconds(*in.DefaultCooldown)
	}
	if in.HealthCheckGracePeriod != nil {
		want.grace = seconds(*in.HealthCheckGracePeriod)
	}
	if in.NewInstancesProtectedFromScaleIn != nil {
		want.protect = *in.NewInstancesProtectedFromScaleIn
	}
	want.check = orElse(in.HealthCheckType, want.check)
	if err := want.valid(); err != nil {
		return none, invalid(err.Error())
	}
	want.retry = 0
	*g = want
	return none, nil
}

type setDesiredIn struct {
	AutoScalingGroupName string
	DesiredCapacity      int
	HonorCooldown        bool
}

func (s *Server) setDesired(in setDesiredIn) (struct{}, *apiError) {
	none := struct{}{}
	g := s.cloud.group(in.AutoScalingGroupName)
	now := s.m.Elapsed()
	switch {
	case g == nil:
		return none, noGroup(in.AutoScalingGroupName)
	case in.DesiredCapacity > g.max:
		return none, invalid(fmt.Sprintf("New SetDesiredCapacity value %d is above max value %d for the AutoScalingGroup.", in.DesiredCapacity, g.max))
	case in.DesiredCapacity < g.min:
		return none, invalid(fmt.Sprintf("New SetDesiredCapacity value %d is below min value %d for the AutoScalingGroup.", in.DesiredCapacity, g.min))
	case in.HonorCooldown && g.scaled && now < g.at+g.cooldown:
		return none, refuse("ScalingActivityInProgress", "Scaling activity is in progress: the group is in cooldown and the request honors it.")
	}
	s.m.Log().Info("desired capacity", "group", g.name, "from", g.desired, "to", in.DesiredCapacity)
	g.desired, g.scaled, g.at, g.retry = in.DesiredCapacity, true, now, 0
	return none, nil
}

type setHealthIn struct {
	InstanceId, HealthStatus string
	ShouldRespectGracePeriod *bool
}

func (s *Server) setHealth(in setHealthIn) (struct{}, *apiError) {
	none := struct{}{}
	g, i := s.cloud.member(in.InstanceId)
	switch {
	case i == nil:
		return none, noInstance(in.InstanceId)
	case in.HealthStatus != healthy && in.HealthStatus != unhealthy:
		return none, invalid("HealthStatus must be Healthy or Unhealthy")
	}
	respect := in.ShouldRespectGracePeriod == nil || *in.ShouldRespectGracePeriod
	if in.HealthStatus == unhealthy && respect && (i.state != inService || s.m.Elapsed()-i.since < g.grace) {
		return none, nil
	}
	i.health = in.HealthStatus
	return none, nil
}

type setProtectionIn struct {
	AutoScalingGroupName string
	InstanceIds          []string
	ProtectedFromScaleIn bool
}

func (s *Server) setProtection(in setProtectionIn) (struct{}, *apiError) {
	none := struct{}{}
	g := s.cloud.group(in.AutoScalingGroupName)
	if g == nil {
		return none, noGroup(in.AutoScalingGroupName)
	}
	for _, id := range in.InstanceIds {
		if i := g.instance(id); i == nil || i.state != inService {
			return none, invalid("The instance " + clip(id) + " is not in InService.")
		}
	}
	for _, id := range in.InstanceIds {
		g.instance(id).protected = in.ProtectedFromScaleIn
	}
	g.retry = 0
	return none, nil
}

type terminateIn struct {
	InstanceId                     string
	ShouldDecrementDesiredCapacity bool
}

type terminateOut struct{ Activity activityXML }

func (s *Server) terminateInstance(in terminateIn) (terminateOut, *apiError) {
	var out terminateOut
	g, i := s.cloud.member(in.InstanceId)
	if i == nil {
		return out, noInstance(in.InstanceId)
	}
	if in.ShouldDecrementDesiredCapacity && !i.leaving() {
		if g.desired <= g.min {
			return out, invalid(fmt.Sprintf("Currently, desiredSize equals minSize (%d). Terminating instance without replacement will violate "+
				"group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.", g.min))
		}
		g.desired--
	}
	s.terminate(g, i, "instance "+i.id+" was taken out of service in response to a user request.")
	n := slices.IndexFunc(g.activities, func(a activity) bool { return a.id == i.activityID })
	if n < 0 {
		return out, refuse("ScalingActivityInProgress", "The instance is being terminated.")
	}
	out.Activity = g.describe(g.activities[n])
	return out, nil
}
