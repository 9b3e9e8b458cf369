package aws

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/espra/protoplex/fakes/faulty"
	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

var _ nodes.Role = Run

// Run is a region's control plane, with a [PlainCompute].
//
//	--listen ADDRESS    of the APIs (default :443)
//	--cert FILE         certificate and key; plain HTTP without it
//	--internal ADDRESS  for the data plane (default :8600)
//	--account FILE      what there is: see Account
//	--key ID:SECRET     who may do all; repeated
//	--region NAME       that requests are signed for (default us-east-1)
//	--rate N            requests a second, of each API (default 20)
//	--boot DURATION     until an instance runs (default 30s)
//	--capacity N        instances that a zone has room for (default 100)
func Run(ctx context.Context, m nodes.Machine, args []string) error {
	return RunOn(nil, nil)(ctx, m, args)
}

// RunOn is Run with instances of another kind, unless compute is nil; it has no
// use for --boot and --capacity then. The amnesia may be nil.
func RunOn(compute Compute, amnesia *Amnesia) nodes.Role {
	return func(ctx context.Context, m nodes.Machine, args []string) error {
		fs := serve.Flags("aws")
		o := Options{Keys: map[string]string{}, Compute: compute, Amnesia: amnesia}
		var keys serve.Strings
		address := fs.String("listen", ":443", "")
		cert := fs.String("cert", "", "")
		internal := fs.String("internal", ":8600", "")
		account := fs.String("account", "", "")
		fs.Var(&keys, "key", "")
		fs.StringVar(&o.Region, "region", "us-east-1", "")
		fs.IntVar(&o.Rate, "rate", 20, "")
		boot := fs.Duration("boot", 30*time.Second, "")
		capacity := fs.Int("capacity", 100, "")
		if err := serve.Parse(fs, args); err != nil {
			return err
		}
		for _, k := range keys {
			id, secret, ok := strings.Cut(k, ":")
			if !ok || id == "" || secret == "" {
				return errors.New("aws: --key wants ID:SECRET")
			}
			o.Keys[id] = secret
		}
		if len(keys) == 0 || *account == "" {
			return errors.New("aws: --key and --account are needed")
		}
		data, err := serve.ReadFile(m, *account)
		if err != nil {
			return fmt.Errorf("aws: %w", err)
		}
		if o.Account, err = ParseAccount(data); err != nil {
			return fmt.Errorf("aws: %s: %w", *account, err)
		}
		if compute == nil {
			o.Compute = NewPlainCompute(m, *boot, *capacity)
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // the steps end with the rest
		server, err := New(ctx, m, o)
		if err != nil {
			return err
		}
		apis, err := serve.Listen(m, *address, *cert)
		if err != nil {
			return fmt.Errorf("aws: %w", err)
		}
		plane, err := serve.Listen(m, *internal, "")
		if err != nil {
			apis.Close()
			return fmt.Errorf("aws: %w", err)
		}
		m.Log().Info("control plane ready", "listen", apis.Addr().String(), "internal", plane.Addr().String())
		return serve.Together(ctx, m,
			func(ctx context.Context) error { return serve.HTTP(ctx, m, apis, faulty.Wrap(ctx, server)) },
			func(ctx context.Context) error { return serve.HTTP(ctx, m, plane, server.Internal()) },
		)
	}
}
