package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/espra/protoplex/fakes/faulty"
	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

var _ nodes.Role = Run

// Run is an S3 endpoint.
//
//	--listen ADDRESS  (default :443)
//	--cert FILE       certificate and key; plain HTTP without it
//	--bucket NAME     a bucket to make if it is not there; repeated
//	--key ID:SECRET   who may do all; repeated
//	--dir PATH        where to keep buckets on disk; in memory without it
//	--region NAME     that requests are signed for (default us-east-1)
func Run(ctx context.Context, m nodes.Machine, args []string) error {
	fs := serve.Flags("s3")
	o := Options{Keys: map[string]string{}}
	var keys serve.Strings
	address := fs.String("listen", ":443", "")
	cert := fs.String("cert", "", "")
	fs.Var((*serve.Strings)(&o.Buckets), "bucket", "")
	fs.Var(&keys, "key", "")
	fs.StringVar(&o.Dir, "dir", "", "")
	fs.StringVar(&o.Region, "region", "us-east-1", "")
	if err := serve.Parse(fs, args); err != nil {
		return err
	}
	for _, k := range keys {
		id, secret, ok := strings.Cut(k, ":")
		if !ok || id == "" || secret == "" {
			return errors.New("s3: --key wants ID:SECRET")
		}
		o.Keys[id] = secret
	}
	if len(o.Keys) == 0 {
		return errors.New("s3: --key is needed")
	}
	server, err := New(ctx, m, o)
	if err != nil {
		return err
	}
	l, err := serve.Listen(m, *address, *cert)
	if err != nil {
		return fmt.Errorf("s3: %w", err)
	}
	m.Log().Info("s3 ready", "listen", l.Addr().String())
	return serve.Together(ctx, m, func(ctx context.Context) error {
		return serve.HTTP(ctx, m, l, faulty.Wrap(ctx, server))
	})
}
