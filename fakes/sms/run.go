package sms

import (
	"context"
	"errors"
	"fmt"

	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

var _ nodes.Role = RunTwilio

// RunTwilio is Twilio's API for messages of one account.
//
//	--listen ADDRESS  (default :443)
//	--cert FILE       certificate and key; plain HTTP without it
//	--account SID     the account
//	--token T         its password
//	--from NUMBER     a number it may send from; repeated (default any)
func RunTwilio(ctx context.Context, m nodes.Machine, args []string) error {
	fs := serve.Flags("sms twilio")
	var o Options
	var from serve.Strings
	address := fs.String("listen", ":443", "")
	cert := fs.String("cert", "", "")
	fs.StringVar(&o.Account, "account", "", "")
	fs.StringVar(&o.Token, "token", "", "")
	fs.Var(&from, "from", "")
	if err := serve.Parse(fs, args); err != nil {
		return err
	}
	if o.Account == "" || o.Token == "" {
		return errors.New("sms twilio: --account and --token are needed")
	}
	o.From = from
	l, err := serve.Listen(m, *address, *cert)
	if err != nil {
		return fmt.Errorf("sms twilio: %w", err)
	}
	m.Log().Info("sms gateway ready", "listen", l.Addr().String())
	return serve.Together(ctx, m, func(ctx context.Context) error {
		return serve.HTTP(ctx, m, l, NewGateway(ctx, m, o))
	})
}
