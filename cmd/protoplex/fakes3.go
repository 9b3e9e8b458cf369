package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/fakes/s3"
	"github.com/espra/protoplex/nodes"
)

func fakeS3Command() *cobra.Command {
	var port int
	var buckets []string
	c := &cobra.Command{
		Use:   "s3",
		Short: "Be Amazon S3, with buckets in memory",
		Long: `Be S3 at 127.0.0.1:PORT, until interrupted, with buckets that are there until then. It
prints who may do all there.`,
		Example: `  protoplex fake s3 --bucket leases`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if port < 1 || port > 65535 {
				return status{statusUsage, fmt.Errorf("--port %d: want 1 to 65535", port)}
			}
			if err := fakeS3(c.Context(), port, buckets, c.OutOrStdout()); err != nil {
				return status{statusBroken, err}
			}
			return nil
		},
	}
	c.Flags().IntVar(&port, "port", 9000, "to listen on")
	c.Flags().StringSliceVar(&buckets, "bucket", nil, "`NAME` of one to make; repeated")
	return c
}

// fakeS3 runs the store until ctx ends.
func fakeS3(ctx context.Context, port int, buckets []string, out io.Writer) error {
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: "s3", Addr: netip.MustParseAddr("127.0.0.1")}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	args := []string{"--listen", local(port), "--key", fakeKey + ":" + fakeSecret}
	for _, b := range buckets {
		args = append(args, "--bucket", b)
	}
	fmt.Fprintf(out, "http://%s  region us-east-1, credentials %s:%s\nCtrl-C ends it.\n", local(port), fakeKey, fakeSecret)
	err = s3.Run(ctx, m, args)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return explainPort(errors.Join(err, m.Close()))
}
