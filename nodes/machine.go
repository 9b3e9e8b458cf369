package nodes

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Machine is everything that a role may touch outside its own memory. In
// production it is the operating system; under simulation it is a machine of a
// simulated world. A role never learns which of the two it runs on.
//
// A Machine value belongs to one process, and to one incarnation of it: once
// that process has died, every call on the value and on the handles it gave
// out fails, and what the calls would have done is dropped.
//
// All methods may be called from several goroutines at once. Dial, Accept,
// reads, full writes, waits and opening a socket on port 0 may block; Now,
// Elapsed, Rand and Log never do, so they are safe under a mutex.
type Machine interface {
	// Host says where this process runs.
	Host() Host

	// Listen opens a stream listener. The network is "tcp"; the address is
	// "host:port", where an empty host means this machine's own addresses and
	// port 0 picks a free one. A port in use gives an error for which
	// errors.Is(err, syscall.EADDRINUSE) holds.
	Listen(network, address string) (net.Listener, error)

	// ListenPacket opens a datagram socket; the network is "udp".
	ListenPacket(network, address string) (net.PacketConn, error)

	// DialContext connects to a "host:port" over "tcp" or "udp". A host that is
	// not an IP address is resolved through this machine's resolvers. Errors
	// are those of package net: *net.OpError, *net.DNSError, context errors.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)

	// Lookup asks this machine's resolvers for the records of a name. Kind is
	// "A", "TXT" or "CNAME"; answers are sorted: addresses in dotted form, the
	// joined strings of each text, names without the final dot. A name that does not exist, or
	// has no such record, gives a *net.DNSError with IsNotFound set; resolvers
	// that fail or cannot be reached give one with IsTemporary or IsTimeout.
	Lookup(ctx context.Context, kind, name string) ([]string, error)

	// Disk is this machine's file system. It outlives the process.
	Disk() Disk

	// Now reads the wall clock, without a monotonic part: it may be wrong,
	// drift, and step in either direction. It is for certificates, signatures
	// and what people read, never for measuring a wait.
	Now() time.Time

	// Elapsed reads a clock that never goes back and is never set, counting
	// from an arbitrary start. It may run slightly fast or slow.
	Elapsed() time.Duration

	// Rand gives the n-th random number of the given name. In production it is
	// fresh from the system's source; under simulation it is a pure function of
	// seed, machine, name and n, so name each use and count each draw.
	Rand(name string, n uint64) uint64

	// Start runs a role in a child process of this one, handing it the
	// listeners, whose accepts the kernel then shares among all holders.
	// The caller keeps its own handles and closes the child's control pipe.
	// Children die with their parent.
	Start(role string, args []string, listeners []net.Listener) (Child, error)

	// Inherited gives the listeners handed over by the parent, in order.
	Inherited() []net.Listener

	// Control is this process's end of the pipe to its parent, nil without one.
	Control() io.ReadWriteCloser

	// Signals delivers the signals sent to this process, Kill excepted.
	// The channel is never closed and holds a few; more are dropped.
	Signals() <-chan Signal

	// Log writes one structured line to this process's log.
	Log() *slog.Logger
}

// Host says where a process runs. Region and Zone are empty where they make no
// sense, as on a desk.
type Host struct {
	Name   string     // of the machine, unique in its world
	Region string     // us-east
	Zone   string     // us-east-a
	Addr   netip.Addr // where others reach it
	Proc   string     // of the process within the machine: "proxy", "proxy/2"
}

// Signal is a request to a process.
type Signal string

// The signals that processes send and heed.
const (
	Terminate Signal = "terminate" // finish and leave
	Interrupt Signal = "interrupt" // the same, asked from a terminal
	Reload    Signal = "reload"    // read the configuration again
	Kill      Signal = "kill"      // die at once; never seen by the process
)

// Child is a process that this one started.
type Child interface {
	// Name is the child's Host.Proc.
	Name() string
	// Wait returns once the child has ended: nil after a clean return of its
	// role, else an error that says how it ended. It may be called repeatedly.
	Wait() error
	// Signal sends a signal. It gives os.ErrProcessDone after the end.
	Signal(Signal) error
	// Control is the parent's end of the pipe to the child.
	Control() io.ReadWriteCloser
}

// Role is the main function of a process. It returns when ctx ends, which is
// when the process must stop at once, or when its work is done. An error ends
// the process with a non-zero status.
type Role func(ctx context.Context, m Machine, args []string) error

// Roles finds a Role by name, so that a child process is the same function in
// production and under simulation.
type Roles map[string]Role

// ErrUnknownRole is returned by Machine.Start for a name that is in no table.
var ErrUnknownRole = errors.New("nodes: unknown role")

// Disk is a file system. Names are slash-separated and absolute. Nothing is
// durable before Sync: file contents need File.Sync, and a file's creation,
// renaming or removal needs SyncDir of its directory. After a power failure
// what was not synced may be there, in part, or not at all.
//
// Errors satisfy errors.Is with fs.ErrNotExist, fs.ErrExist, syscall.ENOSPC and
// syscall.EIO as the operating system's would.
type Disk interface {
	// Create makes an empty file, or empties one that exists.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing, or for reading
	// alone where more is not permitted.
	Open(name string) (File, error)
	// Rename moves a file, replacing what had the new name.
	Rename(oldName, newName string) error
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// List gives the base names in a directory, sorted.
	List(dir string) ([]string, error)
	// Stat gives the size of a file, or -1 for a directory.
	Stat(name string) (size int64, err error)
	// MkdirAll makes a directory and its parents.
	MkdirAll(dir string) error
	// SyncDir makes the entries of a directory durable.
	SyncDir(dir string) error
}

// File is an open file. Callers keep ownership of the slices they pass.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes the contents durable.
	Sync() error
}
