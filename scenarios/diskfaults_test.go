package scenarios

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/sim"
)

// Each strike flips a bit of its own, and the end puts it back.
func TestBitRotAgain(t *testing.T) {
	const file, content = "/var/kept", "what nobody writes again, and is long enough for two places to differ in"
	s := troubled(t, "  - {id: it, at: 1m, for: 5s, fault: bit-rot, on: vps fremont, repeat: {times: 3, every: 1m}}\n")
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, _, strikes, _ := struck(t, w, s)
		require.NoError(t, p.hosts["fremont"].Disk().WriteFile(file, []byte(content)))
		it, seen := strikes["it"], map[string]bool{}
		read := func(m nodes.Machine) string {
			text, err := nodes.ReadFile(m.Disk(), file, 1000)
			require.NoError(t, err)
			return string(text)
		}
		for range 3 {
			made := make(chan nodes.Machine)
			it.begin() // which kills who has read before
			p.hosts["fremont"].Start("reader", func(proc *sim.Process) error {
				made <- newMachine(proc, nil)
				<-proc.Done()
				return nil
			})
			m := <-made
			seen[read(m)] = true
			it.heal()
			require.Equal(t, content, read(m))
			time.Sleep(time.Minute)
		}
		require.Len(t, seen, 3)
		require.NotContains(t, seen, content)
		require.NotZero(t, it.touched())
	})
}
