package report

import "time"

// counts are how many messages arrived at each machine, step by step. Steps become
// longer as a run does, so that there are never more than maxSteps.
type counts struct {
	step     time.Duration
	machines [][]uint32
}

const (
	firstStep = 250 * time.Millisecond
	maxSteps  = 4096
)

func newCounts() *counts { return &counts{step: firstStep} }

func (c *counts) add(at time.Duration, machine int32) {
	for at/c.step >= maxSteps {
		c.double()
	}
	for int(machine) >= len(c.machines) {
		c.machines = append(c.machines, nil)
	}
	row, i := c.machines[machine], int(at/c.step)
	if i >= len(row) {
		row = append(row, make([]uint32, i+1-len(row))...)
		c.machines[machine] = row
	}
	row[i]++
}

func (c *counts) double() {
	c.step *= 2
	for m, row := range c.machines {
		half := row[:(len(row)+1)/2]
		for i := range half {
			sum := row[2*i]
			if 2*i+1 < len(row) {
				sum += row[2*i+1]
			}
			half[i] = sum
		}
		c.machines[m] = half
	}
}
