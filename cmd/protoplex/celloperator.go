package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// cellOperator is a person who speaks to the Seeds of a cell.
type cellOperator struct {
	as, at string // flags

	id    *ca.Identity
	seeds []cell.Seed
}

func (o *cellOperator) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.as, "as", "", "`NAME` of the operator who asks")
	c.Flags().StringVar(&o.at, "seeds", "", "the cell's `SEEDS`, NAME=HOST:PORT of their meta ports, separated by commas")
}

// read takes the flags, and who the operator is from the folder of the authority.
func (o *cellOperator) read(dir string) (err error) {
	if o.seeds, err = cell.ParseSeeds(o.at); err != nil {
		return fmt.Errorf("--seeds: %w", err)
	}
	o.id, err = readOperator(dir, o.as)
	return err
}

func (o *cellOperator) machine() (*nodes.OS, error) {
	return nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Name: o.id.Name().Name}, Log: slog.New(slog.DiscardHandler)})
}

func (o *cellOperator) client(m nodes.Machine, s cell.Seed) *meta.Client {
	return meta.NewClient(m, o.id, s.Addr, ca.Want{Roles: []string{cell.RoleSeed}, Name: s.Name})
}

// readOperator reads who an operator is.
func readOperator(dir, name string) (*ca.Identity, error) {
	if name == "" {
		return nil, errors.New("say who you are: --as NAME")
	}
	file := filepath.Join(dir, certName(meta.RoleAdmin, name))
	pem, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist; protoplex cell cert --role %s makes it", file, meta.RoleAdmin)
	}
	if err != nil {
		return nil, err
	}
	roots, err := os.ReadFile(filepath.Join(dir, rootsName))
	if err != nil {
		return nil, err
	}
	id, err := ca.NewIdentity(pem, roots)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return id, nil
}

func cellDrainCommand() *cobra.Command {
	var o cellOperator
	c := &cobra.Command{
		Use:   "drain --as NAME --seeds SEEDS DIR NODE",
		Short: "Have a node hand over to others and leave",
		Long: `Order a node to leave, as the operator whose certificate is DIR/admin/NAME.pem; nothing
else is needed but DIR/roots.pem. Whichever Seed leads takes it out of the table and
then tells it; its clients are told to resume elsewhere, and its process ends.`,
		Example: `  protoplex cell drain --as ana --seeds seed-1=10.0.0.4:9090,seed-2=10.0.1.4:9090 us-east us-east-live-1`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.read(args[0]); err != nil {
				return status{statusUsage, err}
			}
			if err := o.drain(c.Context(), args[1]); err != nil {
				return status{statusFailed, err}
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is told to leave\n", args[1])
			return nil
		},
	}
	o.flags(c)
	return c
}

// drain asks one Seed after another, for only the leader orders.
func (o *cellOperator) drain(ctx context.Context, node string) (err error) {
	m, err := o.machine()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	var errs []error
	for _, s := range o.seeds {
		client := o.client(m, s)
		err := client.Call(ctx, "POST", cell.Path+"/drain", map[string]string{"node": node}, nil)
		client.Close()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
	}
	return errors.Join(errs...)
}
