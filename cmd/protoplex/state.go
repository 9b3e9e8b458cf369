package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// Certificates are minted once; those of nodes end before their authority's.
const (
	day          = 24 * time.Hour
	nodeValidity = 10 * 365 * day
	validity     = 2 * nodeValidity
	clockSkew    = time.Hour // of machines that are to take one at once
)

// operatorName is who may order the nodes of up about.
const operatorName = "operator"

// state is the directory of a cell, which belongs to one process at a time:
//
//	lock            who that is
//	authority.pem, roots.pem, admin/operator.pem
//	                as the command cell makes them
//	account         at the store, ID:SECRET
//	NAME/           the disk of a member
//	logs/NAME.log   what it logs; NAME.log.1 is of the run before
//
// Nobody else can read it.
type state struct {
	dir       string
	keep      bool
	lock      *os.File
	authority *ca.Authority
	admin     *ca.Identity
	account   []byte
	fresh     bool // the authority is new, so whatever else there is is another's
}

func (s *state) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}
func (s *state) home(name string) string { return s.path(name) }
func (s *state) logs() string            { return s.path("logs") }
func (s *state) adminFile() string       { return s.path(certName(meta.RoleAdmin, operatorName)) }
func (s *state) log(name string) string  { return s.path("logs", name+".log") }

// openState takes a directory, and fills it if it is new.
func openState(dir string, keep bool) (_ *state, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &state{dir: dir, keep: keep}
	if !keep {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(fmt.Errorf("%s exists; without --keep it would be removed", dir), err)
		}
	}
	if err := os.MkdirAll(s.logs(), 0o700); err != nil {
		return nil, err
	}
	if err := s.claim(); err != nil {
		return nil, err
	}
	if err := s.fill(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// claim makes sure that this process is alone. The system ends the claim with
// the process.
func (s *state) claim() error {
	lock, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		owner, _ := os.ReadFile(lock.Name()) // or it is not known
		return errors.Join(fmt.Errorf("%s is in use: another protoplex up, process %s, runs a cell there; choose one with --dir and --port",
			s.dir, bytes.TrimSpace(owner)), lock.Close())
	}
	if err == nil {
		err = lock.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(lock, os.Getpid())
	}
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	s.lock = lock
	return nil
}

// close lets go of the directory.
func (s *state) close() error {
	var err error
	if !s.keep {
		err = os.RemoveAll(s.dir)
	}
	return errors.Join(err, s.lock.Close())
}

// fill reads the cell's authority and account, or makes them.
func (s *state) fill() error {
	from := time.Now().Add(-clockSkew)
	pem, err := lasting(s.path(authorityName), false, func() ([]byte, error) {
		s.fresh = true
		a, err := ca.New(rand.Reader, deskCell, from, from.Add(validity))
		if err != nil {
			return nil, err
		}
		return a.PEM()
	})
	if err != nil {
		return err
	}
	if s.authority, err = ca.Load(pem); err != nil {
		return fmt.Errorf("%s: %w", s.path(authorityName), err)
	}
	if err := s.fillAdmin(); err != nil {
		return err
	}
	s.account, err = lasting(s.path("account"), false, func() ([]byte, error) {
		return []byte("desk:" + rand.Text() + "\n"), nil
	})
	if err != nil {
		return err
	}
	if id, secret, ok := strings.Cut(strings.TrimSpace(string(s.account)), ":"); !ok || id == "" || secret == "" {
		return fmt.Errorf("%s: want ID:SECRET; without the file another is made", s.path("account"))
	}
	return nil
}

// fillAdmin reads the operator's certificate, or makes it.
func (s *state) fillAdmin() error {
	roots := s.authority.RootsPEM()
	if err := write(s.path(rootsName), roots); err != nil {
		return err
	}
	file := s.adminFile()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	pem, err := lasting(file, s.fresh, func() ([]byte, error) {
		from := time.Now()
		return s.authority.Node(rand.Reader, meta.RoleAdmin, operatorName, from, from.Add(nodeValidity))
	})
	if err != nil {
		return err
	}
	if s.admin, err = ca.NewIdentity(pem, roots); err != nil {
		return fmt.Errorf("%s: %w; without the file another is made", file, err)
	}
	return nil
}

// furnish puts on a member's disk what its role reads.
func (s *state) furnish(m member) error {
	if err := os.MkdirAll(s.home(m.name), 0o700); err != nil {
		return err
	}
	if m.role == roleStore || m.role == cell.RoleSeed {
		if err := write(s.path(m.name, accountFile), s.account); err != nil {
			return err
		}
	}
	if m.role == roleStore {
		return nil
	}
	if err := write(s.path(m.name, rootsFile), s.authority.RootsPEM()); err != nil {
		return err
	}
	_, err := lasting(s.path(m.name, certFile), s.fresh, func() ([]byte, error) {
		from := time.Now()
		return s.authority.Node(rand.Reader, m.role, m.name, from, from.Add(nodeValidity))
	})
	return err
}

// lasting gives the contents of a file, which it makes first if there is none, or
// if it is to be made anew.
func lasting(file string, anew bool, contents func() ([]byte, error)) ([]byte, error) {
	if !anew {
		if b, err := os.ReadFile(file); !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	b, err := contents()
	if err != nil {
		return nil, err
	}
	return b, write(file, b)
}

// write makes a file that is whole or not there.
func write(file string, b []byte) error {
	draft := file + ".new"
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(draft, file)
}
