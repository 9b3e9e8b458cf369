package aws

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/espra/protoplex/nodes"
)

type balancer struct {
	client *elb.Client
	group  string
	writes aws.Retryer
}

// NewBalancer gives a target group, by its ARN. It asks nothing of the control
// plane yet. Targets are instance ids, or addresses in a group of those; they get
// the group's port.
//
// Reads are tried up to three times; changes only if they were surely not
// carried out. There is no time limit but that of the context.
func NewBalancer(m nodes.Machine, o CloudOptions, group string) (nodes.Balancer, error) {
	d, err := o.dependencies(m)
	if err != nil {
		return nil, err
	}
	if group == "" {
		return nil, errors.New("aws: a balancer needs the ARN of its target group")
	}
	return &balancer{group: group, writes: d.writes, client: elb.New(elb.Options{
		Region: o.Region, Credentials: d.credentials, BaseEndpoint: d.endpoint, HTTPClient: d.transport, HTTPSignerV4: d.signer,
		Retryer: d.reads, APIOptions: d.stack, DisableClockSkewCorrection: true,
	})}, nil
}

// write makes an operation one that is tried again only when it is safe.
func (b *balancer) write(o *elb.Options) { o.Retryer = b.writes }

func described(targets []string) []types.TargetDescription {
	var all []types.TargetDescription
	for i := range targets {
		all = append(all, types.TargetDescription{Id: &targets[i]})
	}
	return all
}

// Register implements nodes.Balancer.
func (b *balancer) Register(ctx context.Context, targets ...string) error {
	_, err := b.client.RegisterTargets(ctx, &elb.RegisterTargetsInput{
		TargetGroupArn: &b.group, Targets: described(slices.Clone(targets)),
	}, b.write)
	if err != nil {
		return certain("register", b.group, err)
	}
	return nil
}

// Drain implements nodes.Balancer.
func (b *balancer) Drain(ctx context.Context, targets ...string) error {
	_, err := b.client.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{
		TargetGroupArn: &b.group, Targets: described(slices.Clone(targets)),
	}, b.write)
	if err != nil {
		return certain("drain", b.group, err)
	}
	return nil
}

// Health implements nodes.Balancer.
func (b *balancer) Health(ctx context.Context) ([]nodes.TargetHealth, error) {
	out, err := b.client.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &b.group})
	if err != nil {
		return nil, certain("health of", b.group, err)
	}
	var all []nodes.TargetHealth
	for _, d := range out.TargetHealthDescriptions {
		var h nodes.TargetHealth
		if d.Target != nil {
			h.Target, h.Zone = aws.ToString(d.Target.Id), aws.ToString(d.Target.AvailabilityZone)
		}
		if d.TargetHealth != nil {
			h.State, h.Reason = nodes.TargetState(d.TargetHealth.State), string(d.TargetHealth.Reason)
			h.Detail = aws.ToString(d.TargetHealth.Description)
		}
		all = append(all, h)
	}
	slices.SortFunc(all, func(x, y nodes.TargetHealth) int { return cmp.Compare(x.Target, y.Target) })
	return all, nil
}
