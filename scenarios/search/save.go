package search

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/story"
)

// Version names this program as reproducers do: by its commit, or by its own
// bytes if it was built without knowing that.
var Version = sync.OnceValue(func() string {
	if v := nodes.Version(); v != "" && !strings.HasSuffix(v, "+") {
		return "protoplex " + v
	}
	sum := sha256.New()
	if self, err := os.Executable(); err == nil {
		if f, err := os.Open(self); err == nil {
			_, _ = io.Copy(sum, f) // of one that cannot be read the name is of no use, and no harm
			f.Close()
		}
	}
	return fmt.Sprintf("protoplex build %.6x", sum.Sum(nil))
})

// Reproducer is the story with what it shows when the seed is played.
func Reproducer(s *story.Story, seed uint64, f Finding) *story.Story {
	r := *s
	r.Found = &story.Found{Seed: seed, Kind: string(f.Kind), Cause: short(f.Cause, maxCause), By: Version()}
	return &r
}

// maxCause bounds what a reproducer says of a cause.
const maxCause = 1000

func short(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

var noName = regexp.MustCompile(`[^a-z0-9]+`)

// FileName is that of a reproducer: the cause in a few words, and the seed.
func FileName(s *story.Story) string {
	name := strings.Trim(noName.ReplaceAllString(strings.ToLower(s.Found.Cause), "-"), "-")
	if len(name) > 40 {
		name = strings.TrimRight(name[:40], "-")
	}
	return strings.Trim(name+"-"+strconv.FormatUint(s.Found.Seed, 10), "-") + ".yaml"
}

// Save writes a story into a file, whole or not at all: what was there before
// stays if the disk is full.
func Save(file string, s *story.Story) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return fmt.Errorf("save story: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("save story as %s: %w", file, err)
		}
	}()
	if _, err := f.Write(story.Format(s)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Chmod(f.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
