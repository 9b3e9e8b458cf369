package oracle

import (
	"slices"
	"time"
)

// Course is how clients fared over time, step by step, for curves. The n-th value
// of each slice is of the time from n steps on.
type Course struct {
	Step       time.Duration
	OK, Failed []int           // requests, by when they were asked
	P50, P99   []time.Duration // what they took; below zero where there were none
	Live       []int           // tunnels that stood at the end of the step
}

// courseSteps is how many steps a course has at most.
const courseSteps = 240

// CourseOf tells how the clients of a history fared.
func CourseOf(h History) Course {
	c := Course{Step: time.Second}
	for h.Lasts > courseSteps*c.Step {
		c.Step *= 2
		if c.Step > 4*time.Second {
			c.Step = c.Step.Truncate(5 * time.Second) // 5, 10, 20, 40 s and so on
		}
	}
	n := int((h.Lasts + c.Step - 1) / c.Step)
	c.OK, c.Failed, c.Live = make([]int, n), make([]int, n), make([]int, n)
	took := make([][]time.Duration, n)
	for _, r := range requests(h, "") {
		i := min(int(r.from/c.Step), n-1)
		if r.ok {
			c.OK[i]++
		} else {
			c.Failed[i]++
		}
		took[i] = append(took[i], r.latency)
	}
	for _, t := range took {
		if len(t) == 0 {
			c.P50, c.P99 = append(c.P50, -1), append(c.P99, -1)
			continue
		}
		slices.Sort(t)
		c.P50, c.P99 = append(c.P50, t[(len(t)*50+99)/100-1]), append(c.P99, t[(len(t)*99+99)/100-1])
	}
	live, done := 0, 0
	for i := range c.Live {
		for ; done < len(h.Streams) && h.Streams[done].At < time.Duration(i+1)*c.Step; done++ {
			switch e := h.Streams[done]; e.Kind {
			case Connected:
				live++
			case Disconnected:
				live--
			}
		}
		c.Live[i] = live
	}
	return c
}
