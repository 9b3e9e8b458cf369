package sim_test

import (
	"testing"

	"github.com/espra/protoplex/sim"
)

// TestCutLink runs the example of the package page.
func TestCutLink(t *testing.T) { sim.Test(t, cutLink) }
