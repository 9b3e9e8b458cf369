package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/monitor"
	"github.com/espra/protoplex/monitor/redirect"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/live"
	"github.com/espra/protoplex/nodes/proxy"
	"github.com/espra/protoplex/nodes/seed"
)

// roles are what a machine can run in production.
func roles() nodes.Roles {
	return nodes.Roles{
		"live": live.Run, "monitor": monitor.Run, "proxy": proxy.Run, "redirect": redirect.Run,
		"seed": seed.Run,
	}
}

func roleNames() []string {
	var names []string
	for name := range roles() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func nodeCommand() *cobra.Command {
	var host nodes.Host
	var resolvers []string
	c := &cobra.Command{
		Use:   "node ROLE [flags] [-- role flags]",
		Short: "Run a role on this machine: " + strings.Join(roleNames(), ", "),
		Long: `Run a role of the platform on this machine, until it is interrupted. What follows --
goes to the role; its package documentation lists its flags.`,
		Example: `  protoplex node live --region us-east -- --listen 127.0.0.1:8080
  protoplex node proxy -- --http 127.0.0.1:8081 --https= --allow-plain \
      --host us-1.live.espra.com --live live-1=127.0.0.1:8080`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			role := roles()[args[0]]
			if role == nil {
				return status{statusUsage, fmt.Errorf("unknown role %q; one of %s", args[0], strings.Join(roleNames(), ", "))}
			}
			if host.Name == "" {
				name, err := os.Hostname()
				if err != nil {
					return status{statusBroken, fmt.Errorf("find this machine's name: %w", err)}
				}
				host.Name = name
			}
			host.Proc = args[0]
			m, err := nodes.NewOS(nodes.OSOptions{Host: host, Roles: roles(), Resolvers: resolvers,
				Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
			if err != nil {
				return status{statusUsage, err}
			}
			if err := role(c.Context(), m, args[1:]); err != nil && !errors.Is(err, c.Context().Err()) {
				return status{statusBroken, err}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&host.Name, "name", "", "of this machine (default its host name)")
	f.StringVar(&host.Region, "region", "", "that this machine stands in")
	f.StringVar(&host.Zone, "zone", "", "that this machine stands in")
	f.StringSliceVar(&resolvers, "resolver", nil, "DNS server to ask, `ADDR:PORT` (default the system's)")
	return c
}
