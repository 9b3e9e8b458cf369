package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
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

func roleNames() []string { return slices.Sorted(maps.Keys(roles())) }

// kept are the roles whose nodes can be upgraded, for all that one of their
// processes knows is what any other would know as well.
func kept() map[string]func(args []string) (nodes.KeepOptions, error) {
	return map[string]func([]string) (nodes.KeepOptions, error){proxy.Name: proxy.Kept}
}

func keptNames() []string { return slices.Sorted(maps.Keys(kept())) }

func nodeCommand() *cobra.Command {
	var host nodes.Host
	var resolvers []string
	c := &cobra.Command{
		Use:   "node ROLE [flags] [-- role flags]",
		Short: "Run a role on this machine: " + strings.Join(roleNames(), ", "),
		Long: `Run a role of the platform on this machine, until it is interrupted. What follows --
goes to the role; its package documentation lists its flags. On SIGTERM or an interrupt
it leaves in order: health says 503, then it accepts no more, finishes, and ends.

A node of the role ` + strings.Join(keptNames(), " or ") + ` can be upgraded without losing a connection: put another
program in the place of this one, with mv, and send SIGHUP. The process stays and holds
the listeners; it starts the program that is in its place now, and once that serves, has
the old one finish what it has open. A program that does not get to serve is given up,
and the log says why.`,
		Example: `  protoplex node live --region us-east -- --listen 127.0.0.1:8080
  protoplex node proxy -- --http 127.0.0.1:8081 --https= --allow-plain \
      --host us-1.live.espra.com --live live-1=127.0.0.1:8080
  mv protoplex.new /usr/local/bin/protoplex && kill -HUP "$(cat proxy.pid)"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if roles()[args[0]] == nil {
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
			o := nodes.OSOptions{Host: host, Roles: roles(), Resolvers: resolvers, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
			run := func(m *nodes.OS) error { return m.Run(c.Context(), args[0], args[1:]) }
			if kept := kept()[args[0]]; kept != nil {
				k, err := kept(args[1:])
				if err != nil {
					return status{statusBroken, err}
				}
				if o.Program, err = ownPath(); err != nil {
					return status{statusBroken, fmt.Errorf("find this program: %w", err)}
				}
				o.Log = nil // as its children write theirs
				run = func(m *nodes.OS) error { return nodes.Keep(c.Context(), m, k) }
			}
			m, err := nodes.NewOS(o)
			if err != nil {
				return status{statusUsage, err}
			}
			// The role knows how to leave, also if it is told before it listens to
			// signals.
			m.Signals()
			if err := errors.Join(run(m), m.Close()); err != nil {
				return status{statusBroken, err}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&host.Name, "name", "", "of this machine (default its host name)")
	f.TextVar(&host.Addr, "addr", netip.Addr{}, "`ADDRESS` at which others reach this machine; members of a cell need it")
	f.StringVar(&host.Region, "region", "", "that this machine stands in")
	f.StringVar(&host.Zone, "zone", "", "that this machine stands in")
	f.StringSliceVar(&resolvers, "resolver", nil, "DNS server to ask, `ADDR:PORT` (default the system's)")
	return c
}

// ownPath is where this program was called from: unlike os.Executable, it follows
// a symbolic link only when it is used.
func ownPath() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return os.Executable() // it was called by another name
	}
	return filepath.Abs(path)
}
