// Package testdata carries the scenario files into the binary, so that a
// scenario can be played by its name anywhere. It promises that every file below
// Scenarios and Regressions is a valid scenario; the tests of package
// scenarios/story hold it to that. Nothing in it can fail. Start reading at
// scenarios/region-failover.yaml.
package testdata

import "embed"

// Scenarios holds scenarios/NAME.yaml for every scenario. It is read-only.
//
//go:embed scenarios/*.yaml
var Scenarios embed.FS

// Regressions holds regressions/NAME.yaml for every reproducer of something that
// was found and mended; see `protoplex sim shrink`. It is read-only.
//
//go:embed regressions/*.yaml
var Regressions embed.FS
