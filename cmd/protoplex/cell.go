package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// Files in the folder of a cell's authority. Certificates are in ROLE/NAME.pem.
const (
	authorityName = "authority.pem"
	rootsName     = "roots.pem"
)

func certName(role, name string) string { return filepath.Join(role, name+".pem") }

// certRoles are those that certificates can be of: who belongs to a cell, its
// operators, and who only asks how it is.
func certRoles() []string {
	return []string{meta.RoleAdmin, cell.RoleLive, cell.RoleProxy, meta.RoleReader, cell.RoleSeed}
}

func cellCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cell",
		Short: "Mint the certificates of a cell, look at it, and have one of its nodes leave",
		Long: `Make the authority of a cell, mint the certificates by which its nodes and operators
know one another, and look at a cell and give an order as an operator. All is in one folder: authority.pem,
which is the secret that makes members of the cell, and stays where you mint;
roots.pem, which every node needs; and ROLE/NAME.pem, a certificate and its key, which
nobody but its node needs.`,
		Example: `  protoplex cell init --cell us-east us-east
  protoplex cell cert --role live --name us-east-live-1 us-east
  protoplex cell cert --role admin --name ana us-east
  protoplex cell status --as ana --seeds seed-1=10.0.0.4:9090 us-east
  protoplex cell drain --as ana --seeds seed-1=10.0.0.4:9090 us-east us-east-live-1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(cellInitCommand(), cellCertCommand(), cellStatusCommand(), cellDrainCommand())
	return c
}

func cellInitCommand() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "init --cell NAME DIR",
		Short: "Make the authority of a new cell",
		Long: `Make the authority of a new cell in DIR, which is made if it is not there. One that is
there stays: with another in its place no node would know the others. It is valid for
20 years.`,
		Example: `  protoplex cell init --cell us-east us-east`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := ca.ParseName(ca.Name{Cell: name, Role: meta.RoleAdmin, Name: "any"}.String()); err != nil {
				return badName("cell", name)
			}
			if err := initCell(args[0], name); err != nil {
				return status{statusBroken, err}
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: the authority of %s; keep it secret\n%s: for every node\n",
				filepath.Join(args[0], authorityName), name, filepath.Join(args[0], rootsName))
			return nil
		},
	}
	c.Flags().StringVar(&name, "cell", "", "`NAME` of the cell, such as that of its region")
	return c
}

func badName(flag, name string) error {
	return status{statusUsage, fmt.Errorf("--%s %q: want 1 to 63 of a to z, 0 to 9, hyphens and dots within", flag, name)}
}

func initCell(dir, name string) error {
	if err := absent(filepath.Join(dir, authorityName)); err != nil {
		return err
	}
	from := time.Now().Add(-clockSkew)
	a, err := ca.New(rand.Reader, name, from, from.Add(validity))
	if err != nil {
		return err
	}
	pem, err := a.PEM()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := write(filepath.Join(dir, rootsName), a.RootsPEM()); err != nil {
		return err
	}
	return write(filepath.Join(dir, authorityName), pem)
}

// absent gives an error unless there is no such file.
func absent(file string) error {
	switch _, err := os.Lstat(file); {
	case err == nil:
		return fmt.Errorf("%s is there already", file)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

type certOptions struct {
	role, name string
	days       int
	renew      bool
}

func cellCertCommand() *cobra.Command {
	var o certOptions
	c := &cobra.Command{
		Use:   "cert --role ROLE --name NAME DIR",
		Short: "Mint the certificate of a node or an operator",
		Long: `Mint a certificate and a key by the authority in DIR, as DIR/ROLE/NAME.pem. With
DIR/roots.pem it is what a Seed takes as --cert and --roots, and others as --cell-cert
and --cell-roots; they read both again once a minute. The role admin is for operators,
and reader for what only asks nodes how they are, such as Prometheus. A certificate
carries no address: a node is who it is wherever it stands.`,
		Example: `  protoplex cell cert --role live --name us-east-live-1 us-east
  protoplex cell cert --role live --name us-east-live-1 --renew us-east
  protoplex cell cert --role admin --name ana --days 30 us-east`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(certRoles(), o.role) {
				return status{statusUsage, fmt.Errorf("--role %q: want one of %s", o.role, strings.Join(certRoles(), ", "))}
			}
			if _, err := ca.ParseName(ca.Name{Cell: "any", Role: o.role, Name: o.name}.String()); err != nil {
				return badName("name", o.name)
			}
			if o.days < 1 || o.days > int(validity/day) {
				return status{statusUsage, fmt.Errorf("--days %d: want 1 to %d", o.days, validity/day)}
			}
			said, err := o.mint(args[0])
			if err != nil {
				return status{statusBroken, err}
			}
			fmt.Fprintln(c.OutOrStdout(), said)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.role, "role", "", "`ROLE` that it is of: "+strings.Join(certRoles(), ", "))
	f.StringVar(&o.name, "name", "", "`NAME` of the node or operator, which no other of the role has")
	f.IntVar(&o.days, "days", 365, "for which it is valid")
	f.BoolVar(&o.renew, "renew", false, "put it in the place of one that is there")
	return c
}

// mint makes the certificate and says what it is.
func (o certOptions) mint(dir string) (string, error) {
	authority, err := readAuthority(dir)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, certName(o.role, o.name))
	if !o.renew {
		if err := absent(file); err != nil {
			return "", fmt.Errorf("%w; --renew replaces it", err)
		}
	}
	now := time.Now()
	until := now.Add(time.Duration(o.days) * day)
	pem, err := authority.Node(rand.Reader, o.role, o.name, now.Add(-clockSkew), until)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	if err := write(file, pem); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %s/%s of %s, until %s", file, o.role, o.name, authority.Cell(), until.UTC().Format(time.DateOnly)), nil
}

func readAuthority(dir string) (*ca.Authority, error) {
	file := filepath.Join(dir, authorityName)
	pem, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist; protoplex cell init makes it", file)
	}
	if err != nil {
		return nil, err
	}
	authority, err := ca.Load(pem)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return authority, nil
}
