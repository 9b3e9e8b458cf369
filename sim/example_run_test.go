package sim_test

import (
	"fmt"
	"os"
	"time"

	"github.com/espra/protoplex/sim"
)

// An ordinary program runs a world, prints its trace, and says what it was.
func ExampleRun() {
	result, err := sim.Run(sim.Options{Seed: 1, Trace: os.Stdout}, func(w *sim.World) error {
		m := w.NewMachine("m", sim.In("us-east", "a"))
		m.OnBoot(func(m *sim.Machine) {
			m.Start("server", func(p *sim.Process) error {
				p.Emit("up")
				<-p.Context().Done()
				return nil
			})
		})
		w.At(time.Minute, m.PowerOff)
		w.At(2*time.Minute, m.PowerOn) // and the server is up again
		time.Sleep(time.Hour)
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(result.Trace, result.Simulated)
}
