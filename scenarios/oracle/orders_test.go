package oracle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
)

func TestStaleOrders(t *testing.T) {
	order := func(at time.Duration, epoch, newest uint64, done bool) oracle.Ordered {
		return oracle.Ordered{At: at * time.Second, Process: "live-1/live", By: "admin/ana", Epoch: epoch, Newest: newest, Done: done}
	}
	for name, tt := range map[string]struct {
		orders []oracle.Ordered
		judged int
		first  string
	}{
		"refused":         {[]oracle.Ordered{order(1, 1, 1, true), order(9, 1, 2, false)}, 1, ""},
		"carried out":     {[]oracle.Ordered{order(9, 1, 2, false), order(10, 1, 2, true)}, 2, "live-1/live at 0:10 carried out what admin/ana ordered in epoch 1, and had heard of 2"},
		"none was so old": {[]oracle.Ordered{order(1, 1, 1, true), order(2, 2, 1, true)}, 0, "nothing was observed that this expectation could judge"},
	} {
		t.Run(name, func(t *testing.T) {
			v := oracle.StaleOrders(oracle.History{Orders: tt.orders})
			require.Equal(t, tt.first == "", v.OK)
			require.Equal(t, tt.first, v.First)
			require.Equal(t, tt.judged, v.Judged)
		})
	}
}
