package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte(`{"op":"subscribed","channel":"c","position":{"incarnation":"I","offset":9},"recovered":"replay"}`))
	f.Add([]byte(`{"op":"message","channel":"c","offset":10,"data":"x"}`))
	f.Add([]byte(`{"op":"error","code":"moved","text":"resume"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseFrame(b)
		if err == nil && got.Op == "subscribed" && got.Position.Incarnation == "" {
			t.Fatal("a subscription without a position was accepted")
		}
		if err == nil && got.Op == "message" && got.Offset == 0 {
			t.Fatal("a message without an offset was accepted")
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"position":{"incarnation":"I","offset":9}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseAnswer(b); (err == nil) != (p.Incarnation != "" && p.Offset > 0) {
			t.Fatalf("%q gave %v, %v", b, p, err)
		}
	})
}

func TestDelay(t *testing.T) {
	p := Pace{}.orDefault(time.Second)
	for failures, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		require.Equal(t, want*time.Second, delay(p, failures))
	}
	require.Equal(t, 30*time.Second, delay(p, 1000))
}

func TestClassOf(t *testing.T) {
	op := func(err error) error { return fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Net: "tcp", Err: err}) }
	for want, err := range map[string]error{
		"refused":     op(syscall.ECONNREFUSED),
		"reset":       op(syscall.ECONNRESET),
		"unreachable": op(syscall.EHOSTUNREACH),
		"timeout":     op(context.DeadlineExceeded),
		"closed":      fmt.Errorf("read: %w", io.ErrUnexpectedEOF),
		"dns":         failed("dns", errors.New("x")),
		"other":       errors.New("something else"),
	} {
		require.Equal(t, want, classOf(err))
	}
	expired, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, "timeout", classIn(expired, io.EOF))
}
