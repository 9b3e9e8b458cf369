package scenarios

import (
	"testing"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/machinetest"
	"github.com/espra/protoplex/sim"
)

// A simulated machine keeps the same contract as the operating system.
func TestMachineConformance(t *testing.T) {
	for _, test := range machinetest.Tests() {
		t.Run(test.Name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				test.Run(t, &conformanceWorld{w})
			})
		})
	}
}

type conformanceWorld struct{ w *sim.World }

func (c *conformanceWorld) Machine(t testing.TB, name string, roles nodes.Roles) nodes.Machine {
	made := make(chan nodes.Machine)
	c.w.NewMachine(name).Start("main", func(p *sim.Process) error {
		made <- newMachine(p, roles)
		<-p.Context().Done()
		return nil
	})
	return <-made
}

// Silent is an address at which a machine stands that is switched off.
func (c *conformanceWorld) Silent(t testing.TB) string {
	m := c.w.NewMachine("silent")
	m.PowerOff()
	return m.Addr().String() + ":80"
}
