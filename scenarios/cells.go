package scenarios

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/scenarios/story"
)

// Where the nodes of a cell find what they prove their membership with, and the
// Seeds their account at the lease store.
const (
	cellCert     = "/etc/protoplex/cell.pem"
	cellRoots    = "/etc/protoplex/cell-roots.pem"
	accountFile  = "/etc/protoplex/s3"
	storeDir     = "/var/lib/s3" // what S3 has taken it keeps, whatever becomes of its machines
	leaseAccount = "AKIDEXAMPLE:the account's secret"
)

func leaseBucket(region string) string { return region + "-leases" }

// validity is that of every certificate of a story.
func (p *platform) validity() (from, until time.Time) {
	return p.story.Starts.Add(-24 * time.Hour), p.story.Starts.Add(p.story.Lasts + 30*24*time.Hour)
}

// entropy gives keys that are the same in every run. They protect nothing.
func entropy(name string) *rand.ChaCha8 {
	var seed [32]byte
	copy(seed[:], name)
	return rand.NewChaCha8(seed)
}

// authorities makes one for each region that has Seeds, and so is a cell that
// runs itself.
func (p *platform) authorities() (map[string]*ca.Authority, error) {
	all := map[string]*ca.Authority{}
	from, until := p.validity()
	for _, r := range p.story.Topology.Regions {
		if r.Seed == 0 {
			continue
		}
		a, err := ca.New(entropy(r.Name), r.Name, from, until)
		if err != nil {
			return nil, fmt.Errorf("authority of %s: %w", r.Name, err)
		}
		all[r.Name] = a
	}
	return all, nil
}

// member gives a machine its certificate of its cell.
func (p *platform) member(m story.Machine, role string) error {
	a := p.cells[m.Region]
	from, until := p.validity()
	cert, err := a.Node(entropy(m.Name), role, m.Name, from, until)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return p.files(m.Name, map[string][]byte{cellCert: cert, cellRoots: a.RootsPEM()})
}

// joins are the flags with which a node learns who owns which keys: from the
// Seeds of its region, or from a table where there are none.
func (p *platform) joins(m story.Machine, role string) ([]string, error) {
	if p.cells[m.Region] == nil {
		return []string{"--live", p.table(m.Region)}, nil
	}
	if err := p.member(m, role); err != nil {
		return nil, err
	}
	return []string{"--seeds", p.seeds(m.Region), "--cell-cert", cellCert, "--cell-roots", cellRoots}, nil
}

// seeds lists those who can lead a region's cell.
func (p *platform) seeds(region string) string {
	var all []string
	for _, m := range append(p.inRegion(story.RoleSeed, region), p.inRegion(story.RoleUnderstudy, region)...) {
		all = append(all, fmt.Sprintf("%s=%s:9090", m.Name, p.addr(m.Name)))
	}
	return strings.Join(all, ",")
}

func (p *platform) seed(m story.Machine) error {
	if err := p.member(m, cell.RoleSeed); err != nil {
		return err
	}
	if err := p.files(m.Name, map[string][]byte{accountFile: []byte(leaseAccount + "\n")}); err != nil {
		return err
	}
	store := p.inRegion(story.RoleStore, m.Region)[0]
	start := p.run
	if m.Role == story.RoleUnderstudy {
		start = p.runLater // so that the seed leads at first
	}
	start(m.Name, "seed", "--cell", m.Region, "--cert", cellCert, "--roots", cellRoots,
		"--s3-endpoint", "http://"+p.addr(store.Name).String(), "--bucket", leaseBucket(m.Region), "--credentials", accountFile)
	return nil
}
