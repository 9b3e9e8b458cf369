package scenarios

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/testdata"
)

// maxFile bounds what is read of a scenario file; the parser wants less.
const maxFile = 1 << 20

// Names lists the stories that are part of the program, sorted.
func Names() ([]string, error) {
	entries, err := fs.ReadDir(testdata.Scenarios, "scenarios")
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

// Load reads a story by its name or from a scenario file. What is wrong with a
// file is an error of type [story.Errors].
func Load(nameOrFile string) (*story.Story, error) {
	data, err := fs.ReadFile(testdata.Scenarios, path.Join("scenarios", nameOrFile+".yaml"))
	if err == nil {
		return story.Parse(nameOrFile+".yaml", data)
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
	data, err = io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	s, err := story.Parse(nameOrFile, data)
	if err == nil && !strings.ContainsRune(nameOrFile, os.PathSeparator) {
		s.File = "." + string(os.PathSeparator) + nameOrFile // so that nobody takes it for a name
	}
	return s, err
}
