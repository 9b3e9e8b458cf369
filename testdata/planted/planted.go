// Package planted holds known bugs, to be planted into the program one at a
// time: a story that cannot tell a program with such a bug from one without it
// proves nothing.
//
// A bug is a file NAME.yaml: what is wrong, the edits that plant it, the story
// that must catch it, and by what. Where no story can, it names the test that
// does, so that the list tells both. Build makes a program with the bug out of an
// overlay, and Test runs that test on one; they leave the source tree as it is.
// What may fail is an edit whose old text is no longer in its file exactly once:
// the code has moved on, and the bug has to follow. Start reading at Load.
package planted

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Verify as what catches a bug says that no oracle does, but that the story no
// longer replays.
const Verify = "verify"

// Bug is one known bug.
type Bug struct {
	Name     string `yaml:"-"`
	Title    string `yaml:"bug"`
	Edits    []Edit `yaml:"edits"`
	Story    string `yaml:"story"`     // that must catch it, if one can
	Package  string `yaml:"package"`   // else the folder of the test that does
	CaughtBy string `yaml:"caught-by"` // how the verdict's name begins, or Verify; or the test's name
}

// Edit replaces a text that is in a file once.
type Edit struct {
	File string `yaml:"file"` // from the root of the module, slashes
	Old  string `yaml:"old"`
	New  string `yaml:"new"`
}

// dir is where the bugs are, from the root of the module.
const dir = "testdata/planted"

// Names lists the bugs, sorted, of the module at root.
func Names(root string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(root, dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list planted bugs: %w", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".yaml")
	}
	slices.Sort(files)
	return files, nil
}

// Load reads a bug of the module at root.
func Load(root, name string) (*Bug, error) {
	data, err := os.ReadFile(filepath.Join(root, dir, name+".yaml"))
	if err != nil {
		return nil, fmt.Errorf("read planted bug: %w", err)
	}
	b := &Bug{Name: name}
	if err := yaml.UnmarshalWithOptions(data, b, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("read planted bug %s: %w", name, err)
	}
	if b.Title == "" || len(b.Edits) == 0 || (b.Story == "") == (b.Package == "") || b.CaughtBy == "" {
		return nil, fmt.Errorf("read planted bug %s: want bug, edits, caught-by, and either story or package", name)
	}
	return b, nil
}

// Files gives the edited files by their names from the root of the module.
func (b *Bug) Files(root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, e := range b.Edits {
		text, ok := files[e.File]
		if !ok {
			var err error
			if text, err = os.ReadFile(filepath.Join(root, filepath.FromSlash(e.File))); err != nil {
				return nil, fmt.Errorf("plant %s: %w", b.Name, err)
			}
		}
		if n := bytes.Count(text, []byte(e.Old)); n != 1 || e.Old == "" {
			return nil, fmt.Errorf("plant %s: %s has the old text %d times, want once:\n%s", b.Name, e.File, n, e.Old)
		}
		files[e.File] = bytes.Replace(text, []byte(e.Old), []byte(e.New), 1)
	}
	return files, nil
}

// Build builds the program with the bug in it, from the module at root, into
// the directory, which must be an empty one of the caller's.
func (b *Bug) Build(ctx context.Context, root, into string) (program string, err error) {
	program = filepath.Join(into, "protoplex")
	if out, err := b.run(ctx, root, into, "build", "-ldflags", "-s -w", "-o", program, "./cmd/protoplex"); err != nil {
		return "", fmt.Errorf("plant %s: %w\n%s", b.Name, err, out)
	}
	return program, nil
}

// Test runs the test that must catch the bug, with the bug in the program, and
// reports whether it fails. The directory is as that of Build.
func (b *Bug) Test(ctx context.Context, root, into string) (fails bool, output string, err error) {
	out, err := b.run(ctx, root, into, "test", "-count", "1", "-run", "^"+b.CaughtBy+"$", "./"+b.Package)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false, out, nil
	case errors.As(err, &exit) && strings.Contains(out, "--- FAIL: "):
		return true, out, nil
	}
	return false, "", fmt.Errorf("plant %s: %w\n%s", b.Name, err, out)
}

// run runs the go command in the module as it is with the bug.
func (b *Bug) run(ctx context.Context, root, into, verb string, args ...string) (output string, err error) {
	if root, err = filepath.Abs(root); err != nil {
		return "", err
	}
	files, err := b.Files(root)
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, text := range files {
		edited := filepath.Join(into, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(edited, text, 0o600); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(root, filepath.FromSlash(name))] = edited
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	list := filepath.Join(into, "overlay.json")
	if err := os.WriteFile(list, data, 0o600); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{verb, "-overlay", list}, args...)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}
