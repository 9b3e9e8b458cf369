package cell

import (
	"crypto/x509"
	"errors"
	"flag"
	"fmt"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// Flags are those of every role that belongs to a cell:
//
//	--seeds SEEDS      the Seeds of the cell, NAME=HOST:PORT of their meta ports,...
//	--cell-cert FILE   this node's certificate of the cell and its key, PEM
//	--cell-roots FILE  the cell's authority, PEM
//	--meta ADDRESS     where to serve the meta port (:9090); all nodes of a cell
//	                   have the same, for tables name public ports only
type Flags struct {
	Seeds []Seed
	Cert  string
	Roots string
	Meta  string
}

// Define adds the flags to a set.
func (o *Flags) Define(f *flag.FlagSet) {
	f.Func("seeds", "", func(s string) (err error) {
		o.Seeds, err = ParseSeeds(s)
		return err
	})
	f.StringVar(&o.Cert, "cell-cert", "", "")
	f.StringVar(&o.Roots, "cell-roots", "", "")
	f.StringVar(&o.Meta, "meta", meta.Listen, "")
}

// Joined reports whether the process belongs to a cell.
func (o *Flags) Joined() bool { return len(o.Seeds) > 0 }

// Check says what is missing.
func (o *Flags) Check() error {
	if o.Joined() && (o.Cert == "" || o.Roots == "") {
		return errors.New("--seeds needs --cell-cert and --cell-roots")
	}
	return nil
}

// Identity reads the certificates.
func (o *Flags) Identity(m nodes.Machine) (*ca.Identity, *nodes.Credential, error) {
	id, c, err := ReadIdentity(m, o.Cert, o.Roots)
	if err != nil {
		return nil, nil, fmt.Errorf("--cell-cert, --cell-roots: %w", err)
	}
	return id, c, nil
}

// ReadIdentity reads a node's certificate and its cell's roots from the disk. The
// credential's Keep renews the identity when either changes.
func ReadIdentity(m nodes.Machine, cert, roots string) (*ca.Identity, *nodes.Credential, error) {
	var id *ca.Identity
	c, err := nodes.NewCredential(m, func(contents [][]byte) (*x509.Certificate, error) {
		if id != nil {
			err := id.Renew(contents[0], contents[1])
			return id.Certificate(), err
		}
		var err error
		if id, err = ca.NewIdentity(contents[0], contents[1]); err != nil {
			return nil, err
		}
		return id.Certificate(), nil
	}, cert, roots)
	if err != nil {
		return nil, nil, fmt.Errorf("cell: %w", err)
	}
	return id, c, nil
}

const maxFile = 1 << 20

// ReadFile reads a small file.
func ReadFile(d nodes.Disk, name string) (b []byte, err error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	b = make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, err
	}
	return b, nil
}
