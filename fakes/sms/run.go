package sms

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/espra/protoplex/fakes/faulty"
	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

var (
	_ nodes.Role = RunTwilio
	_ nodes.Role = RunSNS
)

// flags are those that both gateways have.
type flags struct {
	*flag.FlagSet
	listen, cert string
}

func newFlags(name string, n *Network) *flags {
	f := &flags{FlagSet: serve.Flags(name)}
	f.StringVar(&f.listen, "listen", ":443", "")
	f.StringVar(&f.cert, "cert", "", "")
	f.Var((*serve.Strings)(&n.OptedOut), "opted-out", "")
	f.Var((*serve.Strings)(&n.Unreachable), "unreachable", "")
	f.IntVar(&n.Rate, "rate", 0, "")
	return f
}

// serve serves what gateway gives for a context until that ends.
func (f *flags) serve(ctx context.Context, m nodes.Machine, gateway func(context.Context) faulty.API) error {
	l, err := serve.Listen(m, f.listen, f.cert)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	m.Log().Info("sms gateway ready", "listen", l.Addr().String())
	return serve.Together(ctx, m, func(ctx context.Context) error {
		return serve.HTTP(ctx, m, l, faulty.Wrap(ctx, gateway(ctx)))
	})
}

// Lateness says how much longer than usual a message takes that the gateway on a
// machine has just passed on: until then it is sent and not delivered. It is
// called concurrently and must not wait.
type Lateness func(machine string) time.Duration

// Twilio is [RunTwilio] with messages that are late.
func (l Lateness) Twilio(ctx context.Context, m nodes.Machine, args []string) error {
	return runTwilio(ctx, m, args, l)
}

// SNS is [RunSNS] with messages that are late.
func (l Lateness) SNS(ctx context.Context, m nodes.Machine, args []string) error {
	return runSNS(ctx, m, args, l)
}

// RunTwilio is Twilio's API for messages of one account.
//
//	--listen ADDRESS      (default :443)
//	--cert FILE           certificate and key; plain HTTP without it
//	--account SID         the account
//	--token T             its password
//	--from NUMBER         a number it may send from; repeated (default any)
//	--opted-out NUMBER    whose owner wants no messages; repeated
//	--unreachable NUMBER  of a phone that is off; repeated
//	--rate N              messages taken in a second (default any number)
func RunTwilio(ctx context.Context, m nodes.Machine, args []string) error {
	return runTwilio(ctx, m, args, nil)
}

func runTwilio(ctx context.Context, m nodes.Machine, args []string, late Lateness) error {
	o := TwilioOptions{Network: Network{late: late}}
	f := newFlags("sms twilio", &o.Network)
	f.StringVar(&o.Account, "account", "", "")
	f.StringVar(&o.Token, "token", "", "")
	f.Var((*serve.Strings)(&o.From), "from", "")
	if err := serve.Parse(f.FlagSet, args); err != nil {
		return err
	}
	if o.Account == "" || o.Token == "" {
		return errors.New("sms twilio: --account and --token are needed")
	}
	return f.serve(ctx, m, func(ctx context.Context) faulty.API { return NewTwilio(ctx, m, o) })
}

// RunSNS is what Amazon SNS has for text messages, of one account in one region.
//
//	--listen, --cert, --opted-out, --unreachable, --rate  as of RunTwilio
//	--region NAME      that requests are signed for (default us-east-1)
//	--key ID:SECRET    who may do all; repeated
//	--spending N       dollars that the account may allow itself in a month (default 1)
//	--sandbox          the account is in the SMS sandbox
//	--verified NUMBER  that the sandbox may send to; repeated
func RunSNS(ctx context.Context, m nodes.Machine, args []string) error {
	return runSNS(ctx, m, args, nil)
}

func runSNS(ctx context.Context, m nodes.Machine, args []string, late Lateness) error {
	o := SNSOptions{Keys: map[string]string{}, Network: Network{late: late}}
	f := newFlags("sms sns", &o.Network)
	var keys serve.Strings
	f.StringVar(&o.Region, "region", "us-east-1", "")
	f.Var(&keys, "key", "")
	f.IntVar(&o.Spending, "spending", defaultSpending, "")
	f.BoolVar(&o.Sandbox, "sandbox", false, "")
	f.Var((*serve.Strings)(&o.Verified), "verified", "")
	if err := serve.Parse(f.FlagSet, args); err != nil {
		return err
	}
	for _, k := range keys {
		id, secret, _ := strings.Cut(k, ":")
		if id == "" || secret == "" {
			return errors.New("sms sns: --key wants ID:SECRET")
		}
		o.Keys[id] = secret
	}
	if len(o.Keys) == 0 {
		return errors.New("sms sns: --key is needed")
	}
	return f.serve(ctx, m, func(ctx context.Context) faulty.API { return NewSNS(ctx, m, o) })
}
