package scenarios

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/scenarios/swarm"
	"github.com/espra/protoplex/testdata"
)

// maxFile bounds what is read of a scenario file; the parser wants less.
const maxFile = 1 << 20

// Names lists the stories that are part of the program, sorted.
func Names() ([]string, error) { return namesIn(testdata.Scenarios, "scenarios") }

// Regressions lists the reproducers that are part of the program, sorted.
func Regressions() ([]string, error) { return namesIn(testdata.Regressions, "regressions") }

func namesIn(files fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, fmt.Errorf("list stories: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// madeUp is the name of a story that is made up from a seed, or of another one
// with faults on top that are.
var madeUp = regexp.MustCompile(`^(?:(.+)\+)?swarm-([0-9]{1,20})(-beyond)?$`)

// MadeUp names the story that is made up from a seed, on top of a story or file
// unless that is "". With beyond, its faults are more than the platform declares
// to survive.
func MadeUp(base string, seed uint64, beyond bool) string {
	name := "swarm-" + strconv.FormatUint(seed, 10)
	if base != "" {
		name = base + "+" + name
	}
	if beyond {
		name += "-beyond"
	}
	return name
}

// Load reads a story by its name or from a scenario file, or makes it up if that
// is what [MadeUp] calls it. What is wrong with a file is an error of type
// [story.Errors].
func Load(nameOrFile string) (*story.Story, error) {
	if m := madeUp.FindStringSubmatch(nameOrFile); m != nil {
		seed, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: the seed is too large", nameOrFile)
		}
		o := swarm.Options{Beyond: m[3] != ""}
		if m[1] == "" {
			return swarm.Story(nameOrFile, seed, o)
		}
		base, err := Load(m[1])
		if err != nil {
			return nil, err
		}
		s, err := swarm.OnTop(nameOrFile, base, seed, o)
		if err == nil && strings.ContainsRune(nameOrFile, os.PathSeparator) {
			s.File = nameOrFile
		}
		return s, err
	}
	for dir, files := range map[string]fs.FS{"scenarios": testdata.Scenarios, "regressions": testdata.Regressions} {
		if data, err := fs.ReadFile(files, path.Join(dir, nameOrFile+".yaml")); err == nil {
			return story.Parse(nameOrFile+".yaml", data)
		}
	}
	f, err := os.Open(nameOrFile)
	if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(nameOrFile, "./") {
		names, err := Names()
		if err != nil {
			return nil, err
		}
		hint := ""
		if near, ok := story.Nearest(nameOrFile, names); ok {
			hint = fmt.Sprintf("; did you mean %s?", near)
		}
		return nil, fmt.Errorf("no story and no file is called %q%s", nameOrFile, hint)
	}
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	s, err := story.Parse(nameOrFile, data)
	if err == nil && !strings.ContainsRune(nameOrFile, os.PathSeparator) {
		s.File = "." + string(os.PathSeparator) + nameOrFile // so that nobody takes it for a name
	}
	return s, err
}
