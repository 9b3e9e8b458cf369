package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/espra/protoplex/sim/report"
)

// pageFlags are those of a run that is to be shown as a page.
type pageFlags struct {
	file    string // to write, or ""
	against string // the trace of another run, or ""
}

// check says before the run what would go wrong after it.
func (p pageFlags) check(trace string) error {
	switch {
	case p.against != "" && p.file == "":
		return errors.New("--against: want --report too, which shows how the two runs differ")
	case p.file == "":
		return nil
	case sameFile(p.file, trace) || sameFile(p.file, p.against) || sameFile(p.against, trace):
		return errors.New("want a file of its own for each of --report, --against and --trace")
	}
	d, err := createDraft(p.file)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	d.discard()
	if p.against == "" {
		return nil
	}
	_, done, err := p.other()
	if err != nil {
		return err
	}
	done()
	return nil
}

// sameFile tells whether two names stand for one file, which may not be there yet.
func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	if errA == nil && errB == nil {
		return infoA.Mode().IsRegular() && os.SameFile(infoA, infoB)
	}
	a, errA = filepath.Abs(a)
	b, errB = filepath.Abs(b)
	return errA == nil && errB == nil && a == b
}

// sweep removes what a run left that was interrupted while it wrote.
func (p pageFlags) sweep() {
	if p.file != "" {
		os.Remove(draftName(p.file))
	}
}

// other opens the trace to compare with; nil without one.
func (p pageFlags) other() (t *report.Trace, done func(), err error) {
	if p.against == "" {
		return nil, func() {}, nil
	}
	f, err := os.Open(p.against)
	if err != nil {
		return nil, nil, fmt.Errorf("--against: %w", err)
	}
	t, err = report.ReadTrace(p.against, f)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("--against: %w", err)
	}
	return t, func() { f.Close() }, nil
}

// write has the page written.
func (p pageFlags) write(page func(io.Writer) error) (err error) {
	d, err := createDraft(p.file)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			d.discard()
		}
	}()
	if err := page(d.file); err != nil {
		return err
	}
	return d.keep()
}

// draft is a file that takes its name only once it is whole.
type draft struct {
	file *os.File
	name string // to be given; "" where what is written to is no plain file
}

// target is the file that a name stands for: where it is a link, what that names.
func target(name string) string {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		return real
	}
	return name
}

func draftName(name string) string { return target(name) + ".part" }

// createDraft makes the draft of a file. A pipe or a device is written to, not
// replaced.
func createDraft(name string) (*draft, error) {
	name = target(name)
	switch info, err := os.Stat(name); {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a directory", name)
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		return &draft{file: f}, err
	}
	f, err := os.OpenFile(draftName(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	return &draft{f, name}, err
}

func (d *draft) discard() {
	d.file.Close()
	if d.name != "" {
		os.Remove(d.file.Name())
	}
}

// keep gives the file its name, in the place of another. After an error the draft
// is still to be discarded.
func (d *draft) keep() error {
	if d.name == "" {
		return d.file.Close()
	}
	if err := d.file.Sync(); err != nil {
		return err
	}
	if err := d.file.Close(); err != nil {
		return err
	}
	return os.Rename(d.file.Name(), d.name)
}
