package swarm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/espra/protoplex/scenarios/story"
)

// Coverage counts the stories in which a fault struck machines of a role in a
// region. Its zero value is ready to use.
type Coverage struct{ stories map[strike]int }

// strike is what is counted; outside of all regions the region is "".
type strike struct{ fault, role, region string }

// Add counts the faults of a story except those that touched nothing.
func (c *Coverage) Add(s *story.Story, idle []string) {
	if c.stories == nil {
		c.stories = map[strike]int{}
	}
	machines := s.Machines()
	seen := map[strike]bool{}
	for _, e := range s.Timeline {
		if slices.Contains(idle, e.ID) {
			continue
		}
		on := e.On.Match(machines)
		spec, _ := story.FindFault(e.Fault)
		for _, m := range machines {
			x := strike{e.Fault, m.Role, m.Region}
			felt := spec.Roles == nil || slices.Contains(spec.Roles, m.Role)
			if !seen[x] && felt && slices.Contains(on, m.Name) {
				seen[x] = true
				c.stories[x]++
			}
		}
	}
}

// Lines gives one line or more for each fault of the vocabulary: the roles that
// it struck, each with the number of stories in us-east, in eu-west, and outside
// where there are any: "live 12/9".
func (c *Coverage) Lines() []string {
	const columns, first = 100, 20
	var regions []string
	for _, h := range story.LiveHosts {
		regions = append(regions, h.Region)
	}
	var lines []string
	for _, f := range story.Faults {
		line, empty := fmt.Sprintf("%-*s", first, f.Name), true
		for _, role := range story.Roles {
			counts, sum := []string{}, 0
			for _, region := range regions {
				n := c.stories[strike{f.Name, role, region}]
				counts, sum = append(counts, fmt.Sprint(n)), sum+n
			}
			text := strings.Join(counts, "/")
			if n := c.stories[strike{f.Name, role, ""}]; n > 0 {
				text, sum = fmt.Sprint(n), n
			}
			if sum == 0 {
				continue
			}
			empty = false
			if text = "  " + role + " " + text; len(line)+len(text) > columns {
				lines = append(lines, line)
				line = strings.Repeat(" ", first)
			}
			line += text
		}
		if empty {
			line += "  never"
		}
		lines = append(lines, line)
	}
	return lines
}
