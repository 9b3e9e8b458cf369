package story

import "slices"

// Need says whether a fault takes a duration after which it heals.
type Need string

// The needs; a fault with an optional duration lasts to the end without one.
const (
	Required Need = "required"
	Optional Need = "optional"
	Never    Need = "never"
)

// Family is what part of the world a fault breaks.
type Family string

// The families, in the order of `sim faults`.
const (
	Network       Family = "network"
	NameService   Family = "names"
	CloudAPI      Family = "cloud APIs"
	Process       Family = "processes"
	Disk          Family = "disks"
	Clock         Family = "clocks"
	ZoneAndRegion Family = "zones and regions"
	Gray          Family = "gray" // what is not down and does not work
	Human         Family = "people"
)

// Families is the table of all families; it is never changed.
var Families = []Family{Network, NameService, CloudAPI, Process, Disk, Clock, ZoneAndRegion, Gray, Human}

// Fault describes one word of the fault vocabulary.
type Fault struct {
	Name      string
	Family    Family
	About     string   // one line: what happens
	Promise   string   // one line: what the platform promises under it
	On        []Kind   // what it may strike
	Providers []string // for ByProvider: which ones; nil means any
	Roles     []string // what is struck has a machine of one of these; nil means any
	InCell    bool     // that one is in a region with a seed
	For       Need
	Params    []Param
}

var (
	hosts    = []Kind{ByMachine, ByRole, ByZone, ByRegion, ByVPS, ByClients}
	anything = []Kind{ByMachine, ByRole, ByZone, ByRegion, ByVPS, ByProvider, ByClients}
)

// Faults is the fault vocabulary: what a timeline can do to the world. It is a
// table for the engine and for `sim faults`, and is never changed.
var Faults = slices.Concat(processFaults, networkFaults, nameFaults, apiFaults, diskFaults, clockFaults, grayFaults, humanFaults)

// FindFault finds a fault by name.
func FindFault(name string) (Fault, bool) {
	i := slices.IndexFunc(Faults, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return Fault{}, false
	}
	return Faults[i], true
}

func faultNames() []string {
	var names []string
	for _, f := range Faults {
		names = append(names, f.Name)
	}
	return names
}
