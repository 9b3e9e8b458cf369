package lb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

var _ nodes.Role = Run

// Run is one zone's node of a load balancer.
//
//	--forward LISTEN=TARGET  ports, 80=8080; repeated
//	--target NAME@ZONE=ADDR  registered from the start; repeated
//	--zone ZONE              of this node (default the machine's)
//	--cross-zone             send to targets of other zones too (default true)
//	--health-port PORT       (default 8080)
//	--health-path PATH       (default /health)
//	--interval DURATION      between checks of a target (default 10s)
//	--timeout DURATION       of a check (default 5s)
//	--healthy N              passes to be healthy again (default 3)
//	--unhealthy N            failures to be unhealthy (default 2)
//	--drain DURATION         (default 300s)
//	--idle DURATION          (default 350s)
//	--control ADDRESS        of the management interface (default :8500)
//	--control-plane URL      where targets, their health checks and drain come from
//	--target-group NAME      which of the control plane's groups
func Run(ctx context.Context, m nodes.Machine, args []string) error {
	return run(ctx, m, args, func(_ Target, well bool) bool { return well })
}

// Believing is Run of a node that takes a target for well or unwell as believe
// says, which is asked after each check, with its true result. It must not block.
func Believing(believe func(node nodes.Host, t Target, well bool) bool) nodes.Role {
	return func(ctx context.Context, m nodes.Machine, args []string) error {
		return run(ctx, m, args, func(t Target, well bool) bool { return believe(m.Host(), t, well) })
	}
}

func run(ctx context.Context, m nodes.Machine, args []string, believe func(Target, bool) bool) error {
	fs := serve.Flags("lb")
	var o Options
	var forwards, targets serve.Strings
	fs.Var(&forwards, "forward", "")
	fs.Var(&targets, "target", "")
	fs.StringVar(&o.Zone, "zone", m.Host().Zone, "")
	fs.BoolVar(&o.CrossZone, "cross-zone", true, "")
	fs.IntVar(&o.HealthPort, "health-port", 8080, "")
	fs.StringVar(&o.HealthPath, "health-path", "/health", "")
	fs.DurationVar(&o.Interval, "interval", 10*time.Second, "")
	fs.DurationVar(&o.Timeout, "timeout", 5*time.Second, "")
	fs.IntVar(&o.Healthy, "healthy", 3, "")
	fs.IntVar(&o.Unhealthy, "unhealthy", 2, "")
	fs.DurationVar(&o.Drain, "drain", 300*time.Second, "")
	fs.DurationVar(&o.Idle, "idle", 350*time.Second, "")
	control := fs.String("control", ":8500", "")
	plane := fs.String("control-plane", "", "")
	group := fs.String("target-group", "", "")
	if err := serve.Parse(fs, args); err != nil {
		return err
	}
	if err := o.check(len(forwards)); err != nil {
		return fmt.Errorf("lb: %w", err)
	}
	if *plane != "" && (len(targets) > 0 || *group == "") {
		return errors.New("lb: with --control-plane, --target-group is needed, and no --target")
	}
	var registered []Target
	for _, s := range targets {
		t, err := parseTarget(s)
		if err != nil {
			return fmt.Errorf("lb: --target %s: %w", s, err)
		}
		registered = append(registered, t)
	}
	type forward struct {
		listener net.Listener
		port     int
	}
	var open []forward
	closeAll := func() {
		for _, f := range open {
			f.listener.Close()
		}
	}
	for _, s := range forwards {
		from, to, err := parseForward(s)
		var l net.Listener
		if err == nil {
			l, err = m.Listen("tcp", fmt.Sprintf(":%d", from))
		}
		if err != nil {
			closeAll()
			return fmt.Errorf("lb: --forward %s: %w", s, err)
		}
		open = append(open, forward{l, to})
	}
	internal, err := serve.Listen(m, *control, "")
	if err != nil {
		closeAll()
		return fmt.Errorf("lb: %w", err)
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the checks end with the rest
	b := New(ctx, m, o)
	b.believe = believe
	for _, t := range registered {
		if err := b.Register(t); err != nil {
			closeAll()
			internal.Close()
			return fmt.Errorf("lb: register %s: %w", t.Name, err)
		}
	}
	m.Log().Info("load balancer ready", "zone", o.Zone, "targets", len(registered), "control", internal.Addr().String())
	work := []func(context.Context) error{
		func(ctx context.Context) error { return serve.HTTP(ctx, m, internal, b.Control()) },
	}
	if *plane != "" {
		f := &follower{b: b, m: m, client: serve.Client(m), url: *plane + "/sync", group: *group}
		work = append(work, f.run)
	}
	for _, f := range open {
		work = append(work, func(ctx context.Context) error { return b.Serve(ctx, f.listener, f.port) })
	}
	return serve.Together(ctx, m, work...)
}

func (o Options) check(forwards int) error {
	switch {
	case forwards == 0:
		return errors.New("--forward is needed")
	case o.Zone == "":
		return errors.New("--zone is needed")
	case o.HealthPort < 1 || o.HealthPort > 65535:
		return fmt.Errorf("--health-port %d is not a port", o.HealthPort)
	case !strings.HasPrefix(o.HealthPath, "/"):
		return fmt.Errorf("--health-path %q must start with a slash", o.HealthPath)
	case o.Interval <= 0 || o.Timeout <= 0 || o.Drain < 0 || o.Idle <= 0:
		return errors.New("--interval, --timeout, --drain and --idle must be positive")
	case o.Healthy < 1 || o.Unhealthy < 1:
		return errors.New("--healthy and --unhealthy must be at least 1")
	}
	return nil
}

func parseForward(s string) (from, to int, err error) {
	listen, target, ok := strings.Cut(s, "=")
	if !ok {
		return 0, 0, errors.New("is not LISTEN=TARGET")
	}
	if from, err = parsePort(listen); err == nil {
		to, err = parsePort(target)
	}
	return from, to, err
}

func parseTarget(s string) (Target, error) {
	who, addr, ok := strings.Cut(s, "=")
	name, zone, ok2 := strings.Cut(who, "@")
	if !ok || !ok2 || name == "" || zone == "" {
		return Target{}, errors.New("is not NAME@ZONE=ADDR")
	}
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return Target{}, fmt.Errorf("parse address: %w", err)
	}
	return Target{Name: name, Zone: zone, Addr: a}, nil
}
