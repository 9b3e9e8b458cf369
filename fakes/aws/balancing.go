package aws

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
)

// The actions of Elastic Load Balancing, as in the API Reference, version
// 2015-12-01.

func balancingActions() map[string]action {
	return map[string]action{
		"DescribeLoadBalancers":         act((*Server).describeLoadBalancers),
		"DescribeListeners":             act((*Server).describeListeners),
		"DescribeTargetGroups":          act((*Server).describeTargetGroups),
		"DescribeTargetGroupAttributes": act((*Server).describeAttributes),
		"ModifyTargetGroupAttributes":   act((*Server).modifyAttributes),
		"ModifyTargetGroup":             act((*Server).modifyTargetGroup),
		"RegisterTargets":               act((*Server).registerTargets),
		"DeregisterTargets":             act((*Server).deregisterTargets),
		"DescribeTargetHealth":          act((*Server).describeTargetHealth),
	}
}

// balancer is a load balancer; it never changes.
type balancer struct {
	arn, name, dnsName string
	listeners          []listener // by port
}

type listener struct {
	arn   string
	port  int
	group string // ARN
}

func (s *Server) newBalancer(in LoadBalancer, group func(string) (string, error)) (*balancer, error) {
	if err := checkName(in.Name, 32); err != nil {
		return nil, err
	}
	id := "net/" + in.Name + "/" + digest("loadbalancer/"+in.Name)
	b := &balancer{arn: s.arn("elasticloadbalancing", "loadbalancer/"+id), name: in.Name, dnsName: in.DNSName}
	for _, text := range slices.Sorted(maps.Keys(in.Listeners)) {
		name := in.Listeners[text]
		port, err := strconv.Atoi(text)
		if err != nil || port < 1 || port > 65535 {
			return nil, fmt.Errorf("listener %q is not a port", text)
		}
		arn, err := group(name)
		if err != nil {
			return nil, fmt.Errorf("listener %d: %w", port, err)
		}
		b.listeners = append(b.listeners, listener{s.arn("elasticloadbalancing", "listener/"+id+"/"+digest(id+text)), port, arn})
	}
	slices.SortFunc(b.listeners, func(x, y listener) int { return cmp.Compare(x.port, y.port) })
	return b, nil
}

// The answers' parts.
type (
	zoneXML struct{ ZoneName string }

	balancerXML struct {
		LoadBalancerArn, LoadBalancerName, DNSName, Type, Scheme string
		State                                                    struct{ Code string }
		AvailabilityZones                                        list[zoneXML]
	}

	forwardXML struct{ Type, TargetGroupArn string }

	listenerXML struct {
		ListenerArn, LoadBalancerArn, Protocol string
		Port                                   int
		DefaultActions                         list[forwardXML]
	}

	matcherXML struct{ HttpCode string }

	targetGroupXML struct {
		TargetGroupArn, TargetGroupName, Protocol, TargetType string
		Port                                                  int
		HealthCheckEnabled                                    bool
		HealthCheckProtocol, HealthCheckPort, HealthCheckPath string
		HealthCheckIntervalSeconds, HealthCheckTimeoutSeconds int
		HealthyThresholdCount, UnhealthyThresholdCount        int
		Matcher                                               matcherXML
		LoadBalancerArns                                      list[string]
	}

	attributeXML struct{ Key, Value string }

	targetXML struct {
		Id               string
		Port             int
		AvailabilityZone string `xml:",omitempty"`
	}

	healthXML struct {
		State       string
		Reason      string `xml:",omitempty"`
		Description string `xml:",omitempty"`
	}

	targetHealthXML struct {
		HealthCheckPort string
		Target          targetXML
		TargetHealth    healthXML
	}
)

// marked is what descriptions take to be read in parts.
type marked struct {
	Marker   string
	PageSize *int
}

func (m marked) cut(n int, key func(int) string) (from, until int, next string, e *apiError) {
	size := 400
	if m.PageSize != nil {
		size = *m.PageSize
	}
	if size < 1 || size > 400 {
		return 0, 0, "", invalid("PageSize must be between 1 and 400")
	}
	from, until, next, ok := cut(n, key, m.Marker, size)
	if !ok {
		return 0, 0, "", invalid("Marker is not one of ours")
	}
	return from, until, next, nil
}

type describeBalancersIn struct {
	LoadBalancerArns, Names []string
	Marker                  string
	PageSize                *int
}

type describeBalancersOut struct {
	LoadBalancers list[balancerXML]
	NextMarker    string `xml:",omitempty"`
}

func (s *Server) describeLoadBalancers(in describeBalancersIn) (describeBalancersOut, *apiError) {
	var out describeBalancersOut
	all := slices.Clone(s.seen.balancers)
	if e := keep(&all, in.LoadBalancerArns, func(b *balancer) string { return b.arn }, noBalancer); e != nil {
		return out, e
	}
	if e := keep(&all, in.Names, func(b *balancer) string { return b.name }, noBalancer); e != nil {
		return out, e
	}
	from, until, next, e := marked{in.Marker, in.PageSize}.cut(len(all), func(i int) string { return all[i].name })
	if e != nil {
		return out, e
	}
	for _, b := range all[from:until] {
		x := balancerXML{LoadBalancerArn: b.arn, LoadBalancerName: b.name, DNSName: b.dnsName, Type: "network", Scheme: "internet-facing"}
		x.State.Code = "active"
		for _, zone := range s.seen.zones {
			x.AvailabilityZones = append(x.AvailabilityZones, zoneXML{zone})
		}
		out.LoadBalancers = append(out.LoadBalancers, x)
	}
	out.NextMarker = next
	return out, nil
}

type describeListenersIn struct {
	LoadBalancerArn string
	ListenerArns    []string
	Marker          string
	PageSize        *int
}

type describeListenersOut struct {
	Listeners  list[listenerXML]
	NextMarker string `xml:",omitempty"`
}

func (s *Server) describeListeners(in describeListenersIn) (describeListenersOut, *apiError) {
	var out describeListenersOut
	var all list[listenerXML]
	found := false
	for _, b := range s.seen.balancers {
		if in.LoadBalancerArn != "" && b.arn != in.LoadBalancerArn {
			continue
		}
		found = true
		for _, l := range b.listeners {
			all = append(all, listenerXML{ListenerArn: l.arn, LoadBalancerArn: b.arn, Protocol: "TCP", Port: l.port,
				DefaultActions: list[forwardXML]{{"forward", l.group}}})
		}
	}
	if !found {
		return out, noBalancer(in.LoadBalancerArn)
	}
	e := keep((*[]listenerXML)(&all), in.ListenerArns, func(l listenerXML) string { return l.ListenerArn }, func(arn string) *apiError {
		return refuse("ListenerNotFound", "One or more listeners not found: "+clip(arn))
	})
	if e != nil {
		return out, e
	}
	from, until, next, e := marked{in.Marker, in.PageSize}.cut(len(all), func(i int) string { return all[i].ListenerArn })
	if e != nil {
		return out, e
	}
	out.Listeners, out.NextMarker = all[from:until], next
	return out, nil
}

type describeTargetGroupsIn struct {
	LoadBalancerArn        string
	TargetGroupArns, Names []string
	Marker                 string
	PageSize               *int
}

type describeTargetGroupsOut struct {
	TargetGroups list[targetGroupXML]
	NextMarker   string `xml:",omitempty"`
}

func (s *Server) describeTargetGroups(in describeTargetGroupsIn) (describeTargetGroupsOut, *apiError) {
	var out describeTargetGroupsOut
	all := slices.Clone(s.seen.targetGroups)
	if in.LoadBalancerArn != "" {
		i := slices.IndexFunc(s.seen.balancers, func(b *balancer) bool { return b.arn == in.LoadBalancerArn })
		if i < 0 {
			return out, noBalancer(in.LoadBalancerArn)
		}
		all = slices.DeleteFunc(all, func(g *targetGroup) bool {
			return !slices.ContainsFunc(s.seen.balancers[i].listeners, func(l listener) bool { return l.group == g.arn })
		})
	}
	if e := keep(&all, in.TargetGroupArns, func(g *targetGroup) string { return g.arn }, noTargetGroup); e != nil {
		return out, e
	}
	if e := keep(&all, in.Names, func(g *targetGroup) string { return g.name }, noTargetGroup); e != nil {
		return out, e
	}
	from, until, next, e := marked{in.Marker, in.PageSize}.cut(len(all), func(i int) string { return all[i].name })
	if e != nil {
		return out, e
	}
	for _, g := range all[from:until] {
		out.TargetGroups = append(out.TargetGroups, s.seen.describeTargetGroup(g))
	}
	out.NextMarker = next
	return out, nil
}

func (c *cloud) describeTargetGroup(g *targetGroup) targetGroupXML {
	x := targetGroupXML{
		TargetGroupArn: g.arn, TargetGroupName: g.name, Protocol: "TCP", TargetType: g.targetType, Port: g.port, HealthCheckEnabled: true,
		HealthCheckProtocol: "HTTP", HealthCheckPort: strconv.Itoa(g.check.Port), HealthCheckPath: g.check.Path,
		HealthCheckIntervalSeconds: g.check.Interval, HealthCheckTimeoutSeconds: g.check.Timeout,
		HealthyThresholdCount: g.check.Healthy, UnhealthyThresholdCount: g.check.Unhealthy, Matcher: matcherXML{"200"},
	}
	for _, b := range c.balancers {
		if slices.ContainsFunc(b.listeners, func(l listener) bool { return l.group == g.arn }) {
			x.LoadBalancerArns = append(x.LoadBalancerArns, b.arn)
		}
	}
	return x
}

type attributesIn struct {
	TargetGroupArn string
	Attributes     []attributeXML
}

type attributesOut struct{ Attributes list[attributeXML] }

const (
	attributeDelay     = "deregistration_delay.timeout_seconds"
	attributeSlowStart = "slow_start.duration_seconds"
)

func (g *targetGroup) attributes() attributesOut {
	return attributesOut{list[attributeXML]{
		{attributeDelay, strconv.Itoa(g.delay)}, {attributeSlowStart, strconv.Itoa(g.slowStart)},
	}}
}

func (s *Server) describeAttributes(in struct{ TargetGroupArn string }) (attributesOut, *apiError) {
	g := s.seen.targetGroup(in.TargetGroupArn)
	if g == nil {
		return attributesOut{}, noTargetGroup(in.TargetGroupArn)
	}
	return g.attributes(), nil
}

func (s *Server) modifyAttributes(in attributesIn) (attributesOut, *apiError) {
	g := s.cloud.targetGroup(in.TargetGroupArn)
	if g == nil {
		return attributesOut{}, noTargetGroup(in.TargetGroupArn)
	}
	delay, slowStart := g.delay, g.slowStart
	for _, a := range in.Attributes {
		to := map[string]*int{attributeDelay: &delay, attributeSlowStart: &slowStart}[a.Key]
		if to == nil {
			return attributesOut{}, refuse("InvalidConfigurationRequest", "Target group attribute key '"+clip(a.Key)+"' is not recognized")
		}
		n, err := strconv.Atoi(a.Value)
		if err != nil {
			return attributesOut{}, refuse("InvalidConfigurationRequest", "Attribute value '"+clip(a.Value)+"' is not a number")
		}
		*to = n
	}
	if err := checkDelays(delay, slowStart); err != nil {
		return attributesOut{}, refuse("InvalidConfigurationRequest", err.Error())
	}
	g.delay, g.slowStart = delay, slowStart
	return g.attributes(), nil
}

type modifyTargetGroupIn struct {
	TargetGroupArn                                        string
	HealthCheckPort, HealthCheckPath                      string
	HealthCheckIntervalSeconds, HealthCheckTimeoutSeconds int
	HealthyThresholdCount, UnhealthyThresholdCount        int
}

func (s *Server) modifyTargetGroup(in modifyTargetGroupIn) (describeTargetGroupsOut, *apiError) {
	var out describeTargetGroupsOut
	g := s.cloud.targetGroup(in.TargetGroupArn)
	if g == nil {
		return out, noTargetGroup(in.TargetGroupArn)
	}
	check := g.check
	if in.HealthCheckPort != "" {
		port, err := strconv.Atoi(in.HealthCheckPort)
		if err != nil {
			return out, invalid("Health check port '" + clip(in.HealthCheckPort) + "' must be a port")
		}
		check.Port = port
	}
	check.Path = orElse(in.HealthCheckPath, check.Path)
	check.Interval, check.Timeout = orElse(in.HealthCheckIntervalSeconds, check.Interval), orElse(in.HealthCheckTimeoutSeconds, check.Timeout)
	check.Healthy, check.Unhealthy = orElse(in.HealthyThresholdCount, check.Healthy), orElse(in.UnhealthyThresholdCount, check.Unhealthy)
	if err := check.valid(); err != nil {
		return out, invalid(err.Error())
	}
	g.check = check
	out.TargetGroups = list[targetGroupXML]{s.cloud.describeTargetGroup(g)}
	return out, nil
}

// targetIn is a target as a request names it.
type targetIn struct {
	Id               string
	Port             int
	AvailabilityZone string
}

type targetsIn struct {
	TargetGroupArn string
	Targets        []targetIn
}

// named checks the targets of a request, of which at least one is wanted.
func (g *targetGroup) named(targets []targetIn) *apiError {
	if len(targets) == 0 {
		return invalid("At least one target must be specified")
	}
	for _, t := range targets {
		if t.Port != 0 && t.Port != g.port {
			return notServed("a target port other than the group's")
		}
	}
	return nil
}

func (s *Server) registerTargets(in targetsIn) (struct{}, *apiError) {
	none := struct{}{}
	g := s.cloud.targetGroup(in.TargetGroupArn)
	if g == nil {
		return none, noTargetGroup(in.TargetGroupArn)
	}
	if e := g.named(in.Targets); e != nil {
		return none, e
	}
	// All or none.
	zones := make([]string, len(in.Targets))
	added := 0
	for i, t := range in.Targets {
		zone, e := s.zoneOf(g, t)
		if e != nil {
			return none, e
		}
		zones[i] = zone
		if g.target(t.Id) == nil {
			added++
		}
	}
	if len(g.targets)+added > maxTargets {
		return none, refuse("TooManyTargets", fmt.Sprintf("The maximum number of targets of a target group is %d", maxTargets))
	}
	for i, t := range in.Targets {
		s.register(g, t.Id, zones[i])
	}
	return none, nil
}

// zoneOf gives where a target is. An address has none of its own here, as it
// would by its subnet: it is in the first zone unless the request says more.
func (s *Server) zoneOf(g *targetGroup, t targetIn) (string, *apiError) {
	if g.targetType == "instance" {
		m, ok := s.cloud.machine(t.Id)
		if !ok {
			return "", refuse("InvalidTarget", "The following targets are not in a running state and cannot be registered: '"+clip(t.Id)+"'")
		}
		return m.zone, nil
	}
	if _, err := netip.ParseAddr(t.Id); err != nil {
		return "", invalid("The IP address '" + clip(t.Id) + "' is not a valid IPv4 or IPv6 address")
	}
	zone := orElse(t.AvailabilityZone, s.cloud.zones[0])
	if !slices.Contains(s.cloud.zones, zone) {
		return "", invalid("The availability zone '" + clip(zone) + "' is not valid")
	}
	return zone, nil
}

func (s *Server) deregisterTargets(in targetsIn) (struct{}, *apiError) {
	none := struct{}{}
	g := s.cloud.targetGroup(in.TargetGroupArn)
	if g == nil {
		return none, noTargetGroup(in.TargetGroupArn)
	}
	if e := g.named(in.Targets); e != nil {
		return none, e
	}
	for _, t := range in.Targets {
		if g.target(t.Id) == nil {
			return none, refuse("InvalidTarget", "The following targets are not registered: '"+clip(t.Id)+"'")
		}
	}
	for _, t := range in.Targets {
		s.deregister(g, t.Id)
	}
	return none, nil
}

type targetHealthOut struct{ TargetHealthDescriptions list[targetHealthXML] }

func (s *Server) describeTargetHealth(in targetsIn) (targetHealthOut, *apiError) {
	var out targetHealthOut
	g := s.seen.targetGroup(in.TargetGroupArn)
	if g == nil {
		return out, noTargetGroup(in.TargetGroupArn)
	}
	describe := func(t target, v verdict) {
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, targetHealthXML{
			HealthCheckPort: strconv.Itoa(g.check.Port), Target: targetXML{t.id, g.port, t.zone},
			TargetHealth: healthXML{string(v.state), v.reason, v.detail},
		})
	}
	now := s.m.Elapsed()
	if len(in.Targets) == 0 {
		for _, t := range g.targets {
			describe(t, s.seen.health(g, t, now))
		}
		return out, nil
	}
	if e := g.named(in.Targets); e != nil {
		return out, e
	}
	for _, want := range in.Targets {
		if t := g.target(want.Id); t != nil {
			describe(*t, s.seen.health(g, *t, now))
			continue
		}
		describe(target{id: clip(want.Id)}, verdict{state: "unused", reason: reasonUnregistered, detail: "Target is not registered to the target group"})
	}
	return out, nil
}

func noBalancer(name string) *apiError {
	return refuse("LoadBalancerNotFound", "One or more load balancers not found: "+clip(name))
}

func noTargetGroup(name string) *apiError {
	return refuse("TargetGroupNotFound", "One or more target groups not found: "+clip(name))
}
