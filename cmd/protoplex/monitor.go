package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/monitor"
	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/nodes"
)

// vantage is what all commands to a vantage have in common.
type vantage struct {
	file, url, as string
}

func monitorCommand() *cobra.Command {
	v := &vantage{}
	c := &cobra.Command{
		Use:   "monitor",
		Short: "Watch the platform from outside, and speak to the monitors that do",
		Long: `Run one of the off-site vantages that probe the platform, page its admins and move its
names, or tell a running one what an admin has to say. What one vantage is told it
tells the others.`,
		Example: `  protoplex monitor config check monitor.yaml
  protoplex monitor run --config monitor.yaml
  protoplex monitor ack 7K2 --as ana
  protoplex monitor silence eu-west --for 2h --why "new load balancers"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringVar(&v.file, "config", "/etc/protoplex/monitor.yaml", "configuration `FILE` of a vantage")
	c.AddCommand(v.runCommand(), v.configCommand(), v.statusCommand(), v.ackCommand(), v.silenceCommand(), v.testCommand())
	return c
}

// speaks adds the flags of commands to a running vantage.
func (v *vantage) speaks(c *cobra.Command, asAdmin bool) *cobra.Command {
	c.Flags().StringVar(&v.url, "vantage", "", "`URL` of the vantage to speak to (default the one of the configuration, on this machine)")
	if asAdmin {
		c.Flags().StringVar(&v.as, "as", "", "`NAME` of the admin who says so (default the user's name)")
	}
	return c
}

// config reads the configuration.
func (v *vantage) config() (monitor.Config, error) {
	text, err := os.ReadFile(v.file)
	if err != nil {
		return monitor.Config{}, status{statusUsage, fmt.Errorf("read configuration: %w", err)}
	}
	cfg, err := monitor.ParseConfig(v.file, text)
	if err != nil {
		return cfg, status{statusUsage, err}
	}
	return cfg, nil
}

func machine() (*nodes.OS, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, status{statusBroken, fmt.Errorf("find this machine's name: %w", err)}
	}
	m, err := nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Name: name, Proc: "monitor"}, Roles: roles(),
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return nil, status{statusBroken, err}
	}
	return m, nil
}

// client is for speaking to the vantage.
func (v *vantage) client() (*monitor.Client, monitor.Config, error) {
	cfg, err := v.config()
	if err != nil {
		return nil, cfg, err
	}
	m, err := machine()
	if err != nil {
		return nil, cfg, err
	}
	c, err := monitor.NewClient(m, cfg, v.url)
	if err != nil {
		return nil, cfg, status{statusUsage, err}
	}
	return c, cfg, nil
}

// tell gives a command in the name of an admin and prints the answer.
func (v *vantage) tell(c *cobra.Command, command monitor.Command) error {
	client, cfg, err := v.client()
	if err != nil {
		return err
	}
	command.By = cmp.Or(v.as, os.Getenv("USER"))
	if v.as == "" && !slices.ContainsFunc(cfg.Admins, func(a monitor.Admin) bool { return a.Name == command.By }) {
		return status{statusUsage, fmt.Errorf("say who you are: --as %s", names(cfg.Admins))}
	}
	said, err := client.Do(c.Context(), command)
	if err != nil {
		return status{statusFailed, err}
	}
	fmt.Fprintln(c.OutOrStdout(), said)
	return nil
}

func names(admins []monitor.Admin) string {
	var all []string
	for _, a := range admins {
		all = append(all, a.Name)
	}
	return strings.Join(all, "|")
}

func (v *vantage) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "run",
		Short:   "Run a vantage on this machine, until it is interrupted",
		Example: `  protoplex monitor run --config /etc/protoplex/monitor.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := v.config(); err != nil {
				return err
			}
			m, err := machine()
			if err != nil {
				return err
			}
			file, err := filepath.Abs(v.file) // as a Machine's disk wants it
			if err != nil {
				return status{statusUsage, err}
			}
			if err := monitor.Run(c.Context(), m, []string{"--config", file}); err != nil && !errors.Is(err, context.Canceled) {
				return status{statusBroken, err}
			}
			return nil
		},
	}
}

func (v *vantage) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "config",
		Short:   "Look at configuration files",
		Example: `  protoplex monitor config check monitor.yaml`,
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:   "check FILE...",
		Short: "Tell all that is wrong with configuration files, and contact nobody",
		Long: `Tell all that is wrong with configuration files, each with its place, and warn of what
is allowed and seldom wanted. No file that they name is read, and nobody is contacted.`,
		Example: `  protoplex monitor config check monitor.yaml`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			var errs []error
			for _, file := range files {
				cfg, err := (&vantage{file: file}).config()
				if err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintf(c.OutOrStdout(), "%s: vantage %s, rank %d; %d vantages, %d targets, %d homes, %d DNS and %d SMS providers, %d admins\n",
					file, cfg.Name, cfg.Rank, 1+len(cfg.Peers), len(cfg.Targets), len(cfg.Homes), len(cfg.Providers), len(cfg.SMS), len(cfg.Admins))
				for _, doubt := range cfg.Doubts() {
					fmt.Fprintf(c.OutOrStdout(), "%s: warning: %s\n", file, doubt)
				}
			}
			if len(errs) > 0 {
				return status{statusUsage, errors.Join(errs...)}
			}
			return nil
		},
	})
	return c
}

func (v *vantage) ackCommand() *cobra.Command {
	return v.speaks(&cobra.Command{
		Use:   "ack ID",
		Short: "Say that you look after an incident, so that nobody else is woken",
		Example: `  protoplex monitor ack 7K2 --as ana
  protoplex monitor ack 7K2 --as ana --vantage https://london.vps.espra.com:8700`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return v.tell(c, monitor.Command{Ack: args[0]}) },
	}, true)
}

func (v *vantage) silenceCommand() *cobra.Command {
	var lasts time.Duration
	var from, why string
	var keep, lift bool
	c := &cobra.Command{
		Use:   "silence SUBJECT",
		Short: "Page nobody for a region, a target or all, during planned work",
		Long: `Page nobody for a subject while people work on it: a region, a target, a vantage as
vantage-NAME, or all. Verdicts fall and names move all the same, unless --keep-homes.
What is still down at the end is paged then.`,
		Example: `  protoplex monitor silence eu-west --for 2h --why "new load balancers" --as ana
  protoplex monitor silence us-east --from 2026-03-07T02:00:00Z --for 90m --why "new switch" --keep-homes
  protoplex monitor silence eu-west --lift`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if lift {
				return v.tell(c, monitor.Command{Lift: args[0]})
			}
			start := time.Now().UTC()
			if from != "" {
				at, err := time.Parse(time.RFC3339, from)
				if err != nil {
					return fmt.Errorf("--from %q is no time like 2026-03-07T02:00:00Z", from)
				}
				start = at.UTC()
			}
			if lasts <= 0 || why == "" {
				return errors.New("say for how long and why: --for 2h --why \"new switch\"")
			}
			start = start.Truncate(time.Second)
			return v.tell(c, monitor.Command{Silence: &decide.Silence{
				ID: rand.Text()[:8], Subject: args[0], From: start, Until: start.Add(lasts), Why: why, Keep: keep,
			}})
		},
	}
	f := c.Flags()
	f.DurationVar(&lasts, "for", 0, "how long, at most 168h")
	f.StringVar(&why, "why", "", "what is done, for others to read")
	f.StringVar(&from, "from", "", "when it begins, as 2026-03-07T02:00:00Z (default now)")
	f.BoolVar(&keep, "keep-homes", false, "let no home move because of the subject")
	f.BoolVar(&lift, "lift", false, "end the subject's silences now")
	return v.speaks(c, true)
}

func (v *vantage) testCommand() *cobra.Command {
	var only string
	c := &cobra.Command{
		Use:   "test-page",
		Short: "Send a test text to admins through each SMS provider",
		Long: `Send a test text to each admin, or to one, through each provider of the configuration, and
show what each provider made of it.`,
		Example: `  protoplex monitor test-page --config monitor.yaml --admin ana`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := v.config()
			if err != nil {
				return err
			}
			admins := slices.DeleteFunc(slices.Clone(cfg.Admins), func(a monitor.Admin) bool { return only != "" && a.Name != only })
			if len(admins) == 0 {
				return fmt.Errorf("no admin is called %q; one of %s", only, names(cfg.Admins))
			}
			m, err := machine()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
			defer cancel()
			bad := 0
			err = monitor.TestPage(ctx, m, cfg, admins, func(t monitor.TestText) {
				if t.Receipt.Outcome != sms.Accepted || t.Delivery == sms.Failed {
					bad++
				}
				fmt.Fprintln(c.OutOrStdout(), testLine(t))
			})
			switch {
			case err != nil:
				return status{statusUsage, err}
			case bad > 0:
				return status{statusFailed, fmt.Errorf("%d texts did not go out", bad)}
			}
			return nil
		},
	}
	c.Flags().StringVar(&only, "admin", "", "`NAME` of the one to send to (default all)")
	return c
}

func testLine(t monitor.TestText) string {
	line := fmt.Sprintf("%s through %s: %s", t.Admin, t.Provider, t.Receipt.Outcome)
	if t.Receipt.ID != "" {
		line += fmt.Sprintf(" as %s, delivery %s", t.Receipt.ID, cmp.Or(t.Delivery, sms.Unknown))
	}
	if t.Err != nil {
		line += ": " + t.Err.Error()
	}
	return line
}

func (v *vantage) statusCommand() *cobra.Command {
	return v.speaks(&cobra.Command{
		Use:   "status",
		Short: "Tell what a vantage believes, and the incidents that it knows of",
		Example: `  protoplex monitor status --config monitor.yaml
  protoplex monitor status --vantage https://london.vps.espra.com:8700`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, _, err := v.client()
			if err != nil {
				return err
			}
			s, err := client.Status(c.Context())
			if err != nil {
				return status{statusFailed, err}
			}
			printStatus(c.OutOrStdout(), s)
			return nil
		},
	}, false)
}

// printStatus tells a person what one vantage believes.
func printStatus(w io.Writer, s monitor.Status) {
	span := func(seconds float64) time.Duration { return (time.Duration(seconds) * time.Second).Round(time.Second) }
	fmt.Fprintf(w, "as %s knows it at %s\n\n", s.Vantage, s.Now.Format(time.RFC3339))
	for _, name := range slices.Sorted(maps.Keys(s.Subjects)) {
		x := s.Subjects[name]
		note := ""
		if x.Incident != "" {
			note = "  incident " + x.Incident
		}
		if x.Flapping {
			note += ", flapping"
		}
		if x.Folded {
			note += ", told with a greater one"
		}
		fmt.Fprintf(w, "%-24s %-8s for %s, %d votes%s\n", name, x.Status, span(x.Seconds), x.Votes, note)
	}
	fmt.Fprintln(w)
	for _, name := range slices.Sorted(maps.Keys(s.Vantages)) {
		x := s.Vantages[name]
		abstains := ""
		if x.Abstains {
			abstains = ", abstains: it does not reach its controls"
		}
		fmt.Fprintf(w, "vantage %-16s rank %d, heard %s ago%s\n", name, x.Rank, span(x.Age), abstains)
	}
	fmt.Fprintln(w)
	for _, host := range slices.Sorted(maps.Keys(s.Homes)) {
		fmt.Fprintf(w, "home of %-24s %s, epoch %d\n", host, s.Homes[host].Region, s.Homes[host].Epoch)
	}
	switch {
	case s.Stuck != "":
		fmt.Fprintf(w, "DNS is stuck: %s\n", s.Stuck)
	case !s.Settled && len(s.Homes) > 0:
		fmt.Fprintln(w, "not every name server shows these homes yet")
	}
	for _, x := range s.Silences {
		keep := ""
		if x.Keep {
			keep = ", homes are kept"
		}
		fmt.Fprintf(w, "silence %s of %s from %s until %s by %s: %s%s\n", x.ID, x.Subject, x.From.Format(time.RFC3339), x.Until.Format(time.RFC3339), x.By, x.Why, keep)
	}
	for _, i := range s.Incidents {
		by := ""
		if i.Acknowledged != "" {
			by = "; " + i.Acknowledged + " looks after it"
		}
		state := i.State + " since " + i.Since.Format(time.RFC3339)
		if !i.Ended.IsZero() {
			state = fmt.Sprintf("%s, from %s to %s", i.State, i.Since.Format(time.RFC3339), i.Ended.Format(time.RFC3339))
		}
		fmt.Fprintf(w, "\nincident %s: %s %s%s\n", i.ID, i.Subject, state, by)
		for _, m := range i.Timeline {
			fmt.Fprintf(w, "  %s  %-12s  %s\n", m.At.Format("15:04:05"), m.What, m.Text)
		}
	}
}
