package main

import (
	"context"
	"io"

	"github.com/espra/protoplex/scenarios"
)

func (x *search) shrinkAll(ctx context.Context, out io.Writer, all scenarios.Exploration, saved map[[2]string]string) error {
	return nil
}
