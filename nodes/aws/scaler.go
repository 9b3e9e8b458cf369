package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"

	"github.com/espra/protoplex/nodes"
)

type scaler struct {
	client *autoscaling.Client
	group  string
	writes aws.Retryer
}

// NewScaler gives an Auto Scaling group, by its name. It asks nothing of the
// control plane yet. Requests are tried again as those of NewBalancer are.
func NewScaler(m nodes.Machine, o CloudOptions, group string) (nodes.Scaler, error) {
	d, err := o.dependencies(m)
	if err != nil {
		return nil, err
	}
	if group == "" {
		return nil, errors.New("aws: a scaler needs the name of its group")
	}
	return &scaler{group: group, writes: d.writes, client: autoscaling.New(autoscaling.Options{
		Region: o.Region, Credentials: d.credentials, BaseEndpoint: d.endpoint, HTTPClient: d.transport, HTTPSignerV4: d.signer,
		Retryer: d.reads, APIOptions: d.stack, DisableClockSkewCorrection: true,
	})}, nil
}

// write makes an operation one that is tried again only when it is safe.
func (s *scaler) write(o *autoscaling.Options) { o.Retryer = s.writes }

// Capacity implements nodes.Scaler.
func (s *scaler) Capacity(ctx context.Context) (nodes.Capacity, error) {
	var c nodes.Capacity
	out, err := s.client.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{s.group}})
	if err != nil {
		return c, certain("capacity of", s.group, err)
	}
	if len(out.AutoScalingGroups) == 0 {
		return c, fmt.Errorf("aws: capacity of %s: %w", s.group, nodes.ErrNoGroup)
	}
	g := out.AutoScalingGroups[0]
	c.Min, c.Max, c.Desired = int(aws.ToInt32(g.MinSize)), int(aws.ToInt32(g.MaxSize)), int(aws.ToInt32(g.DesiredCapacity))
	for _, i := range g.Instances {
		c.Instances = append(c.Instances, nodes.Instance{
			ID: aws.ToString(i.InstanceId), Zone: aws.ToString(i.AvailabilityZone), State: nodes.InstanceState(i.LifecycleState),
			Healthy: aws.ToString(i.HealthStatus) == "Healthy", Protected: aws.ToBool(i.ProtectedFromScaleIn),
		})
	}
	slices.SortFunc(c.Instances, func(x, y nodes.Instance) int { return cmp.Compare(x.ID, y.ID) })
	return c, nil
}

// SetDesired implements nodes.Scaler.
func (s *scaler) SetDesired(ctx context.Context, n int) error {
	if n < 0 || n > 1<<20 {
		return fmt.Errorf("aws: set capacity of %s to %d: %w", s.group, n, nodes.ErrOutOfBounds)
	}
	_, err := s.client.SetDesiredCapacity(ctx, &autoscaling.SetDesiredCapacityInput{
		AutoScalingGroupName: &s.group, DesiredCapacity: aws.Int32(int32(n)), //nolint:gosec // bounded above
	}, s.write)
	if err != nil {
		return certain("set capacity of", s.group, err)
	}
	return nil
}

// Complete implements nodes.Scaler.
func (s *scaler) Complete(ctx context.Context, hook, instance string, how nodes.Outcome) error {
	_, err := s.client.CompleteLifecycleAction(ctx, &autoscaling.CompleteLifecycleActionInput{
		AutoScalingGroupName: &s.group, LifecycleHookName: &hook, InstanceId: &instance, LifecycleActionResult: aws.String(string(how)),
	}, s.write)
	if err != nil {
		return certain("complete "+hook+" of", instance, err)
	}
	return nil
}

// Heartbeat implements nodes.Scaler.
func (s *scaler) Heartbeat(ctx context.Context, hook, instance string) error {
	_, err := s.client.RecordLifecycleActionHeartbeat(ctx, &autoscaling.RecordLifecycleActionHeartbeatInput{
		AutoScalingGroupName: &s.group, LifecycleHookName: &hook, InstanceId: &instance,
	}, s.write)
	if err != nil {
		return certain("heartbeat at "+hook+" of", instance, err)
	}
	return nil
}
