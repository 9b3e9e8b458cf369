// Package seed is the Seed role: it knows which nodes a cell has, decides which
// of them own the keys, and tells all of them.
//
// A cell has several Seeds. One of them, the leader, holds a lease; the others
// are understudies, who refuse everybody and wait for the lease to be free. What
// a Seed knows is soft: nodes tell it anew.
//
// What it promises. Tables and orders carry the leader's epoch, and tables a
// revision that counts from 1 in it. None is sent without a lease that will last
// a while longer. A new leader is patient for a full lease, and for a node's whole
// lease if some have yet to come: it takes what nodes report, the latest table as
// what there was, and changes nothing; a node that the table names stays until it
// has been silent for as long as any other. A node leaves the table before it is told to drain. A
// node that comes moves its share of the keys, and nothing else moves.
//
// What may fail. Without the lease store the leader is frozen: tables stay as
// they are, nodes that come get no keys, orders are refused, streams are kept. If
// it alone is without, its nodes find the one who leads instead of it.
// When everybody who owns keys falls silent at once, the leader takes itself for
// deaf and removes nobody. Two nodes with one name: the later process on the same
// address takes over, also if the wall clock was set back in between; one at another
// address is refused until the first has been silent for long enough to be dead.
//
// Start reading at core.go, which is all of that without any network; registry.go
// and table.go are its two halves. leader.go puts it to work, port.go joins it to
// the meta port.
package seed

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/aws"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/lease"
	"github.com/espra/protoplex/nodes/meta"
)

var _ nodes.Role = Run

// Term is that of the lease, unless a flag says otherwise.
const Term = 10 * time.Second

// Run is the role. Its flags:
//
//	--meta ADDRESS        where to serve the meta port (:9090)
//	--cell NAME           which the certificate must be of
//	--cert FILE           this Seed's certificate of the cell and its key, PEM
//	--roots FILE          the cell's authority, PEM
//	--lease-prefix KEY    of the lease's object, before the cell's name (leases/)
//	--term D              of the lease (10s)
//	--missing D           how long a new leader waits at most for nodes that may be
//	                      there (30s, which is what they take to notice); less is
//	                      for a cell on one machine
//	--members N           processes that may be registered at once (2000)
//	--s3-endpoint URL     of the lease bucket; empty is Amazon's for the region
//	--s3-region REGION    (us-east-1)
//	--s3-roots FILE       trusted for the endpoint, PEM; the system's without it
//	--bucket NAME         the lease bucket
//	--credentials FILE    one line, ID:SECRET
//
// It returns nil after a Terminate, having given up what leadership it had, and
// the context's error when ctx ends.
func Run(ctx context.Context, m nodes.Machine, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	id, credential, err := cell.ReadIdentity(m, o.cert, o.roots)
	if err != nil {
		return fmt.Errorf("seed: --cert, --roots: %w", err)
	}
	if name := id.Name(); name.Cell != o.cell || name.Role != cell.RoleSeed {
		return fmt.Errorf("seed: the certificate is that of %s, not of a Seed of %s", name, o.cell)
	}
	blobs, err := o.bucket(m)
	if err != nil {
		return err
	}
	// Two requests of a turn must fit into it.
	leases := lease.New(m, blobs, lease.Options{Prefix: o.prefix, Timeout: min(o.term/7, 2*time.Second)})
	var keeping sync.WaitGroup
	defer keeping.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keeping.Go(func() { credential.Keep(ctx) })
	// Nodes find another leader by themselves: there is no window to wait for.
	drain := nodes.NewDrain(ctx, m, nodes.DrainOptions{Window: time.Millisecond})
	if err := drain.Ready(); err != nil {
		return err
	}
	return Serve(ctx, m, Config{
		Meta: meta.Options{Identity: id, Listen: o.meta, Drain: func() error {
			drain.Begin(ctx)
			return nil
		}},
		Leases:  leases,
		Lease:   o.cell,
		Term:    o.term,
		Missing: o.missing,
		Members: o.members,
	}, drain.Stopping())
}

type options struct {
	meta, cell, cert, roots string
	prefix                  string
	term                    time.Duration
	missing                 time.Duration
	members                 int

	s3          aws.BlobsOptions
	s3Roots     string
	credentials string
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("seed", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.meta, "meta", meta.Listen, "")
	f.StringVar(&o.cell, "cell", "", "")
	f.StringVar(&o.cert, "cert", "", "")
	f.StringVar(&o.roots, "roots", "", "")
	f.StringVar(&o.prefix, "lease-prefix", "leases/", "")
	f.DurationVar(&o.term, "term", Term, "")
	f.DurationVar(&o.missing, "missing", 0, "")
	f.IntVar(&o.members, "members", 2000, "")
	f.StringVar(&o.s3.Endpoint, "s3-endpoint", "", "")
	f.StringVar(&o.s3.Region, "s3-region", "us-east-1", "")
	f.StringVar(&o.s3Roots, "s3-roots", "", "")
	f.StringVar(&o.s3.Bucket, "bucket", "", "")
	f.StringVar(&o.credentials, "credentials", "", "")
	if err := f.Parse(args); err != nil {
		return options{}, fmt.Errorf("seed: flags: %w", err)
	}
	for _, needed := range []struct{ name, value string }{
		{"cell", o.cell}, {"cert", o.cert}, {"roots", o.roots}, {"bucket", o.s3.Bucket}, {"credentials", o.credentials},
	} {
		if needed.value == "" {
			return options{}, fmt.Errorf("seed: --%s is needed", needed.name)
		}
	}
	switch {
	case f.NArg() > 0:
		return options{}, fmt.Errorf("seed: unexpected argument %q", f.Arg(0))
	case o.term < minTerm || o.term > time.Minute:
		return options{}, fmt.Errorf("seed: --term must be within %v and %v", minTerm, time.Minute)
	case o.missing < 0:
		return options{}, errors.New("seed: --missing must not be below zero")
	case o.members < 1:
		return options{}, errors.New("seed: --members must be above zero")
	}
	return o, nil
}

// bucket gives the bucket of the lease.
func (o options) bucket(m nodes.Machine) (nodes.Blobs, error) {
	line, err := cell.ReadFile(m.Disk(), o.credentials)
	if err != nil {
		return nil, fmt.Errorf("seed: credentials: %w", err)
	}
	var ok bool
	if o.s3.Key, o.s3.Secret, ok = strings.Cut(string(bytes.TrimSpace(line)), ":"); !ok {
		return nil, errors.New("seed: credentials: want ID:SECRET")
	}
	if o.s3Roots != "" {
		roots, err := cell.ReadFile(m.Disk(), o.s3Roots)
		if err != nil {
			return nil, fmt.Errorf("seed: roots of the bucket: %w", err)
		}
		o.s3.Roots = x509.NewCertPool()
		if !o.s3.Roots.AppendCertsFromPEM(roots) {
			return nil, errors.New("seed: roots of the bucket: no certificate in PEM")
		}
	}
	return aws.NewBlobs(m, o.s3)
}
