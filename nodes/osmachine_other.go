//go:build !linux

package nodes

import (
	"os"
	"syscall"
	"time"
)

func elapsedSince(start time.Time) time.Duration { return time.Since(start) }

func selfPath() (string, error) { return os.Executable() }

// childAttributes keeps the terminal's signals from the child, as its parent
// relays them.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
