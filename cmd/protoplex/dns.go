package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/monitor/keep"
	"github.com/espra/protoplex/nodes"
)

func dnsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dns",
		Short: "Keep a zone the same at several DNS providers",
		Long: `Keep a zone at several DNS providers as a file in your repository says. FILE is YAML
and names the zone file, the providers, and files with their tokens; the package
page of monitor/keep describes it. Names that are kept have a mark beside them in
the zone, so what others wrote survives, and homes that the monitors keep are
never touched.`,
	}
	c.AddCommand(dnsPlanCommand(), dnsApplyCommand(), dnsDriftCommand(), dnsConfigCommand())
	return c
}

// dnsOptions are what the commands share.
type dnsOptions struct {
	providers []string
	permits   keep.Permits
}

func (o *dnsOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVar(&o.providers, "provider", nil, "leave the others alone, `NAME`; repeated (default all)")
	f.IntVar(&o.permits.Percent, "percent", 0, "of the kept records that may change or go this once, `N` (default the guard of FILE)")
	f.StringSliceVar(&o.permits.Adopt, "adopt", nil, "take over what others wrote at `HOST`; repeated")
	f.StringSliceVar(&o.permits.Gap, "gap", nil, "let `HOST` be empty for a moment where its type cannot change in place; repeated")
}

// keeper opens what a file says to keep.
func (o *dnsOptions) keeper(c *cobra.Command, file string) (*keep.Keeper, error) {
	if o.permits.Percent < 0 || o.permits.Percent > 100 {
		return nil, status{statusUsage, fmt.Errorf("--percent %d: want 1 to 100", o.permits.Percent)}
	}
	m, err := operator()
	if err != nil {
		return nil, err
	}
	cfg, zone, err := loadZone(c, m, file)
	if err != nil {
		return nil, err
	}
	if err := o.permits.Check(zone); err != nil {
		return nil, status{statusUsage, err}
	}
	var mu sync.Mutex
	progress := c.ErrOrStderr()
	k, err := keep.New(m, cfg, zone, o.providers, func(line string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(progress, line)
	})
	if err != nil {
		return nil, status{statusUsage, err}
	}
	return k, nil
}

// operator is the machine of somebody who gives commands.
func operator() (nodes.Machine, error) {
	m, err := nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Name: "operator"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, status{statusBroken, err}
	}
	return m, nil
}

// loadZone reads both files and prints the warnings.
func loadZone(c *cobra.Command, m nodes.Machine, file string) (*keep.Config, *keep.File, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, nil, status{statusBroken, err}
	}
	cfg, zone, err := keep.Load(m.Disk(), filepath.ToSlash(path), file)
	if err != nil {
		return nil, nil, status{statusUsage, err}
	}
	for _, w := range zone.Warnings {
		fmt.Fprintln(c.ErrOrStderr(), w)
	}
	return cfg, zone, nil
}

func dnsPlanCommand() *cobra.Command {
	var o dnsOptions
	c := &cobra.Command{
		Use:   "plan FILE",
		Short: "Show what apply would change at each provider",
		Long: `Show what it takes to make every provider say what the zone file says: + is added,
~ changed, - deleted, = taken over, and . is foreign and stays. The plan's name
changes whenever the file or a zone does; apply --plan takes it.`,
		Example: "  protoplex dns plan dns.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			k, err := o.keeper(c, args[0])
			if err != nil {
				return err
			}
			p, err := k.Propose(c.Context(), o.permits)
			p.Write(c.OutOrStdout())
			if err != nil {
				return status{statusFailed, err}
			}
			return nil
		},
	}
	o.flags(c)
	return c
}

func dnsApplyCommand() *cobra.Command {
	var o dnsOptions
	var yes bool
	var plan string
	c := &cobra.Command{
		Use:   "apply FILE",
		Short: "Make every provider say what the zone file says, and read it back",
		Long: `Show the plan, ask, make the changes one provider after the other, and read them back
at every name server. What changed in a zone between plan and answer ends it. If
a provider fails, what is where is told, the status is 1, and another apply
finishes it.`,
		Example: `  protoplex dns apply dns.yaml
  protoplex dns apply dns.yaml --yes --plan 3f9a0c55d1e2`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			k, err := o.keeper(c, args[0])
			if err != nil {
				return err
			}
			p, err := k.Propose(c.Context(), o.permits)
			out := c.OutOrStdout()
			p.Write(out)
			switch {
			case err != nil:
				return status{statusFailed, fmt.Errorf("nothing was changed: %w", err)}
			case plan != "" && plan != p.ID:
				return status{statusFailed, fmt.Errorf("nothing was changed: the file or a zone is not as it was at plan %s", plan)}
			case p.Changes() == 0:
				return nil
			}
			if !yes {
				fmt.Fprintf(out, "Make these changes? Only yes will do: ")
				answer, err := readAnswer(c.Context(), c.InOrStdin())
				if err != nil {
					return status{statusFailed, fmt.Errorf("nothing was changed: %w", err)}
				}
				if answer != "yes" {
					return status{statusFailed, fmt.Errorf("nothing was changed")}
				}
				again, err := k.Propose(c.Context(), o.permits)
				if err != nil || again.ID != p.ID {
					return status{statusFailed, fmt.Errorf("nothing was changed: a zone is not as it was when this was planned; plan again")}
				}
			}
			outcomes := k.Apply(c.Context(), p)
			keep.WriteOutcomes(out, outcomes)
			for _, o := range outcomes {
				if !o.Done() {
					return status{statusFailed, nil}
				}
			}
			return nil
		},
	}
	o.flags(c)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().StringVar(&plan, "plan", "", "make no other than this plan, `NAME`")
	return c
}

// readAnswer gives one line, unless ctx ends first.
func readAnswer(ctx context.Context, in io.Reader) (string, error) {
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(io.LimitReader(in, 1<<10)).ReadString('\n') // no answer is not yes
		line <- strings.TrimSpace(text)
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case text := <-line:
		return text, nil
	}
}

func dnsDriftCommand() *cobra.Command {
	var o dnsOptions
	c := &cobra.Command{
		Use:   "drift FILE",
		Short: "Compare the zone file, each provider, and each of its name servers",
		Long: `Compare what the zone file says, what each provider holds, and what each of its name
servers shows, and print every difference. The status is 1 if there is any. A TTL
that a provider rounds is none.`,
		Example: "  protoplex dns drift dns.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			k, err := o.keeper(c, args[0])
			if err != nil {
				return err
			}
			d := k.Drift(c.Context(), o.permits)
			d.Write(c.OutOrStdout())
			if !d.None() {
				return status{statusFailed, d.Err}
			}
			return nil
		},
	}
	o.flags(c)
	return c
}

func dnsConfigCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Look at the configuration of a zone"}
	c.AddCommand(&cobra.Command{
		Use:   "check FILE",
		Short: "Report all that is wrong with FILE and its zone file, asking nobody",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := operator()
			if err != nil {
				return err
			}
			cfg, zone, err := loadZone(c, m, args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %d records of %s for %d providers\n", args[0], len(zone.Records), cfg.Zone, len(cfg.Providers))
			return nil
		},
	})
	return c
}
