package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/monitor/redirect"
	"github.com/espra/protoplex/nodes"
)

func redirectCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "redirect FILE",
		Short: "Redirect hosts to others, such as an apex to www, until interrupted",
		Long: `Redirect each host of FILE to another, by https, with path and query kept: 301, or
308 where the method is to stay. Nobody is ever sent to a host that FILE does not
name. FILE is YAML; the package page of monitor/redirect describes it. GET /health
answers 200.`,
		Example: `  protoplex redirect config check redirect.yaml
  protoplex redirect redirect.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadRedirect(args[0])
			if err != nil {
				return err
			}
			m, err := nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Name: "redirect"}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
			if err != nil {
				return status{statusBroken, err}
			}
			if err := redirect.Serve(c.Context(), m, cfg); err != nil {
				return status{statusBroken, err}
			}
			return nil
		},
	}
	check := &cobra.Command{
		Use:   "check FILE",
		Short: "Report all that is wrong with FILE",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadRedirect(args[0])
			if err != nil {
				return err
			}
			for _, h := range cfg.Hosts {
				fmt.Fprintf(c.OutOrStdout(), "%s -> https://%s\n", h.From, h.To)
			}
			return nil
		},
	}
	config := &cobra.Command{Use: "config", Short: "Look at the configuration of a redirect"}
	config.AddCommand(check)
	c.AddCommand(config)
	return c
}

func loadRedirect(file string) (*redirect.Config, error) {
	m, err := operator()
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, status{statusBroken, err}
	}
	cfg, err := redirect.Load(m.Disk(), filepath.ToSlash(path), file)
	if err != nil {
		return nil, status{statusUsage, err}
	}
	return cfg, nil
}
