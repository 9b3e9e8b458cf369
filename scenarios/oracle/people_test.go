package oracle_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
)

// Some admins may be judged apart from the others, whose texts are then no concern.
func TestPagesToSome(t *testing.T) {
	h := failover()
	some := paging
	some.Admins, some.Others = []string{"raj"}, paging.Admins
	require.Equal(t, oracle.Verdict{Name: "pages to raj", Measured: "1, all-clear 1", Budget: "1-2, all-clear 1", Judged: 1, OK: true}, oracle.Pages(h, some))
	h.Texts = append(h.Texts, oracle.Text{At: sec(400), To: "ana", Body: down}, oracle.Text{At: sec(401), To: "ana", Body: down})
	require.True(t, oracle.Pages(h, some).OK)
	require.False(t, oracle.Pages(h, paging).OK)
	some.Each = oracle.Range{}
	require.Equal(t, `raj at 5:33 was sent one too many: "`+down+`"`, oracle.Pages(h, some).First)
	h.Texts = append(h.Texts, oracle.Text{At: sec(1), To: "+1555", Body: down})
	require.False(t, oracle.Pages(h, some).OK, "a stranger is everybody's concern")
}

func TestAcknowledged(t *testing.T) {
	h := failover()
	require.Equal(t, "nobody at 10:00 looked after it", oracle.Acknowledged(h, lost, sec(300)).First)
	require.Zero(t, oracle.Acknowledged(h, lost, sec(300)).Judged)
	h.Acks = []oracle.Ack{{At: lost.From - 1, By: "ana", Incident: "OLD"}}
	require.False(t, oracle.Acknowledged(h, lost, sec(300)).OK, "of another incident")
	h.Acks = append(h.Acks, oracle.Ack{At: lost.From + sec(300), By: "raj", Incident: "MAV"}, oracle.Ack{At: lost.From + sec(500), By: "ana", Incident: "MAV"})
	require.Equal(t, oracle.Verdict{Name: "page acknowledged", Measured: "5m", Budget: "5m", Judged: 2, OK: true}, oracle.Acknowledged(h, lost, sec(300)))
	require.Equal(t, "nobody at 9:59 looked after it; raj did at 10:00", oracle.Acknowledged(h, lost, sec(299)).First)
}
