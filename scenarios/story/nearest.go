package story

import "github.com/espra/protoplex/nodes/config"

// suggest gives "; did you mean X?", or "" if no known word is close.
func (r *reader) suggest(word string, known []string) string {
	if len(r.errs) >= maxErrors {
		return "" // nobody will see it
	}
	// Beyond that many there are only clients, whose names nobody types.
	return config.Suggest(word, known[:min(len(known), maxMachines)])
}

// Nearest gives the known word that word was most likely meant to be; false if
// none is close.
func Nearest(word string, known []string) (string, bool) {
	n := config.Nearest(word, known)
	return n, n != ""
}
