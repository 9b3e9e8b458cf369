package cell

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/espra/protoplex/nodes/meta/ca"
)

// Path is that of the stream on the meta port of a Seed.
const Path = "/cell"

// RoleSeed is the role of the leader and of those who may become it.
const RoleSeed = "seed"

// Seed is one of those who can lead a cell.
type Seed struct {
	Name string // as its certificate has it
	Addr string // host:port of its meta port
}

// ParseSeeds reads the form that flags use: NAME=HOST:PORT, separated by commas.
func ParseSeeds(s string) ([]Seed, error) {
	var seeds []Seed
	for i, entry := range strings.Split(s, ",") {
		name, addr, ok := strings.Cut(entry, "=")
		host, port, err := net.SplitHostPort(addr)
		n, badPort := strconv.ParseUint(port, 10, 16)
		_, badName := ca.ParseName(ca.Name{Cell: "cell", Role: RoleSeed, Name: name}.String())
		switch {
		case !ok, badName != nil:
			return nil, fmt.Errorf("cell: entry %d, %q: want name=host:port", i+1, entry)
		case err != nil, host == "", badPort != nil, n == 0:
			return nil, fmt.Errorf("cell: entry %d, %q: %q is not host:port", i+1, entry, addr)
		case slices.ContainsFunc(seeds, func(s Seed) bool { return s.Name == name }):
			return nil, fmt.Errorf("cell: entry %d, %q: name %q is there twice", i+1, entry, name)
		}
		seeds = append(seeds, Seed{name, addr})
	}
	return seeds, nil
}
