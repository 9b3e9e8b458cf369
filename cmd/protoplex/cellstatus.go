package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/seed"
)

// statusTime is how long a Seed may take to answer.
const statusTime = 5 * time.Second

func cellStatusCommand() *cobra.Command {
	var (
		o      cellOperator
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "status --as NAME --seeds SEEDS DIR",
		Short: "Tell who leads a cell, and which nodes are in it",
		Long: `Ask all Seeds of a cell, as the operator whose certificate is DIR/admin/NAME.pem, how they
are, and those that lead who is registered. The status is 1 unless one Seed leads.`,
		Example: `  protoplex cell status --as ana --seeds seed-1=10.0.0.4:9090,seed-2=10.0.1.4:9090 us-east
  protoplex cell status --as ana --seeds seed-1=10.0.0.4:9090 --json us-east`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.read(args[0]); err != nil {
				return status{statusUsage, err}
			}
			seen, err := o.look(c.Context())
			if err != nil {
				return status{statusBroken, err}
			}
			if asJSON {
				err = json.NewEncoder(c.OutOrStdout()).Encode(seen)
			} else {
				err = printCell(c.OutOrStdout(), seen)
			}
			if err != nil {
				return status{statusBroken, err}
			}
			if err := oneLeads(seen); err != nil {
				return status{statusFailed, err}
			}
			return nil
		},
	}
	o.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print what each Seed says as JSON")
	return c
}

// seedSeen is what a Seed says, or why it says nothing.
type seedSeen struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"`
	*seed.Roster
}

// look asks all Seeds at once.
func (o *cellOperator) look(ctx context.Context) (seen []seedSeen, err error) {
	m, err := o.machine()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	seen = make([]seedSeen, len(o.seeds))
	var asked sync.WaitGroup
	for i, s := range o.seeds {
		asked.Go(func() {
			client := o.client(m, s)
			defer client.Close()
			var r seed.Roster
			seen[i].Name = s.Name
			if err := client.Call(ctx, "GET", seed.RosterPath, nil, &r); err != nil {
				seen[i].Error = err.Error()
				return
			}
			seen[i].Roster = &r
		})
	}
	asked.Wait()
	return seen, nil
}

func (s seedSeen) leads() bool { return s.Roster != nil && s.Seed.State != seed.Understudy }

// oneLeads says what is wrong with who leads.
func oneLeads(seen []seedSeen) error {
	leading := 0
	for _, s := range seen {
		if s.leads() && s.Seed.State != seed.Frozen {
			leading++
		}
	}
	switch leading {
	case 1:
		return nil
	case 0:
		return errors.New("no Seed that was asked leads: keys stay where they are")
	}
	// Each was asked at a moment of its own.
	return fmt.Errorf("%d Seeds say that they lead; ask again, for one may just have taken over", leading)
}

// printCell tells a person how a cell is.
func printCell(w io.Writer, seen []seedSeen) error {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range seen {
		fmt.Fprintf(columns, "%s\t%s\n", s.Name, s.words())
	}
	for _, s := range seen {
		if s.Roster == nil || len(s.Members) == 0 {
			continue
		}
		fmt.Fprintf(columns, "\nas %s knows it\trole\tzone\taddress\ttable\theard\t\n", s.Name)
		for _, m := range s.Members {
			held := "-" // it has not said yet
			if m.Held.Epoch > 0 {
				held = m.Held.String()
			}
			fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\t%s ago\t%s\n", m.ID, m.Role, m.Zone, m.Addr, held, seconds(m.Silent), memberWords(m))
		}
	}
	return columns.Flush()
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Second)
}

// words are what a Seed is doing.
func (s seedSeen) words() string {
	if s.Roster == nil {
		return "no answer: " + s.Error
	}
	f, doubt := s.Seed, ""
	if f.Doubt != "" {
		doubt = "; its lease: " + f.Doubt
	}
	if !s.leads() {
		leader := "knows no leader"
		if f.Leader != "" {
			leader = "knows " + f.Leader + " as leader"
		}
		return f.State + ", " + leader + doubt
	}
	return fmt.Sprintf("%s in epoch %d, table %s, %s old, Live nodes in it: %d%s", f.State, f.Epoch, f.Table.Position(), seconds(f.Age), len(f.Table.Nodes), doubt)
}

// memberWords are what is to be said of a member.
func memberWords(m seed.Member) string {
	words := "watches"
	switch {
	case m.Owns:
		words = "owns keys"
	case m.Role == cell.RoleLive:
		words = "owns no keys"
	}
	if m.Leaving != "" {
		words += fmt.Sprintf(", leaves: %q", m.Leaving) // a node's own words may be
	}
	if !m.Here {
		words += ", not here"
	}
	return words
}
