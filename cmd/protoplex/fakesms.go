package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/fakes/sms"
	"github.com/espra/protoplex/nodes"
)

// The accounts at the gateways of fake sms. They protect nothing.
const (
	fakeAccount = "AC00000000000000000000000000000001"
	fakeToken   = "fake-token"
	fakeKey     = "AKIDFAKE"
	fakeSecret  = "fake-secret"
)

type fakeSMSOptions struct {
	port        int
	region      string
	optedOut    []string
	unreachable []string
}

func fakeSMSCommand() *cobra.Command {
	var o fakeSMSOptions
	c := &cobra.Command{
		Use:   "sms",
		Short: "Be Twilio and Amazon SNS, and show each text that they take",
		Long: `Be two SMS gateways on this machine, until interrupted: Twilio's API for messages at
127.0.0.1:PORT, and what Amazon SNS has for text messages at PORT+1. Nothing leaves
the machine: each text is shown here, and what became of it. It prints how to send one.`,
		Example: `  protoplex fake sms
  protoplex fake sms --opted-out +447700900003 --unreachable +447700900002`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.port < 0 || o.port > 65534 {
				return status{statusUsage, fmt.Errorf("--port %d: want 0 to 65534", o.port)}
			}
			if err := fakeSMS(c.Context(), o, c.OutOrStdout()); err != nil {
				return status{statusBroken, err}
			}
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&o.port, "port", 8090, "of Twilio; SNS has the one above; 0 takes any two")
	f.StringVar(&o.region, "region", "us-east-1", "of SNS, as Amazon calls it")
	f.StringArrayVar(&o.optedOut, "opted-out", nil, "`NUMBER` whose owner wants no messages; may be repeated")
	f.StringArrayVar(&o.unreachable, "unreachable", nil, "`NUMBER` of a phone that is off; may be repeated")
	return c
}

// fakeSMS runs both gateways until ctx ends.
func fakeSMS(ctx context.Context, o fakeSMSOptions, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var phones []string
	for _, n := range o.optedOut {
		phones = append(phones, "--opted-out", n)
	}
	for _, n := range o.unreachable {
		phones = append(phones, "--unreachable", n)
	}
	ports := [2]int{o.port, o.port + 1}
	if o.port == 0 {
		ports[1] = 0
	}
	terminal := newTerminal(out)
	twilio := startGateway(ctx, terminal, "twilio", ports[0], sms.RunTwilio, append(phones, "--account", fakeAccount, "--token", fakeToken))
	sns := startGateway(ctx, terminal, "sns", ports[1], sms.RunSNS, append(phones, "--region", o.region, "--key", fakeKey+":"+fakeSecret, "--spending", "1000"))

	var urls []string
	for _, g := range []*gateway{twilio, sns} {
		select {
		case address := <-g.ready:
			urls = append(urls, "http://"+address)
		case err := <-g.ended:
			cancel()
			return explainPort(err)
		}
	}
	terminal.say(`Twilio      %s  account %s, token %s
Amazon SNS  %s  region %s, key %s, secret %s

  curl -u %[2]s:%[3]s --data-urlencode 'To=+447700900001' \
      --data-urlencode 'From=+15550000000' --data-urlencode 'Body=hello' \
      %[1]s/2010-04-01/Accounts/%[2]s/Messages.json

  AWS_ACCESS_KEY_ID=%[6]s AWS_SECRET_ACCESS_KEY=%[7]s aws --region %[5]s \
      --endpoint-url %[4]s sns publish --phone-number +447700900001 --message hello

Ctrl-C ends it. What they take:
`, urls[0], fakeAccount, fakeToken, urls[1], o.region, fakeKey, fakeSecret)
	select {
	case err := <-twilio.ended:
		cancel()
		return errors.Join(err, <-sns.ended)
	case err := <-sns.ended:
		cancel()
		return errors.Join(err, <-twilio.ended)
	}
}

func explainPort(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; choose others with --port", err)
	}
	return err
}

// gateway is a running one.
type gateway struct {
	ready chan string // gets its address
	ended chan error
}

// startGateway runs a role on a port of the loopback address.
func startGateway(ctx context.Context, t *terminal, name string, port int, role nodes.Role, args []string) *gateway {
	g := &gateway{ready: make(chan string, 1), ended: make(chan error, 1)}
	args = append([]string{"--listen", local(port)}, args...)
	go func() {
		g.ended <- func() error {
			m, err := nodes.NewOS(nodes.OSOptions{
				Host: nodes.Host{Name: name, Addr: netip.MustParseAddr("127.0.0.1")},
				Log:  slog.New(textLog{terminal: t, ready: g.ready}),
			})
			if err != nil {
				return err
			}
			return errors.Join(role(ctx, m, args), m.Close())
		}()
	}()
	return g
}

// textLog shows people what a gateway logs of texts.
type textLog struct {
	terminal *terminal
	ready    chan string
}

// Enabled implements slog.Handler.
func (l textLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// WithAttrs implements slog.Handler.
func (l textLog) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l textLog) WithGroup(string) slog.Handler { return l }

// Handle implements slog.Handler.
func (l textLog) Handle(_ context.Context, r slog.Record) error {
	of := map[string]string{}
	r.Attrs(func(a slog.Attr) bool {
		of[a.Key] = a.Value.String()
		return true
	})
	at := r.Time.Format("15:04:05")
	switch r.Message {
	case "sms gateway ready":
		l.ready <- of["listen"]
	case "sms accepted":
		from := ""
		if of["from"] != "" {
			from = " from " + of["from"]
		}
		l.terminal.say("%s  %-6s  to %s%s  %q  %s", at, of["provider"], of["to"], from, of["body"], of["id"])
	case "sms delivered":
		l.terminal.say("%s  %-6s  to %s  delivered  %s", at, of["provider"], of["to"], of["id"])
	case "sms not delivered":
		l.terminal.say("%s  %-6s  to %s  NOT delivered: %s  %s", at, of["provider"], of["to"], of["reason"], of["id"])
	default:
		l.terminal.say("%s  %s %v", at, r.Message, of)
	}
	return nil
}
