package keep

import (
	"slices"
	"strings"

	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/zone"
)

// Mark says that somebody keeps records of a name. It is a TXT record beside the
// name, at _owner.<name>, such as
//
//	v=owner1 owner=espra types=A,MX
//
// Records of the name that are of these types are the owner's, to change and to
// delete; all others are foreign to it. For a wildcard the mark is at
// _owner._any.<parent>, as a star means nothing further inside a name.
type Mark struct {
	Owner string
	Types []string // sorted
}

const (
	markVersion = "v=owner1"
	markLabel   = "_owner."
	homeLabel   = "_home."
	anyLabel    = "_any."
)

// String is the text of the TXT record.
func (m Mark) String() string {
	return markVersion + " owner=" + m.Owner + " types=" + strings.Join(m.Types, ",")
}

// ParseMark reads the text of a TXT record. Unknown words pass, so that the
// format can grow.
func ParseMark(text string) (Mark, bool) {
	words := strings.Fields(text)
	if len(words) == 0 || words[0] != markVersion {
		return Mark{}, false
	}
	var m Mark
	for _, w := range words[1:] {
		switch key, value, _ := strings.Cut(w, "="); key {
		case "owner":
			m.Owner = value
		case "types":
			m.Types = slices.DeleteFunc(strings.Split(value, ","), func(t string) bool { return t == "" })
		}
	}
	slices.Sort(m.Types)
	m.Types = slices.Compact(m.Types)
	return m, m.Owner != "" && len(m.Types) > 0
}

// markOf is where the mark of a name is.
func markOf(name string) string {
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		name = anyLabel + rest
	}
	return markLabel + name
}

// markedName is the reverse of markOf.
func markedName(mark string) (string, bool) {
	name, ok := strings.CutPrefix(mark, markLabel)
	if rest, wild := strings.CutPrefix(name, anyLabel); wild {
		name = "*." + rest
	}
	return name, ok
}

// heldNames are the names that the monitors keep: those with a home at any
// provider.
func heldNames(views []view) map[string]bool {
	held := map[string]bool{}
	for _, v := range views {
		for _, r := range v.records {
			name, ok := strings.CutPrefix(r.Name, homeLabel)
			if _, err := home.Parse(r.Value); ok && err == nil && r.Type == "TXT" {
				held[name] = true
			}
		}
	}
	return held
}

// monitors tells whether a record is the monitors'.
func monitors(r zone.Record, held map[string]bool) bool {
	return held[r.Name] || strings.HasPrefix(r.Name, homeLabel)
}
