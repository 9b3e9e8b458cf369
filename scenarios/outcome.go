package scenarios

import (
	"encoding/json"
	"io"

	"github.com/espra/protoplex/scenarios/oracle"
)

// Outcome is a whole run in the words of a program: what [Report.Print] tells
// people.
type Outcome struct {
	Story     string           `json:"story"`
	Seed      uint64           `json:"seed"`
	Held      bool             `json:"held"`
	Verdicts  []oracle.Verdict `json:"verdicts"`
	Idle      []string         `json:"idle,omitempty"`      // faults that touched nothing
	Sometimes []string         `json:"sometimes,omitempty"` // the marks that were reached
	Trace     string           `json:"trace"`               // SHA-256
	Events    uint64           `json:"events"`
	Seconds   float64          `json:"seconds"` // simulated
	Replay    string           `json:"replay"`  // the command line that plays it again
}

// Outcome sums the report up.
func (r *Report) Outcome() Outcome {
	o := Outcome{
		Story: r.Story.Name, Seed: r.Seed, Held: r.Held(), Verdicts: r.Verdicts, Sometimes: r.Sometimes,
		Trace: r.Result.Trace, Events: r.Result.Stats.Events + r.Result.Stats.Deliveries,
		Seconds: r.Result.Simulated.Seconds(),
		Replay:  r.replayCommand(),
	}
	for _, e := range r.Idle {
		o.Idle = append(o.Idle, e.ID)
	}
	return o
}

// PrintJSON writes the outcome as one line of JSON.
func (r *Report) PrintJSON(out io.Writer) error { return json.NewEncoder(out).Encode(r.Outcome()) }
