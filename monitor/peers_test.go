package monitor_test

import (
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A vantage speaks to a peer over one connection, round after round, and over
// another when that one breaks.
func TestPeersKeepAConnection(t *testing.T) {
	d := newDesk(t, 9, time.Second)
	var opened atomic.Int64
	observations := make(chan struct{})
	peer := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case observations <- struct{}{}:
			case <-d.ctx.Done():
			}
			w.WriteHeader(http.StatusNoContent)
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				opened.Add(1)
			}
		},
		ReadHeaderTimeout: time.Minute,
	}
	serve := func() {
		l, err := net.Listen("tcp", d.net+"41:8700")
		require.NoError(t, err)
		go peer.Serve(l)
	}
	serve()
	d.vantages[0].start()
	for range 5 {
		<-observations
	}
	require.EqualValues(t, 1, opened.Load(), "connections for five observations")

	require.NoError(t, peer.Close())
	peer = &http.Server{Handler: peer.Handler, ConnState: peer.ConnState, ReadHeaderTimeout: time.Minute}
	serve()
	for range 3 {
		<-observations
	}
	require.EqualValues(t, 2, opened.Load(), "connections after the peer began anew")
	require.NoError(t, peer.Close())
}
