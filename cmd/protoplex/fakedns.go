package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/nodes"
)

// fakeProvider is one provider of fake dns. Its API is at base+api, its feed at
// base+feed, and its two name servers at base+servers and the next.
type fakeProvider struct {
	name               string
	run                nodes.Role
	api, feed, servers int
}

func fakeProviders() []fakeProvider {
	return []fakeProvider{
		{"linode", dns.RunLinode, 0, 2, 10},
		{"digitalocean", dns.RunDigitalOcean, 1, 3, 20},
	}
}

func (p fakeProvider) token() string     { return p.name + "-token" }
func (p fakeProvider) readToken() string { return p.name + "-reader" }

// highest is the last port that fake dns takes, from its base.
const highest = 21

type fakeDNSOptions struct {
	port      int
	providers []string
	delay     time.Duration
	verbose   bool
}

func fakeDNSCommand() *cobra.Command {
	var o fakeDNSOptions
	c := &cobra.Command{
		Use:   "dns ZONEFILE...",
		Short: "Run both DNS providers and their name servers on this machine",
		Long: `Run the APIs of Linode and DigitalOcean, as far as DNS goes, and two name servers of
each, on ports of 127.0.0.1, with the zones of the files, until interrupted. What
the APIs change is kept in memory and shown by the name servers after a while. To
see one provider fail, run each in a process of its own and end one, or use the
token that may only read.`,
		Example: `  protoplex fake dns espra.com.zone
  dig @127.0.0.1 -p 8610 espra.com SOA`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if o.port < 1 || o.port > 65535-highest {
				return status{statusUsage, fmt.Errorf("--port %d: want 1 to %d", o.port, 65535-highest)}
			}
			if err := o.run(c.Context(), args, c.OutOrStdout(), c.ErrOrStderr()); err != nil {
				return status{statusBroken, err}
			}
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&o.port, "port", 8600, "the first; of those up to 21 above it some are taken too")
	f.StringSliceVar(&o.providers, "provider", nil, "run no other, `NAME`; repeated (default both)")
	f.DurationVar(&o.delay, "delay", time.Second, "from a change to the first name server that shows it; the second takes twice as long")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show what they log")
	return c
}

// run runs the providers until ctx ends or one of them does.
func (o *fakeDNSOptions) run(ctx context.Context, files []string, out, logs io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	zones := make([]string, 0, 2*len(files))
	for _, file := range files {
		path, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		zones = append(zones, "--zonefile", filepath.ToSlash(path))
	}
	log := slog.New(slog.DiscardHandler)
	if o.verbose {
		log = slog.New(slog.NewTextHandler(logs, nil))
	}
	at := func(offset int) string { return local(o.port + offset) }

	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	start := func(name string, role nodes.Role, args ...string) error {
		m, err := nodes.NewOS(nodes.OSOptions{
			Host: nodes.Host{Name: name, Addr: netip.MustParseAddr("127.0.0.1")}, Log: log.With("host", name),
		})
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer cancel()
			err := errors.Join(role(ctx, m, args), m.Close())
			mu.Lock()
			defer mu.Unlock()
			if failed == nil && err != nil {
				failed = fmt.Errorf("%s: %w", name, err)
			}
		})
		return nil
	}
	known := 0
	for _, p := range fakeProviders() {
		if len(o.providers) > 0 && !slices.Contains(o.providers, p.name) {
			continue
		}
		known++
		args := append([]string{"--listen", at(p.api), "--listen-feed", at(p.feed), "--token", p.token(), "--read-token", p.readToken()}, zones...)
		if err := start(p.name, p.run, args...); err != nil {
			return err
		}
		for i := range 2 {
			err := start(fmt.Sprintf("ns%d.%s.com", i+1, p.name), dns.RunAuthority, "--listen", at(p.servers+i),
				"--pull", "http://"+at(p.feed)+"/zones", "--pull-every", "200ms", "--delay", (o.delay * time.Duration(i+1)).String())
			if err != nil {
				return err
			}
		}
		fmt.Fprintf(out, "%s\n  url           http://%s\n  token         %s, or %s which may only read\n  name servers  %s, %s\n",
			p.name, at(p.api), p.token(), p.readToken(), at(p.servers), at(p.servers+1))
	}
	if known == 0 || known < len(o.providers) {
		cancel()
		wg.Wait()
		return fmt.Errorf("unknown provider among %q; there are linode and digitalocean", o.providers)
	}
	ready := poll(ctx, func() bool {
		for _, p := range fakeProviders() {
			if (len(o.providers) == 0 || slices.Contains(o.providers, p.name)) && !(accepts(at(p.api)) && accepts(at(p.servers)) && accepts(at(p.servers+1))) {
				return false
			}
		}
		return true
	})
	if ready == nil {
		fmt.Fprintln(out, "They are up. Ctrl-C ends them.")
	}
	wg.Wait()
	return failed
}
