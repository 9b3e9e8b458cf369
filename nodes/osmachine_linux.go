package nodes

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// elapsedSince reads a clock that runs on while the machine is suspended. It
// counts from the machine's start, so the process's start is only a fallback.
func elapsedSince(start time.Time) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Since(start) // the same on every call: no such clock here
	}
	return time.Duration(ts.Nano())
}

// selfPath names the very program that runs, also after an upgrade has put
// another in its place.
func selfPath() (string, error) { return "/proc/self/exe", nil }

// childAttributes keeps the terminal's signals from the child, as its parent
// relays them, and kills it when the thread that started it ends.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
